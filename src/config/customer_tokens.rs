//! Customer tokens: the keys of the shop's identity provider, and what a token must say.

use std::path::PathBuf;
use std::time::Duration;

use super::address::is_loopback_host;
use super::macros::variables;
use super::reader::Reader;
use crate::domain::api_key::origin::Origin;
use crate::domain::token::{TokenAlgorithm, TokenRules};

const URL_EXAMPLE: &str = "https://login.shop.example/.well-known/jwks.json";
const LEEWAY_MAX: Duration = Duration::from_secs(300);

variables! {
    /// Settings of customer tokens.
    pub struct TokenConfig {
        /// URL of the identity provider's keys (JWKS); with it, customers may send the provider's tokens
        jwks_url: Option<String> =
            JWKS_URL.optional("an https URL, or an http URL of this machine", URL_EXAMPLE, parse_url),
        /// file with the identity provider's keys (JWKS), instead of JWKS_URL; read again every JWKS_REFRESH
        jwks_file: Option<PathBuf> =
            JWKS_FILE.optional("the path of a file", "/etc/seatlock/jwks.json", |path| Some(path.into())),
        /// how often the identity provider's keys are read again
        jwks_refresh: Duration = JWKS_REFRESH.duration(Duration::from_secs(300)),
        /// issuer (iss) that tokens must have
        issuer: Option<String> =
            JWT_ISSUER.optional("the iss of tokens", "https://login.shop.example", parse_text),
        /// audiences (aud), one of which tokens must have
        audiences: Vec<String> =
            JWT_AUDIENCE.list("the aud of tokens, separated by commas", "seatlock", parse_text),
        /// signature algorithms that are accepted
        algorithms: Vec<TokenAlgorithm> = JWT_ALGORITHMS.setting(
            (vec![TokenAlgorithm::Rs256], "RS256"),
            "some of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and EdDSA, separated by commas",
            |text| text.split(',').map(|name| name.trim().parse().ok()).collect(),
        ),
        /// how much the clocks of the identity provider and of the database may differ
        leeway: Duration = JWT_LEEWAY.duration(Duration::from_secs(30)),
        /// origins whose pages may send tokens; none if not set
        origins: Vec<Origin> = JWT_ORIGINS.list(
            "origins such as https://shop.example, separated by commas",
            "https://shop.example",
            Origin::parse,
        ),
    }
}

impl TokenConfig {
    /// What a token must say, if there are keys to verify it.
    #[must_use]
    pub fn rules(&self) -> Option<TokenRules> {
        let has_keys = self.jwks_url.is_some() || self.jwks_file.is_some();
        Some(TokenRules {
            issuer: self.issuer.clone().filter(|_| has_keys)?,
            audiences: self.audiences.clone(),
            algorithms: self.algorithms.clone(),
            leeway_ms: i64::try_from(self.leeway.as_millis()).unwrap_or(i64::MAX),
            origins: self.origins.clone(),
        })
    }

    /// Adds a problem for each variable that others need or contradict.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        let needed = [
            ("JWT_ISSUER", "JWT_ISSUER=https://login.shop.example"),
            ("JWT_AUDIENCE", "JWT_AUDIENCE=seatlock"),
        ];
        let is_set = |name: &str| reader.is_set(name);
        let (by_url, by_file) = (is_set("JWKS_URL"), self.jwks_file.is_some());
        if by_url && by_file {
            reader.refuse("JWKS_FILE", "no value, since JWKS_URL is set too", "JWKS_FILE=");
        }
        for (name, example) in needed {
            let has_value = reader.is_set(name);
            if (by_url || by_file) && !has_value {
                let expected = "a value, since JWKS_URL or JWKS_FILE is set";
                reader.refuse(name, expected, example);
            } else if !by_url && !by_file && has_value && !reader.is_refused(name) {
                let expected = "JWKS_URL or JWKS_FILE beside it";
                reader.refuse(name, expected, format!("JWKS_URL={URL_EXAMPLE}"));
            }
        }
        if self.leeway > LEEWAY_MAX {
            reader.refuse("JWT_LEEWAY", "at most 300s", "JWT_LEEWAY=30s");
        }
    }
}

fn parse_text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A URL without a user. Keys from another machine must be encrypted on the way.
fn parse_url(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic()) && !text.contains(['@', '#']);
    let is_safe = scheme == "https" || (scheme == "http" && is_loopback_host(host));
    (is_plain && is_safe && !host.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{config, problems};
    use crate::domain::token::TokenAlgorithm;

    const URL: (&str, &str) = ("JWKS_URL", "https://login.shop.example/jwks");
    const ISSUER: (&str, &str) = ("JWT_ISSUER", "https://login.shop.example");
    const AUDIENCE: (&str, &str) = ("JWT_AUDIENCE", "seatlock, shop");

    #[test]
    fn tokens_need_keys_an_issuer_and_an_audience() {
        assert!(config(&[]).tokens.rules().is_none());
        let rules = config(&[URL, ISSUER, AUDIENCE]).tokens.rules().unwrap();
        assert_eq!(rules.audiences, ["seatlock", "shop"]);
        assert_eq!(rules.algorithms, [TokenAlgorithm::Rs256]);
        for (pairs, names) in [
            (vec![URL], vec!["JWT_ISSUER", "JWT_AUDIENCE"]),
            (vec![ISSUER], vec!["JWT_ISSUER"]),
            (vec![URL, ISSUER, AUDIENCE, ("JWKS_FILE", "/jwks.json")], vec!["JWKS_FILE"]),
            (vec![URL, ISSUER, AUDIENCE, ("JWT_LEEWAY", "1h")], vec!["JWT_LEEWAY"]),
        ] {
            let found = problems(&pairs);
            assert_eq!(found.len(), names.len(), "{found:?}");
            assert!(
                found.iter().zip(names).all(|(text, name)| text.starts_with(name)),
                "{found:?}"
            );
        }
    }

    #[test]
    fn neither_shared_secrets_nor_none_are_algorithms() {
        for wrong in ["none", "HS256", "RS256,HS256", "rs256", "RS256,"] {
            assert_eq!(problems(&[("JWT_ALGORITHMS", wrong)]).len(), 1, "{wrong}");
        }
        let tokens = config(&[("JWT_ALGORITHMS", "EdDSA, ES256")]).tokens;
        assert_eq!(tokens.algorithms, [TokenAlgorithm::EdDsa, TokenAlgorithm::Es256]);
    }

    #[test]
    fn keys_from_another_machine_are_encrypted() {
        for wrong in ["http://shop.example/j", "https://u:p@shop.example", "ftp://a", "https://"] {
            let found = problems(&[("JWKS_URL", wrong), ISSUER, AUDIENCE]);
            assert_eq!(found.len(), 1, "{wrong} {found:?}");
        }
        config(&[("JWKS_URL", "http://127.0.0.1:9/j"), ISSUER, AUDIENCE]);
    }
}

//! The form and the claims of a token (RFC 7515, RFC 7519; checked as RFC 8725 asks for).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::clock::EpochMs;
use crate::domain::ids::CustomerId;
use crate::domain::token::{TokenAlgorithm, TokenRules};

/// The most bytes of a token.
pub(super) const TOKEN_MAX: usize = 8 * 1024;

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    crit: Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Audience,
    sub: String,
    exp: f64,
    nbf: Option<f64>,
}

/// A token whose signature is not verified yet.
pub(super) struct SignedToken<'a> {
    pub(super) algorithm: TokenAlgorithm,
    pub(super) kid: Option<String>,
    /// What is signed.
    pub(super) message: &'a [u8],
    pub(super) signature: Vec<u8>,
    claims: &'a str,
}

fn json<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Whether this has the form of a token: no API key of the database has dots.
pub(super) fn is_token(text: &str) -> bool {
    text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl<'a> SignedToken<'a> {
    /// Splits a token. Its algorithm must be one of those that are configured, and its type that of a token.
    pub(super) fn parse(text: &'a str, rules: &TokenRules) -> Result<Self, String> {
        if text.len() > TOKEN_MAX {
            return Err(format!("it has more than {TOKEN_MAX} bytes"));
        }
        let form = || "it has not the form of a signed JWT".to_owned();
        let (message, signature) = text.rsplit_once('.').ok_or_else(form)?;
        let (header, claims) = message.split_once('.').ok_or_else(form)?;
        let header: Header = json(header).ok_or_else(form)?;
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| form())?;
        if header.crit.is_some() {
            return Err("it has critical header parameters, and none is supported".to_owned());
        }
        let typ = header.typ.unwrap_or_else(|| "JWT".to_owned()).to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if !["jwt", "at+jwt"].contains(&typ) {
            return Err("its typ is neither JWT nor at+jwt".to_owned());
        }
        let algorithm = header.alg.parse().ok().filter(|named| rules.algorithms.contains(named));
        let algorithm = algorithm.ok_or_else(|| "its alg is not in JWT_ALGORITHMS".to_owned())?;
        let message = message.as_bytes();
        Ok(Self { algorithm, kid: header.kid, message, signature, claims })
    }

    /// The customer of a token whose signature is verified, if its claims fulfil the rules at `now`.
    pub(super) fn customer(&self, rules: &TokenRules, now: EpochMs) -> Result<CustomerId, String> {
        let missing =
            || "it lacks one of iss, aud, sub and exp, or one has the wrong type".to_owned();
        let claims: Claims = json(self.claims).ok_or_else(missing)?;
        if claims.iss != rules.issuer {
            return Err("its iss is not JWT_ISSUER".to_owned());
        }
        let audiences = match claims.aud {
            Audience::One(one) => vec![one],
            Audience::Several(several) => several,
        };
        if !audiences.iter().any(|audience| rules.audiences.contains(audience)) {
            return Err("its aud has none of JWT_AUDIENCE".to_owned());
        }
        let at = |seconds: f64| seconds * 1_000.0;
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds are exact until the year 287396"
        )]
        let (now, leeway) = (now.0 as f64, rules.leeway_ms as f64);
        if now >= at(claims.exp) + leeway {
            return Err("it has expired".to_owned());
        }
        if claims.nbf.is_some_and(|nbf| now < at(nbf) - leeway) {
            return Err("it is not valid yet (nbf)".to_owned());
        }
        let customer = CustomerId::new(claims.sub).ok().filter(|customer| !customer.is_session());
        customer.ok_or_else(|| "its sub is not a valid customer_id".to_owned())
    }
}

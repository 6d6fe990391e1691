//! PostgreSQL URLs: read by the driver's own parser, and checked so that the end of the password is certain.

use std::fmt;
use std::path::PathBuf;

use sea_orm::sqlx::postgres::PgConnectOptions;

use crate::telemetry::redaction::REDACTED;

/// The form of a database URL, for problems.
pub(super) const EXPECTED: &str =
    "postgres://user:password@host:port/database, special characters percent-encoded";

/// A `postgres://` or `postgresql://` URL. `Debug` and `Display` replace the password and the query (which may contain
/// one too); only [`DatabaseUrl::expose`] returns the whole URL.
#[derive(Clone)]
pub struct DatabaseUrl {
    whole: String,
    shown: String,
}

impl DatabaseUrl {
    /// Reads a URL. `None` for another scheme, and if the end of the password is uncertain because a character is not
    /// percent-encoded.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let whole = text.trim();
        let (scheme, rest) = whole.split_once("://")?;
        let known = ["postgres", "postgresql"].iter().any(|s| scheme.eq_ignore_ascii_case(s));
        if !known || whole.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#') {
            return None;
        }
        let (location, query) = match rest.split_once('?') {
            Some((location, query)) => (location, Some(query)),
            None => (rest, None),
        };
        let (authority, path) = location.split_once('/').unwrap_or((location, ""));
        let (user, address) = match authority.split_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, authority),
        };
        // A second `@` may be the end of a password that was not encoded.
        if address.contains('@') || path.contains('@') || query.is_some_and(|q| q.contains('@')) {
            return None;
        }
        // Without an address the query must name a host, which may be the directory of a socket.
        let host_is_in_query =
            address.is_empty() && query.is_some_and(|query| query.contains("host="));
        if !host_is_in_query && !is_address(address) {
            return None;
        }
        // A URL that the driver cannot parse would fail only when it connects.
        whole.parse::<PgConnectOptions>().ok()?;
        let user = user.map_or_else(String::new, |user| match user.split_once(':') {
            Some((name, _)) => format!("{name}:{REDACTED}@"),
            None => format!("{user}@"),
        });
        let query = query.map_or_else(String::new, |_| format!("?{REDACTED}"));
        let shown = format!("{scheme}://{user}{address}/{path}{query}");
        Some(Self { whole: whole.to_owned(), shown })
    }

    /// Whether the URL contains a password.
    pub(super) fn has_password(&self) -> bool {
        self.shown.contains(&format!(":{REDACTED}@")) || self.parameter(&["password"]).is_some()
    }

    /// The files of certificates and keys that the URL names.
    pub(super) fn files(&self) -> impl Iterator<Item = PathBuf> {
        let names = [
            ["sslrootcert", "ssl-root-cert", "ssl-ca"].as_slice(),
            &["sslcert", "ssl-cert"],
            &["sslkey", "ssl-key"],
        ];
        let values = names.into_iter().filter_map(|names| self.parameter(names));
        // The driver also accepts the certificate itself.
        values.filter(|value| !value.contains("-----BEGIN")).map(PathBuf::from)
    }

    /// The value of the last parameter with one of these names.
    fn parameter(&self, names: &[&str]) -> Option<String> {
        let (_, query) = self.whole.split_once('?')?;
        let mut pairs = query.rsplit('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(name, _)| names.contains(name))?;
        Some(percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
    }

    /// The URL with its password, to connect with. Never log, print or format it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.whole
    }
}

/// A host that is not empty, and a port that is a number if there is one.
fn is_address(address: &str) -> bool {
    // The port follows the brackets of an IPv6 address, or else the first colon.
    let (host, port) = match address.split_once(']') {
        Some((host, port)) => (host, port.strip_prefix(':').or(port.is_empty().then_some("0"))),
        None => match address.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (address, Some("0")),
        },
    };
    !host.is_empty() && port.is_some_and(|port| port.parse::<u16>().is_ok())
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("postgres://u:hunter2@db:5432/seatlock", "postgres://u:[redacted]@db:5432/seatlock"),
            ("postgresql://u:a:hunter2@db/s", "postgresql://u:[redacted]@db/s"),
            ("postgres://db/s?password=hunter2", "postgres://db/s?[redacted]"),
            ("postgres://u@[::1]:5432/s", "postgres://u@[::1]:5432/s"),
            ("postgres:///s?host=/run/postgresql", "postgres:///s?[redacted]"),
        ] {
            let parsed = DatabaseUrl::parse(url).unwrap();
            assert_eq!(parsed.to_string(), shown);
            assert_eq!(format!("{parsed:?}"), shown);
            assert_eq!(parsed.expose(), url);
        }
    }

    #[test]
    fn a_url_in_which_the_end_of_the_password_is_uncertain_is_refused() {
        for url in [
            "postgres://u:hun@ter2@db/s",
            "postgres://u:hun/ter2@db/s",
            "postgres://u:1/ter2@db/s",
            "postgres://u:1?ter2@db/s",
            "postgres://u:hun#ter2@db/s",
            "postgres://u:hunter2",
            "postgres://u:hun ter2@db/s",
        ] {
            assert!(DatabaseUrl::parse(url).is_none(), "{url}");
        }
    }

    #[test]
    fn a_url_that_the_driver_cannot_read_is_refused() {
        for url in [
            "postgres://u:hunter2@<host>/s",
            "postgres://u:hunter2@[fe80::1%eth0]/s",
            "postgres://u:hunter2@db^1/s",
            "postgres://u:hunter2@[::1/s",
            "postgres://db/s?sslmode=perhaps",
            "postgres://db/s?port=many",
            "postgres://u:%ff@db/s",
        ] {
            assert!(DatabaseUrl::parse(url).is_none(), "{url}");
        }
    }

    #[test]
    fn files_and_passwords_are_found_in_a_url() {
        let parse = |url| DatabaseUrl::parse(url).unwrap();
        let url = parse("postgres://u@db/s?sslmode=verify-full&sslrootcert=/a%20b.pem&sslkey=/k");
        let files: Vec<_> = url.files().collect();
        assert_eq!(files, [PathBuf::from("/a b.pem"), PathBuf::from("/k")]);
        assert!(!url.has_password());
        assert!(parse("postgres://u:hunter2@db/s").has_password());
        assert!(parse("postgres://u@db/s?password=hunter2").has_password());
    }

    #[test]
    fn only_postgresql_is_accepted() {
        for url in
            ["mysql://db/s", "sqlite://x.db", "db:5432/s", "", "postgres://", "postgres:///s"]
        {
            assert!(DatabaseUrl::parse(url).is_none(), "{url}");
        }
    }
}

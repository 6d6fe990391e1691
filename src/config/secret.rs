//! Values that must never be printed.

use std::fmt;
use std::path::PathBuf;

use crate::telemetry::redaction::REDACTED;

/// A password or key. `Debug` and `Display` show `[redacted]`; only [`Secret::expose`] returns the text.
///
/// `PartialEq` is not implemented: the time that `==` takes would reveal how much of a key matched.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for its user. Never log, print or format it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// A value, and the file that it was read from.
#[derive(Debug, Clone)]
pub struct FromFile<T> {
    /// The value.
    pub value: T,
    /// The file; `None` if the variable itself had the value.
    pub file: Option<PathBuf>,
}

/// A value of a variable that is not a secret, as it may be shown. Everything before an `@`, and the query of a URL, is
/// replaced, because people paste URLs with passwords into variables for host names. The caller escapes control
/// characters.
pub(super) fn without_credentials(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), value),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, address)) => format!("{REDACTED}@{address}"),
        None => rest.to_owned(),
    };
    match rest.split_once('?') {
        Some((address, _)) if !scheme.is_empty() => format!("{scheme}{address}?{REDACTED}"),
        _ => format!("{scheme}{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_itself_only_when_asked_to() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn credentials_pasted_into_a_plain_variable_are_not_shown() {
        assert_eq!(without_credentials("redis://u:hunter2@cache:1"), "redis://[redacted]@cache:1");
        assert_eq!(without_credentials("u:hun@ter2@cache"), "[redacted]@cache");
        assert_eq!(
            without_credentials("redis://cache?password=hunter2"),
            "redis://cache?[redacted]"
        );
        assert_eq!(without_credentials("cache"), "cache");
        assert_eq!(without_credentials("what?"), "what?");
    }
}

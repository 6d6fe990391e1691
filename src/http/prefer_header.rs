//! The preferences of a client (RFC 7240): an immediate answer, or how long to wait for one.

use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// The response header that confirms `respond-async`: the request is answered later, as its client prefers.
pub(super) const APPLIED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("preference-applied"), HeaderValue::from_static("respond-async"));

/// The supported preferences; others are ignored, as the RFC requires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Prefer {
    /// `respond-async`: the client prefers to poll for the outcome.
    pub(super) respond_async: bool,
    /// `wait=<seconds>`: how long the client waits.
    pub(super) wait: Option<Duration>,
}

impl Prefer {
    /// The preferences of a request; if a preference is repeated, the first one counts.
    pub(super) fn of(request: &HttpRequest) -> Self {
        let values = request.headers().get_all(PREFER);
        Self::parse(values.filter_map(|value| value.to_str().ok()))
    }

    fn parse<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let mut prefer = Self::default();
        // Also if its value is no time: a later one does not replace it.
        let mut wait_is_given = false;
        for preference in values.flat_map(|value| value.split(',')) {
            let preference = preference.split(';').next().unwrap_or_default();
            let (name, value) = preference.split_once('=').unwrap_or((preference, ""));
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => prefer.respond_async = true,
                "wait" if !wait_is_given => {
                    wait_is_given = true;
                    prefer.wait = value.parse().ok().map(Duration::from_secs);
                }
                _ => {}
            }
        }
        prefer
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(values in prop::collection::vec(any::<String>(), 0..4)) {
            Prefer::parse(values.iter().map(String::as_str));
        }

        #[test]
        fn a_time_to_wait_is_read_among_other_preferences(
            seconds in any::<u64>(), before in "[a-z]{1,5}(=[a-z0-9]{1,5})?", after in "[a-z;=, ]{0,9}"
        ) {
            prop_assume!(!before.starts_with("wait"));
            let header = format!("{before}, wait={seconds}, {after}");
            let wait = Prefer::parse([header.as_str()].into_iter()).wait;
            prop_assert_eq!(wait, Some(Duration::from_secs(seconds)));
        }
    }

    #[test]
    fn preferences_are_in_one_header_or_several() {
        let parse = |values: &[&str]| Prefer::parse(values.iter().copied());
        let both = Prefer { respond_async: true, wait: Some(Duration::from_secs(5)) };
        for values in [
            &["respond-async, wait=5"][..],
            &["wait=5", "Respond-Async"],
            &["return=minimal; x=1, respond-async;y, wait = \"5\", wait=9"],
        ] {
            assert_eq!(parse(values), both, "{values:?}");
        }
        for values in [
            &[][..],
            &[""],
            &["wait=soon"],
            &["wait=soon, wait=5"],
            &["wait", "wait=5"],
            &["respond-asynchronously"],
            &["wait=-1"],
        ] {
            assert_eq!(parse(values), Prefer::default(), "{values:?}");
        }
    }
}

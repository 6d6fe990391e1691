//! Times as the API writes them.

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// The time in so many seconds, or ago.
pub(crate) fn in_seconds(seconds: i64) -> String {
    (OffsetDateTime::now_utc() + Duration::seconds(seconds)).format(&Rfc3339).unwrap()
}

/// A time of an answer in milliseconds.
pub(crate) fn millis(time: &serde_json::Value) -> i64 {
    let time = OffsetDateTime::parse(time.as_str().unwrap(), &Rfc3339).unwrap();
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).unwrap()
}

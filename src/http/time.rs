//! Times on the wire: RFC 3339 in UTC, milliseconds where there are any.

use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::domain::clock::EpochMs;

/// Writes a time as `2026-11-22T12:34:56.789Z`.
#[must_use]
pub fn write(time: EpochMs) -> String {
    let nanos = i128::from(time.0) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .ok()
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_else(|| time.0.to_string())
}

/// Reads a time with any offset; finer than a millisecond is cut off.
#[must_use]
pub fn read(text: &str) -> Option<EpochMs> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(UtcOffset::UTC);
    i64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok().map(EpochMs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_survives_the_wire() {
        for ms in [0, 1, 1_763_812_496_789, 253_402_300_799_999] {
            assert_eq!(read(&write(EpochMs(ms))), Some(EpochMs(ms)));
        }
        assert_eq!(write(EpochMs(1_763_812_496_000)), "2025-11-22T11:54:56Z");
        assert_eq!(read("2025-11-22T12:54:56+01:00"), Some(EpochMs(1_763_812_496_000)));
        assert_eq!(read("yesterday"), None);
    }
}

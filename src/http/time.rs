//! Reading and writing of times in RFC 3339. A time is read with any offset. It is written in UTC with milliseconds,
//! always in the same width, so that times sort as texts.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::domain::clock::EpochMs;

/// The last millisecond of the year 9999, the last that RFC 3339 can write.
const LAST: EpochMs = EpochMs(253_402_300_799_999);

/// Why a text is not a valid time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// The text has another format, or names a day or an hour that does not exist.
    #[error("must be a time like 2026-11-22T20:00:00Z (RFC 3339)")]
    Representation,
    /// The time cannot be stored.
    #[error("must be from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z in UTC")]
    Range,
}

impl TimeError {
    /// Its code in a problem's `errors`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Representation => "invalid_time",
            Self::Range => "out_of_range",
        }
    }
}

/// Writes a time as `2026-11-22T12:34:56.789Z`. A time outside the range of RFC 3339 is written as the nearest time in
/// the range.
#[must_use]
pub fn write(time: EpochMs) -> String {
    let ms = time.0.clamp(0, LAST.0);
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000);
    let time = time.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second, milli)) = (time.date(), time.time().as_hms_milli());
    format!("{date}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads a time with any offset, truncated to milliseconds. A leap second (`23:59:60`) is read as the millisecond
/// before it, since Unix time has no leap seconds.
pub fn read(text: &str) -> Result<EpochMs, TimeError> {
    // RFC 3339 §5.6 has `T`, in either case, and allows a blank for it.
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
        return Err(TimeError::Representation);
    }
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| TimeError::Representation)?;
    // Converting the time to another offset could exceed the years of the type, and panic.
    let ms = time.unix_timestamp_nanos().div_euclid(1_000_000);
    let ms = i64::try_from(ms).ok().filter(|ms| (0..=LAST.0).contains(ms));
    ms.map(EpochMs).ok_or(TimeError::Range)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_survives_the_wire_in_one_width() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1, "1970-01-01T00:00:00.001Z"),
            (1_763_812_496_000, "2025-11-22T11:54:56.000Z"),
            (1_763_812_496_789, "2025-11-22T11:54:56.789Z"),
            (LAST.0, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(write(EpochMs(ms)), text);
            assert_eq!(read(text), Ok(EpochMs(ms)));
        }
        assert_eq!(write(EpochMs(i64::MAX)), "9999-12-31T23:59:59.999Z");
        assert_eq!(write(EpochMs(i64::MIN)), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_time_is_read_with_any_offset_and_cut_to_milliseconds() {
        for (text, ms) in [
            ("2025-11-22T12:54:56+01:00", 1_763_812_496_000),
            ("2025-11-22t11:54:56z", 1_763_812_496_000),
            ("2025-11-22 11:54:56.7899999Z", 1_763_812_496_789),
            ("1969-12-31T23:00:00-01:00", 0),
            ("9999-12-31T23:59:59.9999Z", LAST.0),
            ("9999-12-31T23:59:59+00:01", LAST.0 - 60_999),
        ] {
            assert_eq!(read(text), Ok(EpochMs(ms)), "{text}");
        }
    }

    #[test]
    fn a_leap_second_is_the_last_millisecond_before_it() {
        let before = EpochMs(1_483_228_799_999);
        assert_eq!(read("2016-12-31T23:59:60Z"), Ok(before));
        assert_eq!(read("2017-01-01T00:59:60.5+01:00"), Ok(before));
        assert_eq!(write(before), "2016-12-31T23:59:59.999Z");
        assert_eq!(read("9999-12-31T23:59:60Z"), Ok(LAST));
        assert_eq!(
            read("2016-12-31T12:00:60Z"),
            Err(TimeError::Representation),
            "there is none at noon"
        );
    }

    #[test]
    fn a_time_that_cannot_be_stored_is_out_of_range() {
        for text in [
            "9999-12-31T23:59:59-00:01",
            "0000-01-01T00:00:00+23:59",
            "0000-01-01T00:00:00Z",
            "1969-12-31T23:59:59.9999999Z",
            "1970-01-01T00:00:00+00:01",
        ] {
            assert_eq!(read(text), Err(TimeError::Range), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "yesterday",
            "2026-11-22",
            "2026-11-22T20:00:00",
            "2026-11-22x20:00:00Z",
            "2026-11-22T20:00Z",
            "2026-02-30T20:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T20:00:00+24:00",
            "+2026-11-22T20:00:00Z",
            "1763812496789",
        ] {
            assert_eq!(read(text), Err(TimeError::Representation), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = read(&text);
        }

        #[test]
        fn no_text_in_the_form_of_a_time_makes_the_reader_panic(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{1,12})?(Z|z|[+-][0-2][0-9]:[0-6][0-9])"
        ) {
            if let Ok(time) = read(&text) {
                prop_assert_eq!(read(&write(time)), Ok(time));
            }
        }

        #[test]
        fn times_survive_the_wire_and_sort_as_texts(one in 0..=LAST.0, other in 0..=LAST.0) {
            prop_assert_eq!(read(&write(EpochMs(one))), Ok(EpochMs(one)));
            prop_assert_eq!(one.cmp(&other), write(EpochMs(one)).cmp(&write(EpochMs(other))));
        }

        #[test]
        fn every_number_is_written_as_a_time(ms in any::<i64>()) {
            prop_assert!(read(&write(EpochMs(ms))).is_ok());
        }
    }
}

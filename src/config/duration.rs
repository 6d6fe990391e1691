//! Durations as people write them: `30` (seconds), `250ms`, `12s`, `10m`, `24h`.
//!
//! The crate humantime needs a unit, and accepts `1d` and `1month`, which are refused here.

use std::time::Duration;

/// The form of a duration, for problems.
pub(super) const EXPECTED: &str =
    "a whole number of seconds or of a unit (ms, s, m, h), from 1ms to 365 days";

/// A year. A longer duration is a typing error, and would overflow clocks.
const LONGEST_MS: u64 = 365 * 24 * 3_600_000;

/// The units and their milliseconds. `ms` comes before `s`, because a text that ends with `ms` also ends with `s`.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Reads a duration; `None` if it has another form, is zero or is longer than a year.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (digits, factor) = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), *factor)))
        .unwrap_or((text, 1_000));
    // `u64::from_str` would accept a sign.
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let millis = digits.parse::<u64>().ok()?.checked_mul(factor)?;
    (1..=LONGEST_MS).contains(&millis).then(|| Duration::from_millis(millis))
}

/// Writes a duration so that [`parse`] reads it again: in seconds, or in milliseconds if it is not a whole number of
/// seconds.
pub(super) fn show(duration: Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_need_no_unit() {
        for (text, millis) in [
            ("30", 30_000),
            ("250ms", 250),
            ("12s", 12_000),
            ("10m", 600_000),
            ("24 h", 86_400_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "s",
            "0",
            "-1",
            "+1",
            "1.5s",
            "1d",
            "ten",
            "1 0s",
            "366000h",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_shown_duration_is_read_again() {
        for millis in [1, 999, 1_000, 1_500, 86_400_000] {
            let duration = Duration::from_millis(millis);
            assert_eq!(parse(&show(duration)), Some(duration));
        }
    }
}

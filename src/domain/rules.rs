//! The rules of schedules, and the limits of the installation.

use std::time::Duration;

use super::clock::EpochMs;

/// The most characters of an event's name.
pub const EVENT_NAME_MAX: usize = 200;

/// The most characters of a seat plan's id.
pub const PLAN_ID_MAX: usize = 64;

/// The rule for the ids of seat plans, for error messages.
pub const PLAN_ID_RULE: &str = "must have 1 to 64 letters A to Z, digits or the characters - . _ ~, and \
                                not only dots";

/// The form of the id of a new seat plan of at most [`PLAN_ID_MAX`] characters.
pub const PLAN_ID_PATTERN: &str = r"^\.*[A-Za-z0-9_~-][A-Za-z0-9._~-]*$";

/// The most characters of the reason for a block.
pub const REASON_MAX: usize = 200;

/// Whether a text can be the id of a new seat plan. The id is a segment of a URL's path, so it has only unreserved
/// characters (RFC 3986 §2.3) and is no segment of dots (§3.3).
#[must_use]
pub fn is_plan_id(text: &str) -> bool {
    (1..=PLAN_ID_MAX).contains(&text.len())
        && text.bytes().all(is_plan_id_byte)
        && text.bytes().any(|byte| byte != b'.')
}

/// Whether a character may be in the id of a seat plan.
#[must_use]
pub fn is_plan_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The most seats in one hold or booking, unless the schedule has its own rule.
pub const SEATS_PER_BOOKING: u32 = 10;

/// The greatest `max_seats_per_booking` of a schedule. Schedules that were created before this bound may exceed it.
pub const SEATS_PER_BOOKING_MAX: u32 = 1_000;

/// The currency of a schedule that names none.
pub const CURRENCY: &str = "EUR";

/// The rules of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRules {
    /// When sales open; they are open immediately if absent.
    pub sales_open_at: Option<EpochMs>,
    /// When sales close; they never close if absent.
    pub sales_close_at: Option<EpochMs>,
    /// The most seats in one hold or booking.
    pub max_seats_per_booking: u32,
    /// The most seats of one customer in live holds and bookings together; no limit if absent.
    pub max_seats_per_customer: Option<u32>,
    /// The life of a hold, unless its request names one.
    pub hold_ttl: Duration,
    /// ISO 4217 code of all prices.
    pub currency: String,
}

impl ScheduleRules {
    /// The default rules.
    #[must_use]
    pub fn usual(hold_ttl: Duration) -> Self {
        Self {
            sales_open_at: None,
            sales_close_at: None,
            max_seats_per_booking: SEATS_PER_BOOKING,
            max_seats_per_customer: None,
            hold_ttl,
            currency: CURRENCY.to_owned(),
        }
    }

    /// Whether seats are sold at `now`.
    #[must_use]
    pub fn on_sale(&self, now: EpochMs) -> bool {
        self.sales_open_at.is_none_or(|open| open <= now)
            && self.sales_close_at.is_none_or(|close| now < close)
    }
}

/// Limits of the installation that decisions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The longest a hold may live, extensions included.
    pub hold_ttl_max: Duration,
    /// How long after an outage a hold expires that would have expired during it.
    pub outage_grace: Duration,
    /// How long an answer is stored under its Idempotency-Key.
    pub idempotency_ttl: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_plan_needs_no_escape_in_a_path() {
        let longest = "x".repeat(PLAN_ID_MAX);
        for id in ["hall", "Hall-2.v1_~", ".hall", "..a", "1", &longest] {
            assert!(is_plan_id(id), "{id}");
        }
        let too_long = "x".repeat(PLAN_ID_MAX + 1);
        for wrong in
            ["", ".", "..", "...", "a/c", "a b", " a", "a%2Fc", "a\0", "a\n", "säle", &too_long]
        {
            assert!(!is_plan_id(wrong), "{wrong:?}");
        }
        assert!(PLAN_ID_RULE.contains(&format!("1 to {PLAN_ID_MAX} ")));
    }
}

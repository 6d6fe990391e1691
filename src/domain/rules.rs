//! What a schedule allows, and the installation's own limits.

use std::time::Duration;

use super::clock::EpochMs;

/// The rules of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRules {
    /// No sale before; at once if absent.
    pub sales_open_at: Option<EpochMs>,
    /// No sale from then on; never closes if absent.
    pub sales_close_at: Option<EpochMs>,
    /// Seats in one hold or booking.
    pub max_seats_per_booking: u32,
    /// Seats of one customer in live holds and bookings together; no limit if absent.
    pub max_seats_per_customer: Option<u32>,
    /// The life of a hold that does not ask for one.
    pub hold_ttl: Duration,
    /// ISO 4217 code of all prices.
    pub currency: String,
}

impl ScheduleRules {
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
    /// What a customer is given after an outage.
    pub outage_grace: Duration,
    /// How long an answer is kept under its Idempotency-Key.
    pub idempotency_ttl: Duration,
}

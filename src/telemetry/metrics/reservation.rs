//! Metrics of the results that customers get: how requests for seats end, and how they are refused.

use strum::{AsRefStr, VariantNames};

use crate::telemetry::metrics::macros::metrics;

/// The result of a request to hold, book or confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum BookingResult {
    /// The customer has the seats, by this request or by an earlier request that it repeats.
    Good,
    /// The request was refused: another customer has the seats, a rule forbids it, or a resource that it names does not
    /// exist (404, 409, 422, 429).
    Refused,
    /// The service could not execute the request, or does not know whether it did (5xx).
    Failed,
    /// The request is not valid: its form, its size or its key (any other 4xx).
    Invalid,
}

impl BookingResult {
    /// The result of a request whose answer has this status.
    #[must_use]
    pub const fn of(status: u16) -> Self {
        match status {
            ..400 => Self::Good,
            404 | 409 | 422 | 429 => Self::Refused,
            400..500 => Self::Invalid,
            _ => Self::Failed,
        }
    }
}

/// Why a command was refused before it reached the booking engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum EarlyRejection {
    /// The seats are sold, held or blocked in the map in memory.
    Known,
    /// Another request holds the seat locks.
    Locked,
    /// The same request is still being executed.
    InProgress,
    /// The primary is read-only.
    ReadOnly,
    /// Too many commands wait.
    Overloaded,
    /// The service is stopping.
    Draining,
}

metrics! {
    /// The results that customers get.
    pub struct ReservationMetrics("seatlock") {
        /// Requests to hold, book or confirm by result; without those whose client disconnected. A refusal
        /// is the right answer to a second buyer: only failed is a fault of the service, and invalid one of
        /// the client.
        booking_requests_total: IntCounterVec["result": BookingResult],
        /// Refusals answered, by the code of their problem; of the whole API. Codes are those of
        /// docs/errors.md with status 404, 409, 422 or 429.
        refusals_total: IntCounterVec["code"],
        /// Commands refused before they reached the booking engine, by reason.
        early_refusals_total: IntCounterVec["reason": EarlyRejection],
        /// Refusals by seat locks alone of seats that are free in the map. Some are right while many
        /// customers want the same seats, because the seats are being sold. If almost nothing is sold
        /// meanwhile, locks are stuck.
        free_seat_conflicts_total: IntCounter,
    }
}

impl ReservationMetrics {
    /// Creates the series of every code that a refusal can have.
    pub fn expect_codes<'a>(&self, codes: impl Iterator<Item = (&'a str, u16)>) {
        for (code, _) in codes.filter(|(_, status)| is_refusal(*status)) {
            self.refusals_total.with_label_values(&[code]);
        }
    }

    /// Counts a problem that was answered, if it is a refusal.
    pub fn answered_problem(&self, code: &str, status: u16) {
        if is_refusal(status) {
            self.refusals_total.with_label_values(&[code]).inc();
        }
    }

    /// Counts the answer to a request to hold, book or confirm.
    pub fn answered(&self, status: u16) {
        self.booking_requests_total.with_label_values(&[BookingResult::of(status).as_ref()]).inc();
    }

    /// Counts a command that did not reach the booking engine.
    pub fn refused_early(&self, reason: EarlyRejection) {
        self.early_refusals_total.with_label_values(&[reason]).inc();
    }
}

fn is_refusal(status: u16) -> bool {
    BookingResult::of(status) == BookingResult::Refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_not_a_failure_and_an_unknown_outcome_is_one() {
        for (status, result) in [
            (200, BookingResult::Good),
            (201, BookingResult::Good),
            (400, BookingResult::Invalid),
            (401, BookingResult::Invalid),
            (404, BookingResult::Refused),
            (409, BookingResult::Refused),
            (413, BookingResult::Invalid),
            (422, BookingResult::Refused),
            (429, BookingResult::Refused),
            (500, BookingResult::Failed),
            (503, BookingResult::Failed),
        ] {
            assert_eq!(BookingResult::of(status), result, "{status}");
        }
    }
}

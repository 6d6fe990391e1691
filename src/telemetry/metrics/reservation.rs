//! Metrics of what customers are told: how their requests for seats end, and which way they are refused.

use crate::telemetry::metrics::macros::{labels, metrics};

labels! {
    /// How a request to hold, book or confirm ended.
    pub enum BookingResult {
        /// The seats are the customer's, by this request or by the one that it repeats.
        Good = "good",
        /// An honest no: somebody else has the seats, a rule forbids it, or what it names is not there
        /// (404, 409, 422, 429).
        Refused = "refused",
        /// The service could not do it, or does not know whether it did (5xx).
        Failed = "failed",
        /// The request itself is wrong: its form, its size or its key (any other 4xx).
        Invalid = "invalid",
    }
}

impl BookingResult {
    /// The result that an answer's status tells.
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

labels! {
    /// Why a command was refused before the booking engine was asked.
    pub enum EarlyRejection {
        /// The map in memory knows the seats to be sold, held or blocked.
        Known = "known",
        /// Somebody else has the seat locks.
        Locked = "locked",
        /// The same request is still being executed.
        InProgress = "in_progress",
        /// The primary is read-only.
        ReadOnly = "read_only",
        /// Too many commands wait.
        Overloaded = "overloaded",
        /// The service is stopping.
        Draining = "draining",
    }
}

metrics! {
    /// What customers are told.
    pub struct ReservationMetrics("seatlock") {
        /// Requests to hold, book or confirm by how they ended; not those whose client left. A refusal is
        /// the right answer to whoever comes second, so only failed tells against the service, and invalid
        /// against the client.
        booking_requests_total: IntCounterVec["result": BookingResult],
        /// Refusals answered, by the code of their problem; of the whole API. Codes are those of
        /// docs/errors.md with status 404, 409, 422 or 429.
        refusals_total: IntCounterVec["code"],
        /// Commands refused without asking the booking engine, by reason.
        early_refusals_total: IntCounterVec["reason": EarlyRejection],
        /// Refusals by seat locks alone of seats that the map knows to be free. While many want the same
        /// seats some are right: the seats are being sold. If hardly anything is sold meanwhile, locks are
        /// stuck.
        free_seat_conflicts_total: IntCounter,
    }
}

impl ReservationMetrics {
    /// Makes the series of every code that a refusal can have.
    pub fn expect_codes<'a>(&self, codes: impl Iterator<Item = (&'a str, u16)>) {
        for (code, _) in codes.filter(|(_, status)| is_refusal(*status)) {
            self.refusals_total.with_label_values(&[code]);
        }
    }

    /// Counts a problem answered, if it is a refusal.
    pub fn answered_problem(&self, code: &str, status: u16) {
        if is_refusal(status) {
            self.refusals_total.with_label_values(&[code]).inc();
        }
    }

    /// Counts the answer to a request to hold, book or confirm.
    pub fn answered(&self, status: u16) {
        self.booking_requests_total.with_label_values(&[BookingResult::of(status).as_str()]).inc();
    }

    /// Counts a command that the booking engine was not asked about.
    pub fn refused_early(&self, reason: EarlyRejection) {
        self.early_refusals_total.with_label_values(&[reason.as_str()]).inc();
    }
}

fn is_refusal(status: u16) -> bool {
    BookingResult::of(status) == BookingResult::Refused
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_is_not_a_failure_and_not_knowing_is_one() {
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

//! What was answered, and how long it took.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::progress::Progress;

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// Latencies in microseconds.
pub(crate) type Latencies = Histogram<u32>;

/// An empty histogram, which grows to whatever is recorded.
#[expect(clippy::expect_used, reason = "the library permits 0 to 5 digits")]
pub(crate) fn latencies() -> Latencies {
    Histogram::new(DIGITS).expect("3 digits are permitted")
}

/// Adds a latency to a histogram.
pub(crate) fn record(latencies: &mut Latencies, latency: Duration) {
    // A histogram that grows accepts every value.
    let _ = latencies.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
}

/// A percentile of a histogram in milliseconds; 0 if it is empty.
pub(crate) fn percentile(latencies: &Latencies, percent: f64) -> f64 {
    latencies.value_at_percentile(percent) as f64 / 1_000.0
}

/// The answers to requests of one kind.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    pub(crate) statuses: BTreeMap<u16, u64>,
    latencies: Latencies,
    /// Requests whose connection broke, or which found no connection free.
    pub(crate) unanswered: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self { statuses: BTreeMap::new(), latencies: latencies(), unanswered: 0 }
    }
}

impl Tally {
    pub(crate) fn answered(&mut self, status: u16, latency: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        record(&mut self.latencies, latency);
    }

    /// Adds the answers of another tally.
    pub(crate) fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        // A histogram that grows accepts every value.
        let _ = self.latencies.add(&other.latencies);
        self.unanswered += other.unanswered;
    }

    pub(crate) fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    fn sum(&self, wanted: impl Fn(u16) -> bool) -> u64 {
        self.statuses.iter().filter(|(status, _)| wanted(**status)).map(|(_, count)| count).sum()
    }

    /// The requests that succeeded.
    pub(crate) fn succeeded(&self) -> u64 {
        self.sum(has_succeeded)
    }

    /// The requests that a decision of the service refused.
    pub(crate) fn refused(&self) -> u64 {
        self.count(REFUSED)
    }

    /// The requests that failed otherwise.
    pub(crate) fn errors(&self) -> u64 {
        self.unanswered + self.sum(is_error)
    }

    /// The errors by status, such as `503: 12, no answer: 1`; empty without errors.
    pub(crate) fn errors_by_status(&self) -> String {
        let errors = self.statuses.iter().filter(|(status, _)| is_error(**status));
        let mut texts: Vec<_> =
            errors.map(|(status, count)| format!("{status}: {count}")).collect();
        if self.unanswered > 0 {
            texts.push(format!("no answer: {}", self.unanswered));
        }
        texts.join(", ")
    }

    /// A percentile of the latencies in milliseconds.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.latencies, percent)
    }

    pub(crate) fn latency_ms(&self) -> Value {
        let [p50, p90, p99, max] = [50.0, 90.0, 99.0, 100.0].map(|of| self.percentile(of));
        json!({"p50": p50, "p90": p90, "p99": p99, "max": max})
    }
}

/// The kinds of what is measured, in the order in which customers do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A map with all seats.
    Map,
    /// The states of a map alone.
    States,
    Booking,
    Hold,
    /// The confirmation of a hold.
    Confirmation,
    /// The whole visit of a customer who reads the map, holds and confirms.
    Customer,
}

impl Kind {
    /// The name in requests' keys, in documents and in the table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::States => "states",
            Self::Booking => "booking",
            Self::Hold => "hold",
            Self::Confirmation => "confirmation",
            Self::Customer => "customer",
        }
    }
}

/// The answers of each kind.
pub(crate) type Kinds = BTreeMap<Kind, Tally>;

/// The answers of a measurement or of a phase, by kind.
pub(crate) struct Recorder {
    progress: Rc<Progress>,
    by_kind: RefCell<Kinds>,
    unanswered: Cell<u64>,
}

impl Recorder {
    pub(crate) fn new(progress: &Rc<Progress>) -> Self {
        let progress = Rc::clone(progress);
        Self { progress, by_kind: RefCell::default(), unanswered: Cell::default() }
    }

    /// Records the answer to a request of this kind.
    pub(crate) fn answered(&self, kind: Kind, status: u16, latency: Duration) {
        self.progress.answered(status, latency);
        self.finished(kind, status, latency);
    }

    /// Records the result of something that consists of several requests.
    pub(crate) fn finished(&self, kind: Kind, status: u16, latency: Duration) {
        self.by_kind.borrow_mut().entry(kind).or_default().answered(status, latency);
    }

    /// Records a request without an answer.
    pub(crate) fn unanswered(&self) {
        self.progress.unanswered();
        self.unanswered.set(self.unanswered.get() + 1);
    }

    /// All requests. The visits of customers consist of them.
    pub(crate) fn total(&self) -> Tally {
        let mut total = Tally { unanswered: self.unanswered.get(), ..Tally::default() };
        for (kind, tally) in &*self.by_kind.borrow() {
            if *kind != Kind::Customer {
                total.add(tally);
            }
        }
        total
    }

    pub(crate) fn by_kind(&self) -> Kinds {
        self.by_kind.borrow().clone()
    }
}

/// The status of a refusal.
pub(crate) const REFUSED: u16 = 409;

/// Whether a request with this status succeeded. A map that has not changed is a success.
pub(crate) fn has_succeeded(status: u16) -> bool {
    (200..300).contains(&status) || status == 304
}

fn is_error(status: u16) -> bool {
    !has_succeeded(status) && status != REFUSED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_thousandth() {
        let mut tally = Tally::default();
        assert_eq!(tally.latency_ms(), json!({"p50": 0.0, "p90": 0.0, "p99": 0.0, "max": 0.0}));
        for ms in 1..=1_000 {
            tally.answered(200, Duration::from_millis(ms));
        }
        tally.add(&Tally::default());
        for (percent, ms) in [(50.0, 500.0), (90.0, 900.0), (99.0, 990.0), (100.0, 1_000.0)] {
            let found = tally.percentile(percent);
            assert!((found - ms).abs() <= ms / 1_000.0, "{percent} %: {found}");
        }
    }

    #[test]
    fn refusals_are_not_errors() {
        let mut tally = Tally { unanswered: 1, ..Tally::default() };
        for status in [200, 201, 304, 409, 404, 503] {
            tally.answered(status, Duration::from_millis(1));
        }
        assert_eq!((tally.succeeded(), tally.refused(), tally.errors()), (3, 1, 3));
        assert_eq!(tally.errors_by_status(), "404: 1, 503: 1, no answer: 1");
        assert_eq!(Tally::default().errors_by_status(), "");
    }
}

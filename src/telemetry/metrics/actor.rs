//! Metrics of mailboxes and supervision.

use strum::{AsRefStr, VariantNames};

use crate::telemetry::metrics::macros::metrics;

/// The actors, by the names of their files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Actor {
    /// Acquires and releases seat locks.
    SeatLock,
    /// Runs the booking transactions; all lanes together.
    Booking,
}

metrics! {
    /// Mailboxes and supervision.
    pub struct ActorMetrics("seatlock_actor") {
        /// Messages waiting now.
        pending: IntGaugeVec["actor": Actor],
        /// Messages refused because too many were waiting.
        overloaded_total: IntCounterVec["actor": Actor],
        /// Actors replaced after they had stopped.
        restarts_total: IntCounterVec["actor": Actor],
    }
}

impl ActorMetrics {
    /// Sets how many messages wait.
    pub fn set_pending(&self, actor: Actor, messages: usize) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.pending.with_label_values(&[actor]).set(messages);
    }

    /// Counts a message refused for overload.
    pub fn overloaded(&self, actor: Actor) {
        self.overloaded_total.with_label_values(&[actor]).inc();
    }

    /// Counts the replacement of an actor.
    pub fn restarted(&self, actor: Actor) {
        self.restarts_total.with_label_values(&[actor]).inc();
    }
}

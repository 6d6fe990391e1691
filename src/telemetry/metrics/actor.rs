//! Metrics of mailboxes and supervision.

use crate::telemetry::metrics::macros::{labels, metrics};

labels! {
    /// The actors that have a mailbox for others, by the names of their files.
    pub enum Actor {
        /// Asks for seat locks.
        SeatLock = "seat_lock",
        /// Runs the booking transactions; all lanes together.
        Booking = "booking",
    }
}

metrics! {
    /// Mailboxes and supervision.
    pub struct ActorMetrics("seatlock_actor") {
        /// Messages waiting now.
        pending: IntGaugeVec["actor": Actor],
        /// Messages refused because too many were waiting.
        overloaded_total: IntCounterVec["actor": Actor],
        /// Actors replaced after they had died.
        restarts_total: IntCounterVec["actor": Actor],
    }
}

impl ActorMetrics {
    /// Sets how many messages wait.
    pub fn set_pending(&self, actor: Actor, messages: usize) {
        let messages = i64::try_from(messages).unwrap_or(i64::MAX);
        self.pending.with_label_values(&[actor.as_str()]).set(messages);
    }

    /// Counts a message refused for overload.
    pub fn overloaded(&self, actor: Actor) {
        self.overloaded_total.with_label_values(&[actor.as_str()]).inc();
    }

    /// Counts an actor replaced.
    pub fn restarted(&self, actor: Actor) {
        self.restarts_total.with_label_values(&[actor.as_str()]).inc();
    }
}

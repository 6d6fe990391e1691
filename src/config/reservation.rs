//! Reservations: the lifetimes of holds and recorded answers, and the sizes of batches.

use std::time::Duration;

use super::macros::variables;

/// The longest lifetime of a hold if the configuration sets none.
pub const HOLD_TTL_MAX_DEFAULT: Duration = Duration::from_secs(3_600);

variables! {
    /// Settings of holds, recorded answers and batches.
    pub struct ReservationConfig {
        /// lifetime of a hold whose request sets none
        hold_ttl: Duration = HOLD_TTL.duration(Duration::from_secs(600)),
        /// longest lifetime that a request may set for a new or an extended hold
        hold_ttl_max: Duration = HOLD_TTL_MAX.duration(HOLD_TTL_MAX_DEFAULT),
        /// how long a hold stays valid after an outage during which it would have ended
        outage_grace: Duration = OUTAGE_GRACE.duration(Duration::from_secs(60)),
        /// how long the answer to an Idempotency-Key is kept
        idempotency_ttl: Duration = IDEMPOTENCY_TTL.duration(Duration::from_secs(24 * 3_600)),
        /// commands in one transaction
        batch_max: usize = BATCH_MAX.number(256, 1..=4_096),
        /// commands that wait in one lane; more are refused as overload
        pending_max: usize = PENDING_MAX.number(4_096, 1..=1_000_000),
        /// deadline for creating a schedule
        schedule_timeout: Duration = SCHEDULE_TIMEOUT.duration(Duration::from_secs(60)),
        /// how often expired holds are written to the journal
        sweep_interval: Duration = SWEEP_INTERVAL.duration(Duration::from_secs(1)),
    }
}

//! Reservations: how long holds and answers live, and how much may be in the works at once.

use std::time::Duration;

use super::reader::Reader;

/// Settings of holds, batches and what accompanies them.
#[derive(Debug, Clone)]
pub struct ReservationConfig {
    /// `HOLD_TTL`, default `600s`: how long a hold lives that does not ask for less or more.
    pub hold_ttl: Duration,
    /// `HOLD_TTL_MAX`, default `3600s`: the longest that a hold may ask for or be extended to.
    pub hold_ttl_max: Duration,
    /// `OUTAGE_GRACE`, default `60s`: what a hold is given after an outage that took its end.
    pub outage_grace: Duration,
    /// `IDEMPOTENCY_TTL`, default `86400s`: how long an Idempotency-Key's answer is kept.
    pub idempotency_ttl: Duration,
    /// `BATCH_MAX`, default `256`: commands in one transaction.
    pub batch_max: usize,
    /// `PENDING_MAX`, default `4096`: commands that wait in one lane; more are refused as overload.
    pub pending_max: usize,
    /// `SCHEDULE_TIMEOUT`, default `60s`: the deadline for creating a schedule.
    pub schedule_timeout: Duration,
    /// `SWEEP_INTERVAL`, default `1s`: how often expired holds are written to the journal.
    pub sweep_interval: Duration,
}

impl ReservationConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            hold_ttl: reader.duration(
                "HOLD_TTL",
                Duration::from_secs(600),
                "how long a hold lives that asks for nothing else",
            ),
            hold_ttl_max: reader.duration(
                "HOLD_TTL_MAX",
                Duration::from_secs(3_600),
                "longest life that a hold may ask for or be extended to",
            ),
            outage_grace: reader.duration(
                "OUTAGE_GRACE",
                Duration::from_secs(60),
                "what a hold is given after an outage that took its end",
            ),
            idempotency_ttl: reader.duration(
                "IDEMPOTENCY_TTL",
                Duration::from_secs(24 * 3_600),
                "how long the answer to an Idempotency-Key is kept",
            ),
            batch_max: reader.number("BATCH_MAX", 256, 1..=4_096, "commands in one transaction"),
            pending_max: reader.number(
                "PENDING_MAX",
                4_096,
                1..=1_000_000,
                "commands that wait in one lane; more are refused as overload",
            ),
            schedule_timeout: reader.duration(
                "SCHEDULE_TIMEOUT",
                Duration::from_secs(60),
                "deadline for creating a schedule",
            ),
            sweep_interval: reader.duration(
                "SWEEP_INTERVAL",
                Duration::from_secs(1),
                "how often expired holds are written to the journal",
            ),
        }
    }
}

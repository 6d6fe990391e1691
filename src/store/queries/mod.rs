//! Queries outside the booking transaction, a file per subject.

pub(crate) mod api_keys;
pub(crate) mod bookings;
pub(crate) mod citus;
pub(crate) mod events;
pub(crate) mod heartbeat;
pub(crate) mod holds;
pub(crate) mod idempotency;
pub(crate) mod journal;
mod key_secrets;
pub(crate) mod outages;
pub(crate) mod plans;
pub(crate) mod priced;
pub(crate) mod queue;
pub(crate) mod queue_dead_letters;
pub(crate) mod queue_workers;
pub(crate) mod schedules;
pub(crate) mod seats;
pub(crate) mod sweep;

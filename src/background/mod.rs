//! Tasks that run on a timer or on the queue, beside the requests; [`periodic`] is their timer.
//!
//! | task | does |
//! |---|---|
//! | [`health_monitor`] | writes the heartbeat, probes dependencies, restarts dead actors |
//! | [`hold_expiry`] | sends `expire` commands for expired holds, and purges old records |
//! | [`auditor`] | counts violated invariants |
//! | [`map_refresh`] | updates the maps that listeners follow |
//! | [`queue_consumer`] | executes the requests of the queue |

pub mod auditor;
pub mod health_monitor;
pub mod hold_expiry;
pub mod map_refresh;
mod periodic;
pub mod queue_consumer;

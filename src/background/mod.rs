//! Background tasks, which run on a timer ([`periodic`]) or consume the queue.
//!
//! | task | does |
//! |---|---|
//! | [`health_monitor`] | writes the heartbeat, probes dependencies, restarts dead actors |
//! | [`hold_expiry`] | sends `expire` commands for expired holds, and purges old records |
//! | [`auditor`] | counts violated invariants |
//! | [`map_refresh`] | refreshes the maps that have listeners |
//! | [`key_refresh`] | keeps the copy of the API keys up to date |
//! | [`token_refresh`] | keeps the copy of the identity provider's keys up to date |
//! | [`queue_consumer`] | executes the requests of the queue |

pub mod auditor;
pub mod health_monitor;
pub mod hold_expiry;
pub mod key_refresh;
pub mod map_refresh;
mod periodic;
pub mod queue_consumer;
pub mod token_refresh;

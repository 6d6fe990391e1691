//! Redis in every topology: the contract of the seat locks on each, and the effects of failures.
//!
//! `fixtures.rs` makes the clients; the other files in `redis/` stop servers and move slots.

mod cluster;
pub(crate) mod fixtures;
mod pending_releases;
mod sentinel;
mod subscriptions;
mod topologies;

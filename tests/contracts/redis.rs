//! Redis in every form: the seat locks' promises on each, and what a failure costs.
//!
//! `stand.rs` has the set-ups; the files in `redis/` hurt them.

mod cluster;
mod forms;
mod sentinel;
pub(crate) mod stand;
mod subscriptions;

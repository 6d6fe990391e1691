//! Seatlock: a seat reservation service. Exactly one buyer gets each seat, the others hear so at once, and
//! nothing acknowledged is lost.
//!
//! ```text
//! HTTP handler ──► reservation::reserve()
//!    1  a key that is being executed here is told so
//!    2  seat_lock actor   all seats or none, outside the database; no help means going on without
//!    3  booking actor     the schedule's lane: batch → BEGIN, row locks, decide(), bulk writes, COMMIT
//!    4  seat_lock actor   unlock; the locks of a granted hold live as long as the hold
//! ```
//!
//! Modules in reading order; each names only those below it, which `tests/tidy.rs` checks.

pub mod actors;
pub mod app;
pub mod catalogue;
pub mod config;
pub mod domain;
pub mod http;
pub mod lock;
pub mod metrics;
pub mod reservation;
pub mod seat_map;
pub mod store;

//! Seatlock: a seat reservation service. Exactly one buyer gets each seat, the others hear so at once, and
//! nothing acknowledged is lost.
//!
//! ```text
//! HTTP handler ──► reservation::reserve()
//!    1  seat_map          seats known to be gone are refused from memory; a grant never comes from it
//!    2  seat_lock actor   all seats or none, outside the database; no help means going on without
//!    3  booking actor     the schedule's lane: batch → BEGIN, row locks, decide(), bulk writes, COMMIT
//!    4  seat_lock actor   unlock; the locks of a granted hold live as long as the hold
//! ```
//!
//! In reading order: [`app`], [`http`], [`catalogue`], [`requests`], [`reservation`], [`actors`], [`seat_map`], [`lock`],
//! [`queue`], [`redis`], [`store`], [`domain`]; [`config`], [`metrics`], [`cause`], [`redaction`] and `gather` beside
//! them, and [`faults`], which only tests switch on. Each names only those that come later, which `tests/tidy.rs`
//! checks.

pub mod actors;
pub mod app;
pub mod backoff;
pub mod breaker;
pub mod catalogue;
pub mod cause;
pub mod config;
pub mod domain;
pub mod faults;
mod gather;
pub mod http;
pub mod lock;
pub mod metrics;
pub mod queue;
pub mod redaction;
pub mod redis;
pub mod requests;
pub mod reservation;
pub mod seat_map;
pub mod store;

//! Seatlock: a seat reservation service. Exactly one buyer gets each seat, the others are refused immediately,
//! and no acknowledged booking is lost.
//!
//! ```text
//! HTTP handler ──► service::bookings
//!    1  seat_map          refuses taken seats from memory; it never grants seats
//!    2  seat_lock actor   locks all seats or none, outside the database; without an answer the database decides
//!    3  booking actor     the schedule's lane: batch → BEGIN, row locks, decide(), bulk writes, COMMIT
//!    4  seat_lock actor   unlocks the seats; the locks of a granted hold live as long as the hold
//! ```
//!
//! The folders are the layers, in reading order: [`app`] composes the service from its [`config`]; [`http`] reads and
//! answers requests and calls [`service`], the use cases; [`actors`] are the mailboxes that batch commands and lock
//! requests; [`background`] has the tasks that timers and the queue start; [`seat_map`],
//! [`api_keys`], [`tokens`], [`lock`], [`queue`] and [`redis`] are the parts around [`store`], the database; [`formats`] reads
//! plans of other programs; [`domain`] decides commands. [`telemetry`] has metrics, health and log context.
//! [`breaker`], [`backoff`], `batcher` and `refreshes` are small general mechanisms, and [`faults`] is for tests alone. A module
//! names only modules below it, which `tests/tidy.rs` checks.

pub mod actors;
pub mod api_keys;
pub mod app;
pub mod background;
pub mod backoff;
mod batcher;
pub mod breaker;
pub mod config;
pub mod domain;
pub mod faults;
pub mod formats;
pub mod http;
pub mod lock;
pub mod queue;
pub mod redis;
mod refreshes;
pub mod seat_map;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod tokens;

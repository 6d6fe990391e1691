//! The real program on real servers that are killed, stopped, disconnected, filled or given false data. Each
//! scenario is one test that prints one line with its faults and its result. Every change has to pass those in a
//! module `smoke`.
//!
//! `make test-faults`, or `cargo test --features faults --test faults -- smoke`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod crowd;
mod fuzz;
mod harness;
mod ledger;

mod backups;
mod clients;
mod commits;
mod contention;
mod disk;
mod failover;
mod ha;
mod holds;
mod noise;
mod outages;
mod processes;
mod queue;
mod redis;
mod rolling;
mod setup;
mod swizzle;

//! The real program on real servers that are killed, stopped, cut off, filled and lied to. Each scenario is
//! one test that says in one line what was done and what became of it; those in a module `smoke` are the
//! short choice that every change has to pass.
//!
//! `make test-faults`, or `cargo test --features faults --test faults -- smoke`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

#[expect(dead_code, reason = "the rest is for the tests of the API")]
#[path = "../api/client.rs"]
mod client;
mod crowd;
#[expect(dead_code, reason = "the rest is for the tests of the API")]
#[path = "../database/mod.rs"]
mod database;
mod fuzz;
mod harness;
mod ledger;

mod backups;
mod clients;
mod commits;
mod contention;
mod disk;
mod failover;
mod holds;
mod noise;
mod outages;
mod processes;
mod queue;
mod redis;
mod rolling;
mod setup;
mod swizzle;

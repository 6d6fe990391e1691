//! Seeded clients against two processes of the service, a nemesis that breaks what is under them, and
//! checkers of what was recorded. `docs/history.md` says how to run and read it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "helpers of tests fail as tests do, and a long run says where it is"
)]

mod checks;
mod client;
mod dump;
mod history;
mod model;
mod mutants;
mod nemesis;
mod patches;
mod recorder;
mod run;
mod smoke;
mod verdict;
mod whole;
mod workload;
mod world;

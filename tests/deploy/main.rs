//! Compares the files for Kubernetes, Compose and systemd with the program: variables, ports, paths, commands and
//! times. Reads files only; `make test-deploy` builds and validates them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod compose;
mod files;
mod kubernetes;
mod patroni;
mod program;
mod rules;
mod unit;

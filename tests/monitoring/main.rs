//! Compares `monitoring/` and `docs/runbooks/` with the service, and tries them on a real Prometheus and
//! Alertmanager. `monitoring/README.md` lists the files.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod dashboards;
mod files;
mod names;
mod outage;
mod prometheus;
mod promql;
mod receiver;
mod rules;
mod runbooks;
mod scaled;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_seatlock");

/// Held by tests that need the processor, so that their load does not change the results of the outage test.
pub(crate) static PROCESSOR: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

//! What operators get in `monitoring/` and `docs/runbooks/`, held against the service and against a real
//! Prometheus and Alertmanager. `monitoring/README.md` says what is there.

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
mod service;

/// Held by whoever needs the processor: the outage must not be told of what its neighbours take from it.
pub(crate) static PROCESSOR: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

//! `seatlock metrics`: prints the catalogue of metrics, as docs/metrics.md has it.

use seatlock::telemetry::metrics::catalogue;

use super::{Failed, print};

pub(crate) fn run() -> Result<(), Failed> {
    print(&catalogue::markdown())
}

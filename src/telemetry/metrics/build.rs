//! The running version as a metric. Queries join it with other metrics to compare versions.

use crate::telemetry::metrics::macros::metrics;

metrics! {
    /// The running version.
    pub struct BuildMetrics("seatlock_build") {
        /// Always 1; the label is the version of this build.
        info: IntGaugeVec["version"],
    }
}

impl BuildMetrics {
    /// Registers the gauge and sets it for this build's version.
    pub fn announce(registry: &prometheus::Registry) -> prometheus::Result<Self> {
        let metrics = Self::new(registry)?;
        metrics.info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Ok(metrics)
    }
}

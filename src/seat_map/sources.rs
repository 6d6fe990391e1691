//! Where the states of maps come from.

use std::sync::Arc;

use crate::store::Store;
use crate::telemetry::metrics::Metrics;

use super::shared::SharedMaps;

/// Where states come from.
pub(super) struct Sources {
    /// The databases.
    pub(super) store: Arc<Store>,
    /// What other processes share, if there is a Redis.
    pub(super) shared: Option<Arc<SharedMaps>>,
    /// What they are measured by.
    pub(super) metrics: Arc<Metrics>,
}

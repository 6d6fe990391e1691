//! Metrics of requests and answers.

use std::time::Duration;

use strum::{AsRefStr, EnumString};

use crate::telemetry::metrics::REQUEST_SECONDS;
use crate::telemetry::metrics::macros::metrics;

/// A request's method. All methods that the API does not serve have one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, AsRefStr, EnumString)]
#[strum(serialize_all = "UPPERCASE")]
pub enum HttpMethod {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// Any other.
    #[default]
    #[strum(serialize = "other")]
    Other,
}

impl HttpMethod {
    /// The label of a method as it is written in the request line.
    #[must_use]
    pub fn of(method: &str) -> Self {
        method.parse().unwrap_or_default()
    }
}

/// The route label of a request that no route matched.
pub const UNMATCHED: &str = "unmatched";

metrics! {
    /// Requests and answers. `route` is the pattern of the router, never the path, so the routes bound the number of
    /// its values. The problem codes bound that of `status`.
    pub struct HttpMetrics("seatlock_http") {
        /// Answered requests by method, route pattern and status.
        requests_total: IntCounterVec["method", "route", "status"],
        /// Time from the request's head to the answer's head, in seconds.
        request_duration_seconds: HistogramVec["method", "route"; buckets REQUEST_SECONDS],
        /// Requests being worked on now.
        in_flight: IntGauge,
    }
}

impl HttpMetrics {
    /// Counts an answered request. `route` is the pattern that matched; `None` if no pattern matched.
    pub fn answered(&self, method: HttpMethod, route: Option<&str>, status: u16, took: Duration) {
        let method = method.as_ref();
        let route = route.unwrap_or(UNMATCHED);
        self.requests_total.with_label_values(&[method, route, &status.to_string()]).inc();
        let duration = self.request_duration_seconds.with_label_values(&[method, route]);
        duration.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strange_method_or_path_makes_no_series_of_its_own() -> prometheus::Result<()> {
        let metrics = HttpMetrics::new(&prometheus::Registry::new())?;
        metrics.answered(HttpMethod::of("BREW"), None, 405, Duration::ZERO);
        let counted = metrics.requests_total.with_label_values(&["other", UNMATCHED, "405"]).get();
        assert_eq!(counted, 1);
        Ok(())
    }
}

//! Every declared metric as a list, and that list as the Markdown of `docs/metrics.md`.

use std::fmt::Write as _;

use crate::telemetry::metrics::{
    actor, audit, batch, build, cache, health, hold, http, lock, map, pool, queue, reservation,
    stream,
};

/// One metric as it is declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// Its full name.
    pub name: &'static str,
    /// Its Rust type, such as `IntCounterVec`.
    pub kind: &'static str,
    /// Its HELP text.
    pub help: &'static str,
    /// Its labels, each with all its values. The values are empty if they are not known in advance.
    pub labels: Vec<(&'static str, &'static [&'static str])>,
    /// The edges of its buckets, if it is a histogram.
    pub edges: &'static [f64],
}

impl Declared {
    /// Its metric type in Prometheus.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self.kind {
            kind if kind.starts_with("Histogram") => "histogram",
            kind if kind.contains("Counter") => "counter",
            _ => "gauge",
        }
    }

    /// Whether all its series exist from the start.
    #[must_use]
    pub fn exists_at_start(&self) -> bool {
        self.labels.iter().all(|(_, values)| !values.is_empty())
    }
}

/// Every metric of this program, by part. The metrics of the process itself are not included.
#[must_use]
pub fn catalogue() -> Vec<(&'static str, Vec<Declared>)> {
    vec![
        ("Requests", http::HttpMetrics::declared()),
        ("Reservations", reservation::ReservationMetrics::declared()),
        ("Seat locks", lock::LockMetrics::declared()),
        ("Batches", batch::BatchMetrics::declared()),
        ("Holds", hold::HoldMetrics::declared()),
        ("Connections to the database", pool::PoolMetrics::declared()),
        ("Connections to Redis", pool::RedisPoolMetrics::declared()),
        ("Mailboxes", actor::ActorMetrics::declared()),
        ("Seat maps", map::MapMetrics::declared()),
        ("Seat maps shared in Redis", cache::CacheMetrics::declared()),
        ("Live streams", stream::StreamMetrics::declared()),
        ("The queue in front", queue::QueueMetrics::declared()),
        ("Health", health::HealthMetrics::declared()),
        ("Audit", audit::AuditMetrics::declared()),
        ("Build", build::BuildMetrics::declared()),
    ]
}

/// The catalogue as Markdown: a heading and a table for each part.
#[must_use]
pub fn markdown() -> String {
    let mut text = String::new();
    for (part, metrics) in catalogue() {
        // Writing to a String cannot fail.
        let _ =
            write!(text, "## {part}\n\n| Metric | Type | Labels | Meaning |\n|---|---|---|---|\n");
        for metric in &metrics {
            let _ = writeln!(text, "{}", row(metric));
        }
        text.push('\n');
    }
    text
}

fn row(metric: &Declared) -> String {
    let label = |(name, values): &(&str, &[&str])| match values.is_empty() {
        true => format!("`{name}`"),
        false => format!("`{name}`: {}", values.join(", ")),
    };
    let labels: Vec<String> = metric.labels.iter().map(label).collect();
    let edges: Vec<String> = metric.edges.iter().map(ToString::to_string).collect();
    let edges = match edges.is_empty() {
        true => String::new(),
        false => format!(" Edges: {}.", edges.join(", ")),
    };
    let name = metric.name;
    let family = metric.family();
    let help = metric.help;
    format!("| `{name}` | {family} | {} | {help}{edges} |", labels.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Metrics;

    #[test]
    fn the_catalogue_lists_exactly_the_served_metrics() -> prometheus::Result<()> {
        let text = Metrics::new()?.encode();
        let listed: Vec<Declared> = catalogue().into_iter().flat_map(|(_, part)| part).collect();
        for metric in listed.iter().filter(|metric| metric.exists_at_start()) {
            let line = format!("# TYPE {} {}", metric.name, metric.family());
            assert!(text.lines().any(|found| found == line), "{line} is not served");
        }
        let served = text.lines().filter_map(|line| line.strip_prefix("# TYPE seatlock_"));
        for name in served.filter_map(|line| line.split(' ').next()) {
            let name = format!("seatlock_{name}");
            assert!(listed.iter().any(|metric| metric.name == name), "{name} is not listed");
        }
        Ok(())
    }

    #[test]
    fn a_cell_holds_no_bar_and_a_help_text_is_a_sentence() {
        for (_, part) in catalogue() {
            for metric in part {
                assert_eq!(row(&metric).matches('|').count(), 5, "{}", metric.name);
                assert!(metric.help.ends_with('.'), "{}", metric.name);
            }
        }
    }
}

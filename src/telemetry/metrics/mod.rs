//! All metrics with their help texts, one file per part of the service. Each app has its own registry; there is no
//! global state.
//!
//! The values of labels are variants of enums, never data of a request: a series is never removed, so a value that a
//! client can choose would be a memory leak. To add a metric, add a field to the struct of its part (see `macros.rs`);
//! the doc comment is its HELP text.

use parking_lot::Mutex;
use prometheus::{Registry, TextEncoder};

pub mod actor;
pub mod audit;
pub mod batch;
pub mod build;
pub mod cache;
pub mod catalogue;
pub mod health;
pub mod hold;
pub mod http;
pub mod lock;
pub(crate) mod macros;
pub mod map;
pub mod pool;
pub mod queue;
pub mod reservation;
pub mod stream;

/// Bucket edges for times of requests and transactions, in seconds. The share of observations below a value is exact
/// only if the value is an edge, so every default time-out is an edge: 0.05, 0.5, 1, 3, 10 and 12 s.
pub const REQUEST_SECONDS: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 5.0, 10.0, 12.0];

/// Bucket edges for times that requests wait in the queue, in seconds.
pub const QUEUE_SECONDS: [f64; 13] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Bucket edges for counts that double: batch and pipeline sizes.
pub const SIZES: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Updates gauges whose values are stored elsewhere.
type Refresh = Box<dyn Fn(&Metrics) + Send + Sync>;

/// The metrics of one app. Clones of the parts count into the same series.
pub struct Metrics {
    registry: Registry,
    refresh: Mutex<Vec<Refresh>>,
    /// Requests and answers.
    pub http: http::HttpMetrics,
    /// The results that customers get.
    pub reservation: reservation::ReservationMetrics,
    /// Seat locks and their circuit breaker.
    pub lock: lock::LockMetrics,
    /// The booking engine's transactions and commands.
    pub batch: batch::BatchMetrics,
    /// The sweep of expired holds.
    pub hold: hold::HoldMetrics,
    /// The audit in the background.
    pub audit: audit::AuditMetrics,
    /// Connections to the database.
    pub pool: pool::PoolMetrics,
    /// Connections to Redis.
    pub redis_pool: pool::RedisPoolMetrics,
    /// Mailboxes and supervision.
    pub actor: actor::ActorMetrics,
    /// Seat maps in memory.
    pub map: map::MapMetrics,
    /// Seat maps shared in Redis.
    pub cache: cache::CacheMetrics,
    /// Live streams of seat maps.
    pub stream: stream::StreamMetrics,
    /// The admission queue.
    pub queue: queue::QueueMetrics,
    /// Readiness and the checks behind it.
    pub health: health::HealthMetrics,
    /// The running version.
    pub build: build::BuildMetrics,
}

impl Metrics {
    /// Creates all metrics in a new registry. On Linux, it also has the standard metrics of the process
    /// (`process_cpu_seconds_total` and others). Fails only if two metrics have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            http: http::HttpMetrics::new(&registry)?,
            reservation: reservation::ReservationMetrics::new(&registry)?,
            lock: lock::LockMetrics::new(&registry)?,
            batch: batch::BatchMetrics::new(&registry)?,
            hold: hold::HoldMetrics::new(&registry)?,
            audit: audit::AuditMetrics::new(&registry)?,
            pool: pool::PoolMetrics::new(&registry)?,
            redis_pool: pool::RedisPoolMetrics::new(&registry)?,
            actor: actor::ActorMetrics::new(&registry)?,
            map: map::MapMetrics::new(&registry)?,
            cache: cache::CacheMetrics::new(&registry)?,
            stream: stream::StreamMetrics::new(&registry)?,
            queue: queue::QueueMetrics::new(&registry)?,
            health: health::HealthMetrics::new(&registry)?,
            build: build::BuildMetrics::announce(&registry)?,
            refresh: Mutex::default(),
            registry,
        })
    }

    /// Registers a function that is called before each read of the metrics, for gauges whose values are stored
    /// elsewhere, such as the size of a pool. The function must not block, and must not own an owner of these metrics,
    /// because that would be a reference cycle.
    pub fn before_reading(&self, refresh: impl Fn(&Self) + Send + Sync + 'static) {
        self.refresh.lock().push(Box::new(refresh));
    }

    /// The metrics in Prometheus' text format 0.0.4 (`text/plain; version=0.0.4`).
    #[must_use]
    pub fn encode(&self) -> String {
        for refresh in self.refresh.lock().iter() {
            refresh(self);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_else(|error| {
            log::error!("the metrics could not be encoded: {error}");
            String::new()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_with_known_labels_exists_at_zero() -> prometheus::Result<()> {
        let text = Metrics::new()?.encode();
        for line in [
            "seatlock_http_in_flight 0",
            "seatlock_seat_lock_requests_total{outcome=\"bypassed\"} 0",
            "seatlock_seat_lock_breaker_state 0",
            "seatlock_batches_total{outcome=\"unknown\"} 0",
            "seatlock_commands_total{kind=\"hold\",outcome=\"refused\"} 0",
            "seatlock_guard_saves_total{guard=\"unique_index\"} 0",
            "seatlock_hold_sweeps_total 0",
            "seatlock_holds 0",
            "seatlock_db_pool_connections{pool=\"lanes\",state=\"in_use\"} 0",
            "seatlock_db_pool_timeouts_total{pool=\"read\"} 0",
            "seatlock_db_pool_wait_seconds_bucket{pool=\"beat\",le=\"0.5\"} 0",
            "seatlock_row_lock_wait_seconds_bucket{le=\"1\"} 0",
            "seatlock_transaction_timeouts_total 0",
            "seatlock_booking_requests_total{result=\"failed\"} 0",
            "seatlock_early_refusals_total{reason=\"locked\"} 0",
            "seatlock_free_seat_conflicts_total 0",
            "seatlock_health_check{check=\"write_database\"} 0",
            "seatlock_ready 0",
            "seatlock_read_only 0",
            "seatlock_replica_lag_seconds 0",
            "seatlock_map_staleness_seconds_count 0",
            "seatlock_stream_ended_total{reason=\"slow\"} 0",
            "seatlock_queue_executed_total{result=\"parked\"} 0",
            "seatlock_actor_restarts_total{actor=\"booking\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
        assert!(text.contains("\nseatlock_build_info{version="), "{text}");
        Ok(())
    }

    #[test]
    fn two_apps_in_one_process_have_separate_metrics() -> prometheus::Result<()> {
        let one = Metrics::new()?;
        let other = Metrics::new()?;
        one.lock.lost_total.inc();
        assert!(one.encode().contains("\nseatlock_seat_lock_lost_total 1\n"));
        assert!(other.encode().contains("\nseatlock_seat_lock_lost_total 0\n"));
        Ok(())
    }

    #[test]
    fn registered_functions_are_called_before_each_read() -> prometheus::Result<()> {
        let metrics = Metrics::new()?;
        metrics.before_reading(|metrics| metrics.health.ready.inc());
        assert!(metrics.encode().contains("\nseatlock_ready 1\n"));
        assert!(metrics.encode().contains("\nseatlock_ready 2\n"));
        Ok(())
    }

    #[test]
    fn names_follow_the_conventions() -> prometheus::Result<()> {
        let text = Metrics::new()?.encode();
        for line in text.lines().filter(|line| line.starts_with("# TYPE seatlock_")) {
            let mut words = line.split(' ').skip(2);
            let name = words.next().unwrap_or("");
            let kind = words.next().unwrap_or("");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(!name.ends_with("_ms"), "times are in seconds: {line}");
        }
        Ok(())
    }
}

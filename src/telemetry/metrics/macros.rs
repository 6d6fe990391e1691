//! The macro that declares metrics. The name of a field is the name of the metric, and its doc comment is the HELP
//! text. The values of a label are the variants of an enum (`strum::VariantNames`).
//!
//! ```text
//! metrics! {
//!     /// Seat locks and their circuit breaker.
//!     pub struct LockMetrics("seatlock_lock") {
//!         /// Lock requests by outcome.
//!         requests_total: IntCounterVec["outcome": LockOutcome],
//!         /// Time of a request, in seconds.
//!         duration_seconds: Histogram[buckets LOCK_SECONDS],
//!     }
//! }
//! ```
//!
//! The metric is called `<prefix>_<field>`; `field as "full_name"` overrides that. Kinds: `IntCounter`,
//! `IntGauge`, `Gauge`, `Histogram[buckets B]`, and with labels `IntCounterVec[…]`, `IntGaugeVec[…]`,
//! `HistogramVec[…; buckets B]`. If every label of a metric names its enum, all combinations exist from the start.
//! This matters because a rate over a series that appears with its first event misses that event. The values of a
//! label without an enum must be bounded in another way, which its comment explains. `declared()` returns the
//! declarations for the documentation (`catalogue.rs`).

/// Declares a struct of metrics with its `new(registry)` and `declared()`; see the module.
macro_rules! metrics {
    (
        $(#[$about:meta])*
        $visible:vis struct $name:ident($prefix:literal) {
            $(
                $(#[doc = $help:literal])+
                $field:ident $(as $full:literal)?: $kind:ident $([$($shape:tt)+])?
            ),+ $(,)?
        }
    ) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        $visible struct $name {
            $($(#[doc = $help])+ $visible $field: prometheus::$kind,)+
        }

        impl $name {
            /// Creates the metrics and registers them. Fails if the registry already has one of the names.
            $visible fn new(registry: &prometheus::Registry) -> prometheus::Result<Self> {
                $(
                    let name = $crate::telemetry::metrics::macros::metric_name!($prefix, $field $(, $full)?);
                    let help = concat!($($help),+).trim();
                    let $field =
                        $crate::telemetry::metrics::macros::metric!($kind, name, help $(, $($shape)+)?);
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Self { $($field),+ })
            }

            /// The declarations of these metrics, in order.
            #[must_use]
            $visible fn declared() -> Vec<$crate::telemetry::metrics::catalogue::Declared> {
                vec![$(
                    $crate::telemetry::metrics::macros::declared!(
                        $kind,
                        $crate::telemetry::metrics::macros::metric_name!($prefix, $field $(, $full)?),
                        concat!($($help),+).trim()
                        $(, $($shape)+)?
                    ),
                )+]
            }
        }
    };
}

/// One metric as the catalogue lists it.
macro_rules! declared {
    ($kind:ident, $name:expr, $help:expr) => {
        $crate::telemetry::metrics::catalogue::Declared {
            name: $name, kind: stringify!($kind), help: $help, labels: Vec::new(), edges: &[],
        }
    };
    ($kind:ident, $name:expr, $help:expr, buckets $buckets:expr) => {
        $crate::telemetry::metrics::catalogue::Declared {
            name: $name, kind: stringify!($kind), help: $help, labels: Vec::new(), edges: &$buckets,
        }
    };
    ($kind:ident, $name:expr, $help:expr,
     $($label:literal $(: $values:ident)?),+ $(; buckets $buckets:expr)?) => {
        $crate::telemetry::metrics::catalogue::Declared {
            name: $name,
            kind: stringify!($kind),
            help: $help,
            labels: vec![
                $(($label, $crate::telemetry::metrics::macros::label_values!($($values)?))),+
            ],
            edges: $crate::telemetry::metrics::macros::edges!($($buckets)?),
        }
    };
}

/// The edges of a histogram's buckets, or none.
macro_rules! edges {
    () => {
        &[]
    };
    ($buckets:expr) => {
        &$buckets
    };
}

/// The full name of a metric.
macro_rules! metric_name {
    ($prefix:literal, $field:ident) => {
        concat!($prefix, "_", stringify!($field))
    };
    ($prefix:literal, $field:ident, $full:literal) => {
        $full
    };
}

/// Creates one metric with all series whose label values are known.
macro_rules! metric {
    (IntCounter, $name:ident, $help:ident) => {
        prometheus::IntCounter::new($name, $help)?
    };
    (IntGauge, $name:ident, $help:ident) => {
        prometheus::IntGauge::new($name, $help)?
    };
    (Gauge, $name:ident, $help:ident) => {
        prometheus::Gauge::new($name, $help)?
    };
    (Histogram, $name:ident, $help:ident, buckets $buckets:expr) => {
        prometheus::Histogram::with_opts(
            prometheus::HistogramOpts::new($name, $help).buckets($buckets.to_vec()),
        )?
    };
    (HistogramVec, $name:ident, $help:ident,
     $($label:literal $(: $values:ident)?),+; buckets $buckets:expr) => {{
        let options = prometheus::HistogramOpts::new($name, $help).buckets($buckets.to_vec());
        let vector = prometheus::HistogramVec::new(options, &[$($label),+])?;
        let known: [&[&'static str]; _] =
            [$($crate::telemetry::metrics::macros::label_values!($($values)?)),+];
        for labels in $crate::telemetry::metrics::macros::combinations(&known) {
            vector.get_metric_with_label_values(&labels)?;
        }
        vector
    }};
    ($kind:ident, $name:ident, $help:ident, $($label:literal $(: $values:ident)?),+) => {{
        let vector = prometheus::$kind::new(prometheus::Opts::new($name, $help), &[$($label),+])?;
        let known: [&[&'static str]; _] =
            [$($crate::telemetry::metrics::macros::label_values!($($values)?)),+];
        for labels in $crate::telemetry::metrics::macros::combinations(&known) {
            vector.get_metric_with_label_values(&labels)?;
        }
        vector
    }};
}

/// The known values of a label: the variants of its enum, or none.
macro_rules! label_values {
    () => {
        &[]
    };
    ($values:ident) => {
        <$values as strum::VariantNames>::VARIANTS
    };
}

/// Every combination of one value from each list, in order; none if a list is empty.
pub(crate) fn combinations(lists: &[&[&'static str]]) -> Vec<Vec<&'static str>> {
    lists.iter().fold(vec![Vec::new()], |done, values| {
        done.iter()
            .flat_map(|chosen| values.iter().map(|value| [chosen.as_slice(), &[*value]].concat()))
            .collect()
    })
}

pub(crate) use {declared, edges, label_values, metric, metric_name, metrics};

#[cfg(test)]
mod tests {
    use strum::{AsRefStr, VariantNames};

    use super::combinations;

    /// How a test went.
    #[derive(Debug, AsRefStr, VariantNames)]
    #[strum(serialize_all = "snake_case")]
    enum Verdict {
        Good,
        Bad,
    }

    metrics! {
        /// One metric of every kind.
        struct EveryKind("every") {
            /// A plain counter,
            /// explained on two lines.
            plain_total: IntCounter,
            /// A plain gauge.
            level: IntGauge,
            /// A gauge between whole numbers.
            share: Gauge,
            /// A named counter.
            by_verdict as "verdicts_total": IntCounterVec["verdict": Verdict],
            /// A gauge by route.
            by_route: IntGaugeVec["verdict": Verdict, "route"],
            /// A histogram.
            wait_seconds: Histogram[buckets [0.5, 1.0]],
            /// A histogram by verdict.
            run_seconds: HistogramVec["verdict": Verdict; buckets [0.5, 1.0]],
        }
    }

    #[test]
    fn names_help_and_known_series_come_from_the_declaration() -> prometheus::Result<()> {
        let registry = prometheus::Registry::new();
        EveryKind::new(&registry)?;
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather())?;
        for line in [
            "# HELP every_plain_total A plain counter, explained on two lines.",
            "every_plain_total 0",
            "every_level 0",
            "verdicts_total{verdict=\"good\"} 0",
            "verdicts_total{verdict=\"bad\"} 0",
            "every_wait_seconds_bucket{le=\"0.5\"} 0",
            "every_run_seconds_count{verdict=\"good\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
        assert!(!text.contains("every_by_route"), "an unknown label has no series yet\n{text}");
        assert!(EveryKind::new(&registry).is_err(), "the names are already registered");
        Ok(())
    }

    #[test]
    fn every_kind_counts() -> prometheus::Result<()> {
        let registry = prometheus::Registry::new();
        let metrics = EveryKind::new(&registry)?;
        metrics.plain_total.inc();
        metrics.level.set(-2);
        metrics.share.set(0.5);
        metrics.by_verdict.with_label_values(&[Verdict::Bad]).inc();
        metrics.by_route.with_label_values(&[Verdict::Good.as_ref(), "/"]).set(3);
        metrics.wait_seconds.observe(0.7);
        metrics.run_seconds.with_label_values(&[Verdict::Good]).observe(0.1);
        let text = prometheus::TextEncoder::new().encode_to_string(&registry.gather())?;
        for line in [
            "every_plain_total 1",
            "every_level -2",
            "every_share 0.5",
            "verdicts_total{verdict=\"bad\"} 1",
            "every_by_route{route=\"/\",verdict=\"good\"} 3",
            "every_wait_seconds_bucket{le=\"0.5\"} 0",
            "every_wait_seconds_bucket{le=\"1\"} 1",
            "every_run_seconds_bucket{verdict=\"good\",le=\"0.5\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
        Ok(())
    }

    #[test]
    fn what_is_declared_can_be_read_without_a_registry() {
        let declared = EveryKind::declared();
        let named = |name: &str| declared.iter().find(|metric| metric.name == name);
        let plain = named("every_plain_total").unwrap();
        assert_eq!((plain.kind, plain.labels.len()), ("IntCounter", 0));
        assert_eq!(plain.help, "A plain counter, explained on two lines.");
        assert_eq!(named("verdicts_total").unwrap().labels, [("verdict", Verdict::VARIANTS)]);
        assert_eq!(named("every_by_route").unwrap().labels[1], ("route", &[][..]));
        assert_eq!(named("every_wait_seconds").unwrap().edges, [0.5, 1.0]);
        assert_eq!(named("every_run_seconds").unwrap().edges, [0.5, 1.0]);
        assert_eq!(declared.len(), 7);
    }

    #[test]
    fn combinations_are_the_product_of_the_lists() {
        assert_eq!(combinations(&[&["a", "b"], &["x"]]), [["a", "x"], ["b", "x"]]);
        assert!(combinations(&[&["a"], &[]]).is_empty());
    }
}

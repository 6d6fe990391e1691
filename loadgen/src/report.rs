//! The result of the measurements: a table for people, a document for machines, and the violations.

use serde_json::{Map, Value, json};

use crate::Settings;
use crate::audit::Audit;
use crate::tally::{Kinds, Tally};

const HEADINGS: [&str; 10] = [
    "",
    "requests/s",
    "of plain",
    "bookings/s",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "max ms",
    "refused",
    "errors",
];

/// The column with the ratio to the first row.
const RATIO: usize = 2;

/// The result of all measurements.
#[derive(Debug)]
pub struct Report {
    /// One JSON document.
    pub document: Value,
    /// A table, and notes below it.
    pub text: String,
    /// Descriptions of violations; the first ones if there are many.
    pub violations: Vec<String>,
}

/// A line of the table.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// Requests that succeeded.
    per_second: f64,
    bookings_per_second: Option<f64>,
    /// Percentiles 50, 90, 99 and 100 in milliseconds.
    latencies: [f64; 4],
    refused: u64,
    errors: u64,
    errors_by_status: String,
}

impl Row {
    pub(crate) fn new(name: String, tally: &Tally, seconds: f64) -> Self {
        Self {
            name,
            per_second: tally.succeeded() as f64 / seconds,
            bookings_per_second: None,
            latencies: [50.0, 90.0, 99.0, 100.0].map(|percent| tally.percentile(percent)),
            refused: tally.refused(),
            errors: tally.errors(),
            errors_by_status: tally.errors_by_status(),
        }
    }

    /// The same with a rate of confirmed bookings.
    pub(crate) fn with_bookings(self, per_second: f64) -> Self {
        Self { bookings_per_second: Some(per_second), ..self }
    }

    /// The same with a rate of refusals, where these are the expected answers.
    pub(crate) fn with_refusals(self, per_second: f64) -> Self {
        Self { per_second, ..self }
    }

    fn cells(&self, plain: f64) -> [String; HEADINGS.len()] {
        let [p50, p90, p99, max] = self.latencies.map(|ms| format!("{ms:.1}"));
        [
            self.name.clone(),
            number(self.per_second),
            format!("{:.2}", self.per_second / plain),
            self.bookings_per_second.map_or_else(String::new, number),
            p50,
            p90,
            p99,
            max,
            number(self.refused as f64),
            number(self.errors as f64),
        ]
    }
}

/// The result of one measurement.
#[derive(Debug)]
pub(crate) struct Measured {
    title: String,
    /// The first row is about the whole measurement, except for phases and stampedes.
    pub(crate) rows: Vec<Row>,
    pub(crate) notes: Vec<String>,
    pub(crate) document: Map<String, Value>,
    pub(crate) audit: Option<Audit>,
}

impl Measured {
    /// A result that has nothing but the settings yet.
    pub(crate) fn new(settings: &Settings) -> Self {
        let Settings { name, seats, schedules, hot, schedule_seats, connections, .. } = settings;
        let mut title = format!(
            "{name}: {}, {} of {}, {} a booking",
            counted(*connections, "connection"),
            counted(*schedules, "schedule"),
            counted(*schedule_seats, "seat"),
            counted(*seats, "seat"),
        );
        if hot != schedules {
            title.push_str(&format!(", {hot} on sale at a time"));
        }
        if settings.stored > 0 {
            title.push_str(&format!(", {} stored before", counted(settings.stored, "booking")));
        }
        let document = json!({
            "way": name,
            "target": format!("{:?}", settings.target).to_lowercase(),
            "connections": connections,
            "seats_per_booking": seats,
            "schedules": schedules,
            "hot_schedules": hot,
            "seats_per_schedule": schedule_seats,
            "keyed": settings.keyed,
            "hold": settings.hold,
            "limit": settings.limit,
            "stored": settings.stored,
            "queued": settings.queued,
        });
        let document = document.as_object().cloned().unwrap_or_default();
        Self { title, rows: Vec::new(), notes: Vec::new(), document, audit: None }
    }

    /// Adds all answers to the document.
    pub(crate) fn add_total(&mut self, total: &Tally, seconds: f64) {
        let succeeded = total.succeeded();
        let fields = json!({
            "requests": succeeded,
            "requests_per_second": (succeeded as f64 / seconds).round(),
            "refused": total.refused(),
            "errors": total.errors(),
            "statuses": total.statuses,
            "latency_ms": total.latency_ms(),
        });
        self.document.extend(fields.as_object().cloned().unwrap_or_default());
    }

    /// Adds the kinds of requests to the document, and if there are several, to the table.
    pub(crate) fn add_kinds(&mut self, kinds: &Kinds, seconds: f64) {
        let mut documents = Map::new();
        for (kind, tally) in kinds {
            if kinds.len() > 1 {
                self.rows.push(Row::new(format!("  {}", kind.name()), tally, seconds));
            }
            let statuses = &tally.statuses;
            let document = json!({"statuses": statuses, "latency_ms": tally.latency_ms()});
            documents.insert(kind.name().to_owned(), document);
        }
        self.document.insert("kinds".to_owned(), documents.into());
    }
}

/// The result of measurements that were made one after the other.
pub(crate) fn report(mut all: Vec<Measured>) -> Report {
    let plain = all.first().and_then(|first| first.rows.first()).map_or(0.0, |row| row.per_second);
    let is_compared = all.len() > 1;
    let mut lines = Vec::new();
    let mut notes: Vec<String> = Vec::new();
    let mut violations = Vec::new();
    let mut audited = Audit::default();
    let mut documents = Vec::new();
    if let Some(first) = all.first() {
        lines.push(first.title.clone());
    }
    let mut rows = Vec::new();
    for measured in &mut all {
        if is_compared {
            // The kinds of requests would hide the comparison; they are in the document.
            measured.rows.truncate(1);
            let ratio = measured.rows.first().map(|row| row.per_second / plain);
            measured.document.insert("of_plain".to_owned(), json!(ratio));
        }
        for row in measured.rows.iter().filter(|row| row.errors > 0) {
            notes.push(format!("errors, {}: {}", row.name.trim(), row.errors_by_status));
        }
        rows.append(&mut measured.rows);
        measured.notes.retain(|note| !notes.contains(note));
        notes.append(&mut measured.notes);
        if let Some(audit) = measured.audit.take() {
            audited.add(&audit);
            measured.document.insert("audit".to_owned(), audit.document());
            violations.extend(audit.violations.described);
        }
        documents.push(Value::Object(std::mem::take(&mut measured.document)));
    }
    lines.push(String::new());
    lines.extend(table(&rows, is_compared.then_some(plain)));
    lines.push(String::new());
    lines.extend(notes);
    lines.extend(audited.text());
    let document =
        if is_compared { json!({"ways": documents}) } else { documents.pop().unwrap_or_default() };
    Report { document, text: lines.join("\n") + "\n", violations }
}

/// The lines of the table, with the ratio to `plain` if it is given.
fn table(rows: &[Row], plain: Option<f64>) -> Vec<String> {
    let mut cells = vec![HEADINGS.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| row.cells(plain.unwrap_or(1.0))));
    let column = |at: usize| cells.iter().filter_map(move |line| line.get(at));
    let has_content = |at: usize| column(at).skip(1).any(|cell| !cell.is_empty());
    let shown = (0..HEADINGS.len())
        .filter(|at| has_content(*at) && (*at != RATIO || plain.is_some()))
        .map(|at| (at, column(at).map(String::len).max().unwrap_or(0)));
    let shown: Vec<_> = shown.collect();
    let line = |line: &[String; HEADINGS.len()]| {
        let cells = shown.iter().filter_map(|(at, width)| {
            let cell = line.get(*at)?;
            Some(if *at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

/// A number of things.
pub(crate) fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", number(count as f64))
}

/// A rounded number with separators between thousands.
pub(crate) fn number(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::arguments::tests::settings;

    fn measured(arguments: &[&str], requests: u64) -> Measured {
        let mut measured = Measured::new(&settings(arguments));
        let mut tally = Tally::default();
        (0..requests).for_each(|_| tally.answered(200, Duration::from_millis(12)));
        let row = Row::new(arguments.first().copied().unwrap_or("plain").to_owned(), &tally, 1.0);
        measured.rows.push(row.with_bookings(2.0));
        measured.rows.push(Row::new("  booking".to_owned(), &tally, 1.0));
        measured.add_total(&tally, 1.0);
        measured.audit = Some(Audit::default());
        measured
    }

    #[test]
    fn numbers_are_read_in_thousands() {
        let written: Vec<_> = [0.0, 999.4, 1_000.0, 1_234_567.0].map(number).into();
        assert_eq!(written, ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn one_measurement_has_a_line_for_each_kind() {
        let report = report(vec![measured(&["keyed"], 1_500)]);
        let lines: Vec<_> = report.text.lines().collect();
        assert_eq!(
            lines[..5],
            [
                "keyed: 256 connections, 8 schedules of 50,000 seats, 2 seats a booking",
                "",
                "           requests/s  bookings/s  p50 ms  p90 ms  p99 ms  max ms  refused  errors",
                "keyed           1,500           2    12.0    12.0    12.0    12.0        0       0",
                "  booking       1,500                12.0    12.0    12.0    12.0        0       0",
            ]
        );
        assert_eq!(report.document["requests"], 1_500);
        assert_eq!(report.document["audit"]["violations"], 0);
        assert!(report.violations.is_empty());
    }

    #[test]
    fn several_measurements_are_compared_with_the_first() {
        let report = report(vec![measured(&[], 1_000), measured(&["hold"], 800)]);
        let lines: Vec<_> = report.text.lines().skip(2).take(3).collect();
        assert_eq!(
            lines,
            [
                "       requests/s  of plain  bookings/s  p50 ms  p90 ms  p99 ms  max ms  refused  errors",
                "plain       1,000      1.00           2    12.0    12.0    12.0    12.0        0       0",
                "hold          800      0.80           2    12.0    12.0    12.0    12.0        0       0",
            ]
        );
        assert_eq!(report.document["ways"][1]["of_plain"], 0.8);
    }
}

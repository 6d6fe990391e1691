//! `seatlock verify`: audits the database for every invariant, changing nothing.

use actix_web::rt::System;
use clap::ValueEnum;
use seatlock::app::store_settings;
use seatlock::config::Config;
use seatlock::domain::audit::Violation;
use seatlock::domain::execution_error::StoreError;
use seatlock::domain::ids::ScheduleId;
use seatlock::store::{AuditPace, AuditScope, Audited, Store, Target};
use seatlock::telemetry::metrics::Metrics;
use serde_json::json;
use tokio::sync::mpsc;

use super::progress::ElapsedTime;
use super::{Failed, logging, print, read_config};

/// The most violations that are found and not printed yet.
const UNPRINTED_MAX: usize = 256;

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArguments {
    /// Audit only this schedule, with its recorded answers
    #[arg(long, value_name = "ID")]
    schedule: Option<ScheduleId>,
    /// The format of the output
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Read the primary (WRITE_DB_URL), even if READ_DB_URL names a replica
    #[arg(long)]
    primary: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One line for each violation, then a summary
    Text,
    /// One JSON document
    Json,
}

pub(crate) fn run(arguments: &VerifyArguments) -> Result<(), Failed> {
    let config = read_config()?;
    logging::init(&config.log);
    match System::new().block_on(verify(&config, arguments))? {
        0 => Ok(()),
        1 => Err(Failed::Work("1 violation was found".to_owned())),
        found => Err(Failed::Work(format!("{found} violations were found"))),
    }
}

/// Returns how many violations were found.
async fn verify(config: &Config, arguments: &VerifyArguments) -> Result<u64, Failed> {
    let mut settings = store_settings(config);
    if let (true, Target::Postgres { read, .. }) = (arguments.primary, &mut settings.target) {
        *read = None;
    }
    let failed = |error: StoreError| {
        Failed::Work(format!("the database could not be audited completely: {error}"))
    };
    let metrics = Metrics::new().map_err(|error| Failed::Work(error.to_string()))?;
    let store = Store::open_to_read(settings, metrics.into()).await.map_err(failed)?;
    let scope = arguments.schedule.map_or(AuditScope::Everything, AuditScope::Schedule);
    let (sender, found) = mpsc::channel(UNPRINTED_MAX);
    let progress = ElapsedTime::of("auditing the database");
    let audit = store.audit(scope, AuditPace::Full, sender);
    let both = async { tokio::join!(audit, print_all(arguments.format, found, &progress)) };
    let (audited, printed) = progress.show_during(both).await;
    store.close().await;
    let audited = audited.map_err(failed)?;
    let count = printed?;
    if let Some(schedule) = arguments.schedule
        && audited.schedules == 0
    {
        return Err(Failed::Work(format!("there is no schedule {schedule}")));
    }
    print(&match arguments.format {
        Format::Text => summary(&audited, count),
        Format::Json => format!("{}}}\n", json_summary(&audited)),
    })?;
    Ok(count)
}

/// Prints the violations as they are found, and returns how many there were.
async fn print_all(
    format: Format,
    mut found: mpsc::Receiver<Violation>,
    progress: &ElapsedTime,
) -> Result<u64, Failed> {
    let mut count = 0;
    if format == Format::Json {
        print("{\"violations\":[")?;
    }
    while let Some(violation) = found.recv().await {
        let text = match format {
            Format::Text => format!("violated: {violation}\n"),
            Format::Json if count == 0 => document(&violation),
            Format::Json => format!(",{}", document(&violation)),
        };
        progress.suspend(|| print(&text))?;
        count += 1;
    }
    Ok(count)
}

fn document(violation: &Violation) -> String {
    json!({
        "invariant": violation.invariant.as_ref(),
        "schedule_id": violation.schedule.map(|id| id.to_string()),
        "kind": violation.subject.as_ref(),
        "id": violation.subject.id(),
        "expected": violation.expected,
        "found": violation.found,
    })
    .to_string()
}

fn json_summary(audited: &Audited) -> String {
    let audited = json!({
        "at_ms": audited.at.0,
        "schedules": audited.schedules,
        "seats": audited.seats,
        "claims": audited.claims,
        "journal_entries": audited.journal,
        "answers": audited.answers,
    });
    format!("],\"audited\":{audited}")
}

fn summary(audited: &Audited, violations: u64) -> String {
    let Audited { schedules, seats, claims, journal, answers, .. } = audited;
    format!(
        "audited {schedules} schedules, {seats} seats, {claims} holds, bookings and blocks, {journal} journal entries, \
         {answers} recorded answers, {violations} violations\n"
    )
}

#[cfg(test)]
mod tests {
    use seatlock::domain::audit::{Invariant, Subject};
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_parts_of_the_document_make_one() {
        let violation = Violation {
            invariant: Invariant::SeatIsSoldOnce,
            schedule: Some(ScheduleId(7)),
            subject: Subject::Journal(3),
            expected: "one".to_owned(),
            found: "\"two\"".to_owned(),
        };
        let audited = json_summary(&Audited::default());
        let text = format!("{{\"violations\":[{}{audited}}}", document(&violation));
        let document: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["violations"][0]["invariant"], "seat_is_sold_once");
        assert_eq!(document["violations"][0]["schedule_id"], "7");
        assert_eq!(document["violations"][0]["found"], "\"two\"");
        assert_eq!(document["audited"]["schedules"], 0);
    }

    #[test]
    fn the_summary_counts_what_was_audited() {
        let audited = Audited { schedules: 2, seats: 40, ..Audited::default() };
        let text = summary(&audited, 0);
        assert!(text.starts_with("audited 2 schedules, 40 seats, 0 holds, "), "{text}");
        assert!(text.ends_with(" 0 recorded answers, 0 violations\n"), "{text}");
    }
}

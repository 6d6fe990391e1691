//! `seatlock import`: puts a seat plan on sale. Nothing is written before everything is checked.

mod arguments;
mod enter;
mod plan;
mod progress;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use actix_web::rt::System;
use seatlock::domain::catalogue::Schedule;
use seatlock::domain::plan::SeatPlan;

pub(crate) use arguments::ImportArguments;

use super::{Failed, logging, print, read_config};
use progress::ImportProgress;

pub(crate) fn run(arguments: &ImportArguments) -> Result<(), Failed> {
    let began = Instant::now();
    let config = read_config()?;
    logging::init(&config.log);
    let request = arguments.request(&config.reservation).map_err(Failed::Usage)?;
    let format = arguments.format().map_err(Failed::Usage)?;
    let name = arguments.plan_name();

    let progress = ImportProgress::start(if request.is_some() { 4 } else { 2 });
    progress.step(&format!("reading {name}"));
    let document = read(&arguments.plan, config.http.plan_body_limit)
        .map_err(|error| Failed::Work(format!("{name} cannot be read: {error}")))?;

    progress.step(&format!("checking {name}"));
    let prices = arguments.prices().map_err(Failed::Usage)?;
    let plan = plan::parse(&document, format, &prices).map_err(|problems| {
        let problems = problems.join("\n  ");
        Failed::Work(format!("{name} cannot be sold, and nothing was written:\n  {problems}"))
    })?;
    let size = size(&plan.plan);
    let notes: String = plan.notes.iter().map(|note| format!("note: {note}\n")).collect();

    let Some(request) = request else {
        progress.finish();
        let took = seconds(began.elapsed());
        return print(&format!(
            "dry run: {size} can be sold; nothing was written ({took})\n{notes}"
        ));
    };
    let entering = enter::enter(&config, request, plan, &progress);
    let schedule = System::new().block_on(entering).map_err(Failed::Work)?;
    progress.finish();
    print(&(summary(&size, &schedule, began.elapsed()) + &notes))
}

/// Reads the whole document. A document that is longer than the API accepts is an error.
fn read(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    let source: Box<dyn Read> = if path == Path::new(arguments::STANDARD_INPUT) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path)?)
    };
    let mut document = Vec::new();
    source.take(limit as u64 + 1).read_to_end(&mut document)?;
    if document.len() > limit {
        let text = format!("it is longer than {limit} bytes: split it or raise PLAN_BODY_LIMIT");
        return Err(io::Error::other(text));
    }
    Ok(document)
}

fn size(plan: &SeatPlan) -> String {
    let counted = |count: usize, what: &str| match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    };
    let seats = counted(plan.seat_count(), "seat");
    format!("{seats} in {}", counted(plan.sections().len(), "section"))
}

fn seconds(took: Duration) -> String {
    format!("{:.2} seconds", took.as_secs_f64())
}

fn summary(size: &str, schedule: &Schedule, took: Duration) -> String {
    let plan = &schedule.plan;
    format!(
        "imported {size} in {}\nseat plan: {}, version {}\nevent id: {}\nschedule id: {}\n",
        seconds(took),
        plan.id,
        plan.version,
        schedule.event,
        schedule.id
    )
}

#[cfg(test)]
mod tests {
    use seatlock::domain::catalogue::PlanVersion;
    use seatlock::domain::clock::EpochMs;
    use seatlock::domain::ids::{EventId, ScheduleId};
    use seatlock::domain::plan::InlineSection;

    use super::*;
    use seatlock::domain::rules::ScheduleRules;

    #[test]
    fn the_size_is_written_in_english() {
        let plan = |seats_per_row| {
            let name = "A".to_owned();
            let section =
                InlineSection { name, rows: 1, seats_per_row, ..InlineSection::default() };
            SeatPlan::from_inline(&[section]).unwrap()
        };
        assert_eq!(size(&plan(1)), "1 seat in 1 section");
        assert_eq!(size(&plan(738)), "738 seats in 1 section");
    }

    #[test]
    fn the_summary_names_everything_that_was_created() {
        let schedule = Schedule {
            id: ScheduleId(9),
            event: EventId(4),
            starts_at: EpochMs(0),
            rules: ScheduleRules::usual(Duration::from_secs(600)),
            plan: PlanVersion { id: "hall".to_owned(), version: 2 },
            seats: 40,
            created_at: EpochMs(0),
        };
        assert_eq!(
            summary("40 seats in 2 sections", &schedule, Duration::from_millis(1_250)),
            "imported 40 seats in 2 sections in 1.25 seconds\nseat plan: hall, version 2\n\
             event id: 4\nschedule id: 9\n"
        );
    }
}

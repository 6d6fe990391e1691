//! Writes an import: the plan, the event if it is new, the schedule with its seats.

use std::sync::Arc;

use seatlock::app::open_store;
use seatlock::config::Config;
use seatlock::domain::catalogue::{NewSchedule, PlanSource, Schedule};
use seatlock::domain::ids::EventId;
use seatlock::domain::plan::ReadPlan;
use seatlock::http::responses::{render_event, render_plan, render_schedule};
use seatlock::service::catalogue::Catalogue;
use seatlock::telemetry::metrics::Metrics;

use super::arguments::{EventChoice, ImportRequest};
use super::progress::ImportProgress;
use crate::cli::done;

/// Opens the database, writes everything and closes it again.
pub(super) async fn enter(
    config: &Config,
    request: ImportRequest,
    plan: ReadPlan,
    progress: &ImportProgress,
) -> Result<Schedule, String> {
    let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
    let store = open_store(config, &metrics).await.map_err(|error| error.to_string())?;
    let catalogue = Catalogue::new(Arc::clone(&store));
    let entered = enter_in(&catalogue, request, plan, progress).await;
    store.close().await;
    entered
}

/// Stores the plan first: storing the same plan again creates no second version, so the import can be repeated after a
/// failure.
async fn enter_in(
    catalogue: &Catalogue,
    request: ImportRequest,
    plan: ReadPlan,
    progress: &ImportProgress,
) -> Result<Schedule, String> {
    let ImportRequest { event, starts_at, rules, plan_id } = request;
    if let EventChoice::Existing(id) = event {
        check_event(catalogue, id).await?;
    }
    progress.step(&format!("storing the plan as {plan_id}"));
    let stored = catalogue.put_plan(plan_id, plan, None, render_plan).await;
    let stored =
        done(stored).map_err(|reason| format!("the plan was not stored: {reason}"))?.version;

    progress.step("creating the schedule with its seats");
    let (event, is_new) = match event {
        EventChoice::Existing(id) => (id, false),
        EventChoice::New(name) => {
            let event = done(catalogue.create_event(name, None, render_event).await);
            let event = event.map_err(|reason| format!("the event was not created: {reason}"))?;
            (event.id, true)
        }
    };
    let new = NewSchedule { event, starts_at, rules };
    let source = PlanSource::Stored { id: stored.id, version: Some(stored.version) };
    let schedule = done(catalogue.create_schedule(new, source, None, render_schedule).await);
    schedule.map_err(|reason| {
        let remedy = if is_new {
            format!("; event {event} was created: try again with --event {event}")
        } else {
            String::new()
        };
        format!("the schedule was not created: {reason}{remedy}")
    })
}

async fn check_event(catalogue: &Catalogue, id: EventId) -> Result<(), String> {
    match catalogue.event(id).await.map_err(|error| error.to_string())? {
        Some(_) => Ok(()),
        None => Err(format!(
            "there is no event {id}, and nothing was written: give the id of an event that exists, \
             or a name for a new one"
        )),
    }
}

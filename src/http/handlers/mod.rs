//! The handlers, a file per resource: read and check, hand on, write the answer.

pub mod blocks;
pub mod bookings;
pub mod events;
pub mod holds;
pub mod operations;
pub mod plans;
pub mod requests;
pub mod schedules;
pub mod seats;
pub mod stream;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use actix_web::{HttpRequest, HttpResponse};
use uuid::Uuid;

use crate::actors::booking::SubmitError;
use crate::domain::command::{Action, Command, Keyed};
use crate::domain::execution_error::{ExecutionError, StoreError};
use crate::domain::ids::{CustomerId, ScheduleId, SeatNumber};
use crate::domain::rejection::{Conflict, ConflictReason};
use crate::seat_map::LoadedSchedule;
use crate::service::bookings::ReservationOutcome;
use crate::telemetry::metrics::reservation::EarlyRejection;

use super::Services;
use super::middleware::Deadline;
use super::percent;
use super::problem::{Code, Problem};
use super::reply::{self, LocationHeader};
use super::version::version_seen;

/// An id in a path; what cannot be one names nothing.
fn path_id<T: FromStr>(request: &HttpRequest, name: &str, what: &str) -> Result<T, Problem> {
    percent::path_parameter(request, name)?.parse().map_err(|_| Problem::not_found(what))
}

/// A schedule with its layout.
async fn schedule(services: &Services, id: ScheduleId) -> Result<Arc<LoadedSchedule>, Problem> {
    if let Some(found) = services.seat_maps.loaded(id) {
        return Ok(found);
    }
    let found = in_time(services, services.seat_maps.schedule(id)).await?;
    found.ok_or_else(|| Problem::not_found("schedule"))
}

/// Waits for a read, but not longer than a request may take.
fn in_time<'a, T: 'a>(
    services: &Services,
    read: impl Future<Output = Result<T, StoreError>> + 'a,
) -> impl Future<Output = Result<T, Problem>> + 'a {
    // In a box: what is seldom needed is not to be moved about with every request.
    let read = tokio::time::timeout(services.request_timeout, Box::pin(read));
    async move {
        match read.await {
            Ok(result) => Ok(result?),
            Err(_) => {
                let detail = "the database did not answer in time";
                Err(Problem::new(Code::DependencyUnavailable, detail))
            }
        }
    }
}

/// Takes a request for seats through the queue in front, if it is to go there, or through the flow.
async fn take(
    services: &Services,
    request: &HttpRequest,
    (schedule, action, keyed): (ScheduleId, Action, Option<Keyed>),
    place: LocationHeader,
) -> Result<HttpResponse, Problem> {
    match requests::front(services, request) {
        Some(front) => requests::enqueue(services, front, request, (schedule, action, keyed)).await,
        None => reserve(services, request, action, schedule, keyed, place).await,
    }
}

/// Refuses seats that the map in memory knows to be gone.
async fn unless_known(
    services: &Services,
    request: &HttpRequest,
    schedule: ScheduleId,
    action: &Action,
) -> Result<(), Problem> {
    let at_least = version_seen(request)?;
    let gone = services.seat_maps.refusals(schedule, action.taken_seats(), at_least).await;
    if gone.is_empty() {
        return Ok(());
    }
    services.metrics.reservation.refused_early(EarlyRejection::Known);
    Err(unavailable(services, schedule, action.customer(), (&gone, false)).await?)
}

/// Takes a command through the flow and writes the answer.
async fn reserve(
    services: &Services,
    request: &HttpRequest,
    action: Action,
    schedule: ScheduleId,
    keyed: Option<Keyed>,
    place: LocationHeader,
) -> Result<HttpResponse, Problem> {
    let at_least = version_seen(request)?;
    let customer = action.customer().cloned();
    let command = Command { schedule, action, keyed, locked: false, queued: None };
    let deadline: Instant = Deadline::of(request);
    let reserved = services.reservation.reserve(command, at_least, deadline).await;
    note_early_refusal(services, schedule, &reserved);
    match reserved? {
        ReservationOutcome::Outcome(outcome) => {
            let version = services.seat_maps.version(schedule);
            Ok(reply::versioned(reply::outcome(*outcome, place)?, version))
        }
        ReservationOutcome::Known(seats) => {
            Err(unavailable(services, schedule, customer.as_ref(), (&seats, false)).await?)
        }
        ReservationOutcome::Contended(seats) => {
            Err(unavailable(services, schedule, customer.as_ref(), (&seats, true)).await?)
        }
        ReservationOutcome::InProgress => {
            let detail = "a request with this Idempotency-Key is being executed";
            Err(Problem::new(Code::RequestInProgress, detail))
        }
    }
}

/// Counts what the booking engine was not asked about.
fn note_early_refusal(
    services: &Services,
    schedule: ScheduleId,
    reserved: &Result<ReservationOutcome, SubmitError>,
) {
    let metrics = &services.metrics.reservation;
    let reason = match reserved {
        Ok(ReservationOutcome::Known(_)) => EarlyRejection::Known,
        Ok(ReservationOutcome::Contended(seats)) => {
            let seats: Vec<SeatNumber> = seats.iter().map(|(seat, _)| *seat).collect();
            if services.seat_maps.are_free(schedule, &seats) {
                metrics.free_seat_conflicts_total.inc();
            }
            EarlyRejection::Locked
        }
        Ok(ReservationOutcome::InProgress) => EarlyRejection::InProgress,
        Err(SubmitError::Failed(ExecutionError::ReadOnly)) => EarlyRejection::ReadOnly,
        Err(SubmitError::Overloaded) => EarlyRejection::Overloaded,
        Err(SubmitError::Draining) => EarlyRejection::Draining,
        Ok(ReservationOutcome::Outcome(_)) | Err(SubmitError::Failed(_)) => return,
    };
    metrics.refused_early(reason);
}

/// The refusal of seats about which the booking engine was not asked. `customer` wanted them: own holds among
/// those in the way are named.
async fn unavailable(
    services: &Services,
    id: ScheduleId,
    customer: Option<&CustomerId>,
    (seats, by_locks_alone): (&[(SeatNumber, ConflictReason)], bool),
) -> Result<Problem, Problem> {
    let schedule = schedule(services, id).await?;
    let held = seats.iter().filter(|(_, reason)| *reason == ConflictReason::Held);
    let held: Vec<SeatNumber> = held.map(|(seat, _)| *seat).collect();
    let own = match customer {
        Some(customer) if !held.is_empty() => {
            services.reservation.own_holds(id, customer, &held).await
        }
        _ => Some(BTreeMap::new()),
    };
    let conflict = |(number, reason): &(SeatNumber, ConflictReason)| {
        let label =
            schedule.layout.seat(*number).map_or_else(String::new, |seat| seat.label.into());
        let hold = own.as_ref().and_then(|own| own.get(number)).copied();
        Conflict { label, reason: *reason, hold }
    };
    let conflicts = seats.iter().map(conflict).collect();
    let problem = Problem::conflicts(Code::SeatsUnavailable, conflicts, by_locks_alone);
    Ok(match own {
        Some(_) => problem,
        None => problem.with_owners_unknown(),
    })
}

/// A new identifier that sorts by creation.
fn new_uuid() -> Uuid {
    Uuid::now_v7()
}

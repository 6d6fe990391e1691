//! Bookings.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::catalogue::BookingFilter;
use crate::domain::command::{Action, Keyed};
use crate::domain::ids::{BookingId, HoldId, ScheduleId};
use crate::http::Services;
use crate::http::fields::{Fields, IdText, Labels};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{Given, PageQuery, Parameters, Query};
use crate::http::reply::{self, LocationHeader};
use crate::http::responses::{BookingBody, PageBody};
use crate::http::version::{AtLeast, version_seen};

use super::requests::RequestBody;
use super::{in_time, new_uuid, path_id, reserve, schedule, take};

/// A new booking: seats of a schedule for a customer, or a hold to be confirmed.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBooking {
    /// Which schedule; without a hold.
    #[schema(value_type = Option<String>)]
    pub schedule_id: Option<IdText>,
    /// Labels, without a hold; all or none are booked.
    pub seats: Option<Labels>,
    /// The shop's name for the customer; with a hold it must be the hold's.
    #[schema(example = "customer-1")]
    pub customer_id: Option<String>,
    /// The hold to confirm, instead of schedule and seats.
    pub hold_id: Option<String>,
}

/// What to give back.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// Labels; all seats if absent.
    pub seats: Option<Labels>,
}

/// Which bookings are listed.
#[derive(Debug)]
pub struct BookingsQuery {
    filter: BookingFilter,
    limit: usize,
}

impl Parameters for BookingsQuery {
    fn read(given: &mut Given) -> Result<Self, Problem> {
        let customer = given.parsed("customer_id", "a customer's id")?;
        let schedule = given.parsed("schedule_id", "a schedule's id")?;
        let PageQuery { after, limit } = PageQuery::read(given)?;
        AtLeast::read(given)?;
        Ok(Self { filter: BookingFilter { customer, schedule, after }, limit })
    }
}

const PLACE: LocationHeader = LocationHeader::ContentLocation("/api/v1/bookings/");

/// Books seats, or confirms a hold. A confirmed booking is durable when this answers 200; 202 tells where to
/// ask for a request that was queued.
#[utoipa::path(post, path = "/api/v1/bookings", tag = "customers", request_body = NewBooking,
    params(("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header),
        ("Prefer" = Option<String>, Header, description = "`respond-async` (RFC 7240)")),
    responses((status = 200, body = BookingBody, headers(("Content-Location" = String))),
        (status = 202, body = RequestBody, headers(("Location" = String))),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "seats_unavailable, hold_expired, hold_released, booking_cancelled, seat_limit_reached, request_in_progress"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "rate_limited, queue_limit_reached"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (new, keyed) = services.json::<NewBooking>(&request, payload).await?;
    match &new.hold_id {
        Some(hold) => confirm(&services, &request, hold, &new, keyed).await,
        None => book(&services, &request, &new, keyed).await,
    }
}

async fn book(
    services: &Services,
    request: &HttpRequest,
    new: &NewBooking,
    keyed: Option<Keyed>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::default();
    let missing = "is missing; send schedule_id, seats and customer_id, or a hold_id";
    for (pointer, there) in [
        ("/schedule_id", new.schedule_id.is_some()),
        ("/seats", new.seats.is_some()),
        ("/customer_id", new.customer_id.is_some()),
    ] {
        if !there {
            fields.fault(pointer, "missing", missing);
        }
    }
    let (Some(schedule_id), Some(seats), Some(customer)) =
        (&new.schedule_id, &new.seats, &new.customer_id)
    else {
        return fields.finish().and_then(|()| Err(Problem::not_found("schedule")));
    };
    let id: ScheduleId = Fields::id(schedule_id, "schedule")?;
    let loaded = schedule(services, id).await?;
    let seats = fields.seats(seats, &loaded.layout);
    let customer = fields.customer("/customer_id", customer);
    fields.finish()?;
    let Some(customer) = customer else { return Err(Problem::not_found("customer")) };
    let booking = BookingId { schedule: id, uuid: new_uuid() };
    let action = Action::Book { id: booking, seats, customer };
    take(services, request, (id, action, keyed), PLACE).await
}

async fn confirm(
    services: &Services,
    request: &HttpRequest,
    hold: &str,
    new: &NewBooking,
    keyed: Option<Keyed>,
) -> Result<HttpResponse, Problem> {
    let mut fields = Fields::default();
    for (pointer, there) in
        [("/schedule_id", new.schedule_id.is_some()), ("/seats", new.seats.is_some())]
    {
        if there {
            fields.fault(pointer, "conflicting", "a hold has its own; leave it out");
        }
    }
    let customer = match &new.customer_id {
        Some(text) => fields.known_customer("/customer_id", text),
        None => None,
    };
    fields.finish()?;
    let hold: HoldId = hold.parse().map_err(|_| Problem::not_found("hold"))?;
    let booking = BookingId { schedule: hold.schedule, uuid: new_uuid() };
    let action = Action::Confirm { hold, booking, customer };
    take(services, request, (hold.schedule, action, keyed), PLACE).await
}

/// One booking.
#[utoipa::path(get, path = "/api/v1/bookings/{id}", tag = "customers",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = BookingBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn read(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
) -> Result<HttpResponse, Problem> {
    let id: BookingId = path_id(&request, "id", "booking")?;
    let at_least = version_seen(&request)?;
    let booking = services.reservation.booking(id, at_least).await?;
    let booking = booking.ok_or_else(|| Problem::not_found("booking"))?;
    Ok(reply::json(&BookingBody::from(booking)))
}

/// Bookings of a customer, of a schedule or of both, by creation.
#[utoipa::path(get, path = "/api/v1/bookings", tag = "customers",
    params(("customer_id" = Option<String>, Query), ("schedule_id" = Option<String>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 by default"),
        ("cursor" = Option<String>, Query), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<BookingBody>),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    services: Data<Services>,
    request: HttpRequest,
    Query(BookingsQuery { filter, limit }): Query<BookingsQuery>,
) -> Result<HttpResponse, Problem> {
    let at_least = version_seen(&request)?;
    if filter.customer.is_none() && filter.schedule.is_none() {
        let message = "give customer_id, schedule_id or both: a list of all bookings has no index";
        return Err(Problem::parameter("customer_id", message));
    }
    let page = services.reservation.bookings(filter, at_least, limit).await?;
    let items = page.items.into_iter().map(BookingBody::from).collect();
    Ok(reply::json(&PageBody { items, next_cursor: page.next_cursor }))
}

/// Gives a booking back, whole or in part. Repeating it changes nothing.
#[utoipa::path(post, path = "/api/v1/bookings/{id}/cancel", tag = "customers", request_body = Cancellation,
    params(("id" = String, Path), ("min_version" = Option<i64>, Query), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = BookingBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn cancel(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let booking: BookingId = path_id(&request, "id", "booking")?;
    let (what, keyed) = services.optional_json::<Cancellation>(&request, payload).await?;
    let seats = match &what.seats {
        Some(labels) => {
            let loaded = services.seat_maps.schedule(booking.schedule);
            let loaded = in_time(&services, loaded).await?;
            let loaded = loaded.ok_or_else(|| Problem::not_found("booking"))?;
            let mut fields = Fields::default();
            let seats = fields.seats(labels, &loaded.layout);
            fields.finish()?;
            Some(seats)
        }
        None => None,
    };
    let action = Action::Cancel { booking, seats };
    reserve(&services, &request, action, booking.schedule, keyed, LocationHeader::None).await
}

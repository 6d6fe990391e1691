//! Bookings.

use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{OneOfBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::catalogue::BookingFilter;
use crate::domain::command::{Action, Keyed};
use crate::domain::ids::{BookingId, HoldId, ScheduleId};
use crate::http::problem::Problem;
use crate::http::query::PageQuery;
use crate::http::reply::{self, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{BookingBody, PageBody};
use crate::http::schemas::{CustomerName, KnownCustomer, OfOtherForm, ScopedId, closed};
use crate::http::validation::{IdText, Labels, Validator};
use crate::http::version::MinVersion;

use super::requests::RequestBody;
use super::{ClaimsQuery, new_uuid};

/// A new booking: seats of a schedule for a customer, or a hold to be confirmed.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewBooking {
    /// The schedule; only without `hold_id`.
    pub schedule_id: Option<IdText>,
    /// Labels of seats, only without `hold_id`; either all of them are booked, or none.
    pub seats: Option<Labels>,
    /// The shop's name for the customer; with `hold_id` it must be the customer of the hold.
    pub customer_id: Option<String>,
    /// The hold to confirm, instead of a schedule and seats.
    pub hold_id: Option<String>,
}

/// A booking of seats.
#[derive(ToSchema)]
#[expect(dead_code, reason = "one of the two forms of `NewBooking` in the OpenAPI document")]
struct BookingOfSeats {
    /// The schedule.
    schedule_id: IdText,
    /// Labels of seats; either all of them are booked, or none.
    seats: Labels,
    /// The shop's name for the customer.
    customer_id: CustomerName,
    /// Not with seats.
    #[schema(required = false)]
    hold_id: OfOtherForm,
}

/// The confirmation of a hold.
#[derive(ToSchema)]
#[expect(dead_code, reason = "one of the two forms of `NewBooking` in the OpenAPI document")]
struct BookingOfHold {
    /// The hold.
    hold_id: ScopedId,
    /// The customer of the hold; another one is refused.
    customer_id: Option<KnownCustomer>,
    /// A hold has its own.
    #[schema(required = false)]
    schedule_id: OfOtherForm,
    /// A hold has its own.
    #[schema(required = false)]
    seats: OfOtherForm,
}

impl PartialSchema for NewBooking {
    fn schema() -> RefOr<Schema> {
        let form = Ref::from_schema_name;
        let forms = OneOfBuilder::new().item(form("BookingOfSeats")).item(form("BookingOfHold"));
        forms.description(Some("A new booking: of seats, or of a hold.")).into()
    }
}

impl ToSchema for NewBooking {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        BookingOfSeats::schemas(schemas);
        BookingOfHold::schemas(schemas);
        schemas.push(("BookingOfSeats".to_owned(), closed(BookingOfSeats::schema())));
        schemas.push(("BookingOfHold".to_owned(), closed(BookingOfHold::schema())));
    }
}

/// The seats to cancel.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Cancellation {
    /// Labels of seats; all seats of the booking if absent.
    pub seats: Option<Labels>,
}

const LOCATION: LocationHeader = LocationHeader::ContentLocation("/api/v1/bookings/");

/// Books seats, or confirms a hold. After 200 the booking is durable. After 202 the request is queued, and `Location`
/// is where its outcome is found.
#[utoipa::path(operation_id = "create_booking", post, path = "/api/v1/bookings", tag = "customers", request_body = NewBooking,
    params(("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)),
    responses((status = 200, body = BookingBody, headers(("Content-Location" = String))),
        (status = 202, body = RequestBody, headers(("Location" = String))),
        (status = 404, description = "not_found"),
        (status = 409, description = "seats_unavailable, hold_expired, hold_released, booking_cancelled, seat_limit_reached, request_in_progress"),
        (status = 429, description = "queue_limit_reached")))]
pub async fn create(mut api: ApiRequest<MinVersion>) -> HttpResult {
    let (new, keyed) = api.json::<NewBooking>().await?;
    match &new.hold_id {
        Some(hold) => confirm(&api, hold, &new, keyed).await,
        None => book(&api, &new, keyed).await,
    }
}

async fn book(api: &ApiRequest<MinVersion>, new: &NewBooking, keyed: Option<Keyed>) -> HttpResult {
    let mut check = Validator::default();
    let (Some(schedule_id), Some(seats), Some(customer)) =
        (&new.schedule_id, &new.seats, &new.customer_id)
    else {
        for (pointer, is_missing) in [
            ("/schedule_id", new.schedule_id.is_none()),
            ("/seats", new.seats.is_none()),
            ("/customer_id", new.customer_id.is_none()),
        ] {
            if is_missing {
                let message = "is missing; send schedule_id, seats and customer_id, or a hold_id";
                check.error(pointer, "missing", message);
            }
        }
        return Err(check.into_problem());
    };
    let id: ScheduleId = schedule_id.parse("schedule")?;
    let loaded = api.schedule(id).await?;
    let seats = check.seats(seats, &loaded.layout);
    let customer = check.customer("/customer_id", customer);
    let Some(customer) = customer else { return Err(check.into_problem()) };
    check.finish()?;
    api.count_customer(&customer)?;
    let booking = BookingId { schedule: id, uuid: new_uuid() };
    api.submit(id, Action::Book { id: booking, seats, customer }, keyed, LOCATION).await
}

async fn confirm(
    api: &ApiRequest<MinVersion>,
    hold: &str,
    new: &NewBooking,
    keyed: Option<Keyed>,
) -> HttpResult {
    let mut check = Validator::default();
    for (pointer, is_given) in
        [("/schedule_id", new.schedule_id.is_some()), ("/seats", new.seats.is_some())]
    {
        if is_given {
            check.error(pointer, "conflicting", "a hold has its own; leave it out");
        }
    }
    let customer = new.customer_id.as_ref();
    let customer = customer.and_then(|text| check.known_customer("/customer_id", text));
    check.finish()?;
    let hold: HoldId = hold.parse().map_err(|_| Problem::not_found("hold"))?;
    let booking = BookingId { schedule: hold.schedule, uuid: new_uuid() };
    let action = Action::Confirm { hold, booking, customer };
    api.submit(hold.schedule, action, keyed, LOCATION).await
}

/// One booking.
#[utoipa::path(operation_id = "read_booking", get, path = "/api/v1/bookings/{id}", tag = "customers",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = BookingBody)))]
pub async fn read(api: ApiRequest<MinVersion>) -> HttpResult {
    let id: BookingId = api.path_id("id", "booking")?;
    let booking = api.services.bookings.booking_of(id, api.customer(), api.query.0).await?;
    reply::found::<_, BookingBody>(booking, "booking")
}

/// Bookings of a customer, of a schedule or of both, in the order of their creation.
#[utoipa::path(operation_id = "list_bookings", get, path = "/api/v1/bookings", tag = "customers",
    params(("customer_id" = Option<String>, Query), ("schedule_id" = Option<String>, Query),
        ("limit" = Option<u32>, Query),
        ("cursor" = Option<String>, Query), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<BookingBody>)))]
pub async fn list(api: ApiRequest<ClaimsQuery<BookingId>>) -> HttpResult {
    let customer = api.listed_customer(api.query.customer.clone())?;
    let ClaimsQuery { schedule, page: PageQuery { after, limit }, min_version, .. } = api.query;
    if customer.is_none() && schedule.is_none() {
        let message = "give customer_id, schedule_id or both: a list of all bookings has no index";
        return Err(Problem::parameter_error("customer_id", "missing", message));
    }
    let filter = BookingFilter { customer, schedule, after };
    let page = api.services.bookings.bookings(filter, min_version, limit).await?;
    Ok(reply::page::<_, BookingBody>(page))
}

/// Cancels a booking, whole or in part. Repeating the request changes nothing.
#[utoipa::path(operation_id = "cancel_booking", post, path = "/api/v1/bookings/{id}/cancel", tag = "customers", request_body = Option<Cancellation>,
    params(("id" = String, Path), ("min_version" = Option<i64>, Query), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = BookingBody),
        (status = 409, description = "request_in_progress")))]
pub async fn cancel(mut api: ApiRequest<MinVersion>) -> HttpResult {
    let booking: BookingId = api.path_id("id", "booking")?;
    let (cancellation, keyed) = api.optional_json::<Cancellation>().await?;
    let seats = match &cancellation.seats {
        Some(labels) => {
            let loaded = api.schedule_of(booking.schedule, "booking").await?;
            let mut check = Validator::default();
            let seats = check.seats(labels, &loaded.layout);
            check.finish()?;
            Some(seats)
        }
        None => None,
    };
    api.submit(booking.schedule, Action::Cancel { booking, seats }, keyed, LocationHeader::None)
        .await
}

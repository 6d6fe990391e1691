//! Holds.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::catalogue::HoldFilter;
use crate::domain::command::Action;
use crate::domain::ids::{CustomerId, HoldId, InHistory, ScheduleId};
use crate::http::Services;
use crate::http::fields::{Fields, IdText, Labels};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{Given, PageQuery, Parameters, Query};
use crate::http::reply::{self, LocationHeader};
use crate::http::responses::{HoldBody, PageBody};
use crate::http::version::{AtLeast, version_seen};

use super::requests::RequestBody;
use super::{new_uuid, path_id, reserve, schedule, take};

/// A new hold.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// Which schedule.
    pub schedule_id: IdText,
    /// Labels; all or none are held.
    pub seats: Labels,
    /// The shop's name for the customer.
    #[schema(example = "customer-1")]
    pub customer_id: String,
    /// Seconds; the schedule's rule if absent.
    pub ttl_s: Option<u64>,
}

/// A longer life.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// Seconds from now; the schedule's rule if absent.
    pub ttl_s: Option<u64>,
}

/// Which holds are listed.
#[derive(Debug)]
pub struct HoldsQuery {
    customer: Option<CustomerId>,
    schedule: Option<ScheduleId>,
    page: PageQuery<InHistory<HoldId>>,
}

impl Parameters for HoldsQuery {
    fn read(given: &mut Given) -> Result<Self, Problem> {
        let customer = given.parsed("customer_id", "a customer's id")?;
        let schedule = given.parsed("schedule_id", "a schedule's id")?;
        let page = PageQuery::read(given)?;
        AtLeast::read(given)?;
        Ok(Self { customer, schedule, page })
    }
}

/// Holds seats for a while.
#[utoipa::path(post, path = "/api/v1/holds", tag = "customers", request_body = NewHold,
    params(("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header),
        ("Prefer" = Option<String>, Header, description = "`respond-async` (RFC 7240)")),
    responses((status = 201, body = HoldBody, headers(("Location" = String))),
        (status = 202, body = RequestBody, headers(("Location" = String))),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "seats_unavailable, seat_limit_reached, request_in_progress"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 429, body = ProblemBody, content_type = "application/problem+json", description = "rate_limited, queue_limit_reached"),
        (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (new, keyed) = services.json::<NewHold>(&request, payload).await?;
    let id: ScheduleId = Fields::id(&new.schedule_id, "schedule")?;
    let loaded = schedule(&services, id).await?;
    let mut fields = Fields::default();
    let seats = fields.seats(&new.seats, &loaded.layout);
    let customer = fields.customer("/customer_id", &new.customer_id);
    let ttl = fields.ttl(new.ttl_s, services.hold_ttl_max);
    fields.finish()?;
    let Some(customer) = customer else { return Err(Problem::not_found("customer")) };
    let hold = HoldId { schedule: id, uuid: new_uuid() };
    let action = Action::Hold { id: hold, seats, customer, ttl };
    let place = LocationHeader::Location("/api/v1/holds/");
    take(&services, &request, (id, action, keyed), place).await
}

/// Holds of a customer that are alive. A page may have fewer items than `limit`.
#[utoipa::path(get, path = "/api/v1/holds", tag = "customers",
    params(("customer_id" = String, Query), ("schedule_id" = Option<String>, Query),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 by default"),
        ("cursor" = Option<String>, Query), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<HoldBody>),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    services: Data<Services>,
    request: HttpRequest,
    Query(HoldsQuery { customer, schedule, page }): Query<HoldsQuery>,
) -> Result<HttpResponse, Problem> {
    let at_least = version_seen(&request)?;
    let needed = || Problem::parameter("customer_id", "give the customer whose holds to list");
    let PageQuery { after, limit } = page;
    let filter = HoldFilter { customer: customer.ok_or_else(needed)?, schedule, after };
    let page = services.reservation.holds(filter, at_least, limit).await?;
    let items = page.items.into_iter().map(HoldBody::from).collect();
    Ok(reply::json(&PageBody { items, next_cursor: page.next_cursor }))
}

/// One hold.
#[utoipa::path(get, path = "/api/v1/holds/{id}", tag = "customers",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = HoldBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn read(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
) -> Result<HttpResponse, Problem> {
    let id: HoldId = path_id(&request, "id", "hold")?;
    let at_least = version_seen(&request)?;
    let hold = services.reservation.hold(id, at_least).await?;
    let hold = hold.ok_or_else(|| Problem::not_found("hold"))?;
    Ok(reply::json(&HoldBody::from(hold)))
}

/// Lets a hold live longer; never shorter.
#[utoipa::path(post, path = "/api/v1/holds/{id}/extend", tag = "customers", request_body = Extension,
    params(("id" = String, Path), ("min_version" = Option<i64>, Query), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = HoldBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "hold_expired, hold_released, hold_confirmed")))]
pub async fn extend(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let hold: HoldId = path_id(&request, "id", "hold")?;
    let (extension, keyed) = services.optional_json::<Extension>(&request, payload).await?;
    let mut fields = Fields::default();
    let ttl = fields.ttl(extension.ttl_s, services.hold_ttl_max);
    fields.finish()?;
    let action = Action::Extend { hold, ttl };
    reserve(&services, &request, action, hold.schedule, keyed, LocationHeader::None).await
}

/// Gives a hold up.
#[utoipa::path(delete, path = "/api/v1/holds/{id}", tag = "customers",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 204, description = "released, or over before"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "hold_confirmed")))]
pub async fn release(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
) -> Result<HttpResponse, Problem> {
    let hold: HoldId = path_id(&request, "id", "hold")?;
    let action = Action::Release { hold };
    reserve(&services, &request, action, hold.schedule, None, LocationHeader::None).await
}

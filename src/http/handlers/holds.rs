//! Holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::catalogue::HoldFilter;
use crate::domain::command::Action;
use crate::domain::ids::{HoldId, ScheduleId};
use crate::domain::whole::optional_whole;
use crate::http::problem::Problem;
use crate::http::query::PageQuery;
use crate::http::reply::{self, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{HoldBody, PageBody};
use crate::http::schemas::{CustomerName, HoldLifetime};
use crate::http::validation::{IdText, Labels, Validator};
use crate::http::version::MinVersion;

use super::requests::RequestBody;
use super::{ClaimsQuery, new_uuid};

/// A new hold.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewHold {
    /// The schedule.
    pub schedule_id: IdText,
    /// Labels of seats; either all of them are held, or none.
    pub seats: Labels,
    /// The shop's name for the customer.
    #[schema(value_type = CustomerName)]
    pub customer_id: String,
    /// The lifetime in seconds; the schedule's `hold_ttl_s` if absent.
    #[schema(value_type = Option<HoldLifetime>)]
    #[serde(default, deserialize_with = "optional_whole")]
    pub ttl_s: Option<u64>,
}

/// A longer lifetime.
#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Extension {
    /// The lifetime in seconds from now; the schedule's `hold_ttl_s` if absent.
    #[schema(value_type = Option<HoldLifetime>)]
    #[serde(default, deserialize_with = "optional_whole")]
    pub ttl_s: Option<u64>,
}

/// Holds seats for a limited time.
#[utoipa::path(operation_id = "create_hold", post, path = "/api/v1/holds", tag = "customers", request_body = NewHold,
    params(("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)),
    responses((status = 201, body = HoldBody, headers(("Location" = String))),
        (status = 202, body = RequestBody, headers(("Location" = String))),
        (status = 404, description = "not_found"),
        (status = 409, description = "seats_unavailable, seat_limit_reached, request_in_progress"),
        (status = 429, description = "queue_limit_reached")))]
pub async fn create(mut api: ApiRequest<MinVersion>) -> HttpResult {
    let (new, keyed) = api.json::<NewHold>().await?;
    let id: ScheduleId = new.schedule_id.parse("schedule")?;
    let loaded = api.schedule(id).await?;
    let mut check = Validator::default();
    let seats = check.seats(&new.seats, &loaded.layout);
    let customer = check.customer("/customer_id", &new.customer_id);
    let ttl = check.ttl(new.ttl_s, api.services.hold_ttl_max);
    let Some(customer) = customer else { return Err(check.into_problem()) };
    check.finish()?;
    let hold = HoldId { schedule: id, uuid: new_uuid() };
    let action = Action::Hold { id: hold, seats, customer, ttl };
    api.submit(id, action, keyed, LocationHeader::Location("/api/v1/holds/")).await
}

/// The current holds of a customer. A page may have fewer items than `limit`.
#[utoipa::path(operation_id = "list_holds", get, path = "/api/v1/holds", tag = "customers",
    params(("customer_id" = String, Query), ("schedule_id" = Option<String>, Query),
        ("limit" = Option<u32>, Query),
        ("cursor" = Option<String>, Query), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<HoldBody>)))]
pub async fn list(api: ApiRequest<ClaimsQuery<HoldId>>) -> HttpResult {
    let ClaimsQuery { customer, schedule, page: PageQuery { after, limit }, min_version } =
        api.query;
    let message = "give the customer whose holds to list";
    let needed = || Problem::parameter_error("customer_id", "missing", message);
    let filter = HoldFilter { customer: customer.ok_or_else(needed)?, schedule, after };
    let page = api.services.bookings.holds(filter, min_version, limit).await?;
    Ok(reply::page::<_, HoldBody>(page))
}

/// One hold.
#[utoipa::path(operation_id = "read_hold", get, path = "/api/v1/holds/{id}", tag = "customers",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = HoldBody)))]
pub async fn read(api: ApiRequest<MinVersion>) -> HttpResult {
    let id: HoldId = api.path_id("id", "hold")?;
    reply::found::<_, HoldBody>(api.services.bookings.hold(id, api.query.0).await?, "hold")
}

/// Extends the lifetime of a hold; never shortens it.
#[utoipa::path(operation_id = "extend_hold", post, path = "/api/v1/holds/{id}/extend", tag = "customers", request_body = Option<Extension>,
    params(("id" = String, Path), ("min_version" = Option<i64>, Query), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = HoldBody),
        (status = 409, description = "hold_expired, hold_released, hold_confirmed, request_in_progress")))]
pub async fn extend(mut api: ApiRequest<MinVersion>) -> HttpResult {
    let hold: HoldId = api.path_id("id", "hold")?;
    let (extension, keyed) = api.optional_json::<Extension>().await?;
    let mut check = Validator::default();
    let ttl = check.ttl(extension.ttl_s, api.services.hold_ttl_max);
    check.finish()?;
    api.submit(hold.schedule, Action::Extend { hold, ttl }, keyed, LocationHeader::None).await
}

/// Releases a hold.
#[utoipa::path(operation_id = "release_hold", delete, path = "/api/v1/holds/{id}", tag = "customers",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 204, description = "released, or ended before"),
        (status = 409, description = "hold_confirmed")))]
pub async fn release(api: ApiRequest<MinVersion>) -> HttpResult {
    let hold: HoldId = api.path_id("id", "hold")?;
    api.submit(hold.schedule, Action::Release { hold }, None, LocationHeader::None).await
}

//! Holds.

use actix_web::HttpRequest;
use actix_web::http::header;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::catalogue::HoldFilter;
use crate::domain::command::Action;
use crate::domain::ids::{CustomerId, HoldId, ScheduleId};
use crate::domain::whole::optional_whole;
use crate::http::problem::Problem;
use crate::http::query::PageQuery;
use crate::http::reply::{self, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{HoldBody, PageBody};
use crate::http::schemas::{CustomerName, HoldLifetime, HoldSecret, optional_seat_labels};
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
    /// The shop's name for the customer. A page with a publishable key names no customer: the hold belongs to a browser
    /// session, whose name is in the answer and may be sent with the session's next hold. With a customer's token the
    /// customer is its subject.
    #[schema(value_type = Option<CustomerName>)]
    pub customer_id: Option<String>,
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

/// Seats to add to a hold, and seats to remove from it: at least one seat, and none in both.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HoldChange {
    /// Labels of seats to add; a seat that the hold has already stays in it.
    #[serde(default)]
    #[schema(schema_with = optional_seat_labels)]
    pub add: Labels,
    /// Labels of seats to remove; each must be one of the hold's.
    #[serde(default)]
    #[schema(schema_with = optional_seat_labels)]
    pub remove: Labels,
}

/// A new hold in the answer to its creation.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "the secret is not recorded with the answer: `with_hold_secret` adds it"
)]
struct NewHoldAnswer {
    /// The hold.
    #[serde(flatten)]
    hold: HoldBody,
    /// The secret of the hold, only for a page with a publishable key: it is sent in `Hold-Secret`.
    #[schema(required = false)]
    hold_secret: HoldSecret,
}

/// Holds seats for a limited time.
#[utoipa::path(operation_id = "create_hold", post, path = "/api/v1/holds", tag = "customers", request_body = NewHold,
    params(("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header),
        ("Prefer" = Option<String>, Header)),
    responses((status = 201, body = NewHoldAnswer, headers(("Location" = String))),
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
    let named = new.customer_id.as_deref();
    let customer = match api.customer() {
        Some(own) => own_customer(&mut check, own, named),
        None if api.is_page() => session(&mut check, named),
        None => named_customer(&mut check, named),
    };
    let ttl = check.ttl(new.ttl_s, api.services.hold_ttl_max);
    let Some(customer) = customer else { return Err(check.into_problem()) };
    check.finish()?;
    api.count_customer(&customer)?;
    let hold = HoldId { schedule: id, uuid: new_uuid() };
    let action = Action::Hold { id: hold, seats, customer, ttl };
    api.submit(id, action, keyed, LocationHeader::Location("/api/v1/holds/")).await
}

fn named_customer(check: &mut Validator, text: Option<&str>) -> Option<CustomerId> {
    if text.is_none() {
        check.error("/customer_id", "missing", "is missing; name the customer");
    }
    check.customer("/customer_id", text?)
}

/// The customer of a token. The body may repeat the name, and may name no other customer.
fn own_customer(check: &mut Validator, own: CustomerId, text: Option<&str>) -> Option<CustomerId> {
    if text.is_some_and(|text| text != own.as_str()) {
        check.error("/customer_id", "not_own", "is not the subject of the token; leave it out");
        return None;
    }
    Some(own)
}

/// The browser session of a page: the one that it names, or a new one.
fn session(check: &mut Validator, text: Option<&str>) -> Option<CustomerId> {
    let Some(text) = text else { return Some(CustomerId::session(new_uuid())) };
    let known = CustomerId::parse(text).ok().filter(CustomerId::is_session);
    if known.is_none() {
        let message = "a page may name only a browser session that an answer named; leave it out, and \
                       name the customer when the shop confirms the hold";
        check.error("/customer_id", "not_a_session", message);
    }
    known
}

/// The current holds of a customer. A page may have fewer items than `limit`.
#[utoipa::path(operation_id = "list_holds", get, path = "/api/v1/holds", tag = "customers",
    params(("customer_id" = Option<String>, Query), ("schedule_id" = Option<String>, Query),
        ("limit" = Option<u32>, Query),
        ("cursor" = Option<String>, Query), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<HoldBody>)))]
pub async fn list(api: ApiRequest<ClaimsQuery<HoldId>>) -> HttpResult {
    let customer = api.listed_customer(api.query.customer.clone())?;
    let ClaimsQuery { schedule, page: PageQuery { after, limit }, min_version, .. } = api.query;
    let message = "give the customer whose holds to list";
    let needed = || Problem::parameter_error("customer_id", "missing", message);
    let filter = HoldFilter { customer: customer.ok_or_else(needed)?, schedule, after };
    let page = api.services.bookings.holds(filter, min_version, limit).await?;
    Ok(reply::page::<_, HoldBody>(page))
}

/// One hold.
#[utoipa::path(operation_id = "read_hold", get, path = "/api/v1/holds/{id}", tag = "customers",
    params(("id" = String, Path), ("Hold-Secret" = Option<String>, Header), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = HoldBody)))]
pub async fn read(api: ApiRequest<MinVersion>) -> HttpResult {
    let id = api.own_hold()?;
    let hold = api.services.bookings.hold_of(id, api.customer(), api.query.0).await?;
    reply::found::<_, HoldBody>(hold, "hold")
}

/// Extends the lifetime of a hold; never shortens it.
#[utoipa::path(operation_id = "extend_hold", post, path = "/api/v1/holds/{id}/extend", tag = "customers", request_body = Option<Extension>,
    params(("id" = String, Path), ("Hold-Secret" = Option<String>, Header), ("min_version" = Option<i64>, Query), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 200, body = HoldBody),
        (status = 409, description = "hold_expired, hold_released, hold_confirmed, request_in_progress")))]
pub async fn extend(mut api: ApiRequest<MinVersion>) -> HttpResult {
    let hold = api.own_hold()?;
    let (extension, keyed) = api.optional_json::<Extension>().await?;
    let mut check = Validator::default();
    let ttl = check.ttl(extension.ttl_s, api.services.hold_ttl_max);
    check.finish()?;
    api.submit(hold.schedule, Action::Extend { hold, ttl }, keyed, LocationHeader::None).await
}

/// Adds seats to a hold and removes others, all in one step or not at all. The hold keeps its id, and it ends when it
/// would have ended before. A hold whose last seat is removed is released. A refused change leaves the hold as it was.
#[utoipa::path(operation_id = "change_hold", patch, path = "/api/v1/holds/{id}", tag = "customers", request_body = HoldChange,
    params(("id" = String, Path), ("Hold-Secret" = Option<String>, Header), ("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header),
        ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = HoldBody),
        (status = 204, description = "The last seat was removed, so the hold is released."),
        (status = 409, description = "seats_unavailable, seat_limit_reached, hold_expired, hold_released, hold_confirmed, request_in_progress"),
        (status = 412, description = "hold_changed")))]
pub async fn change(mut api: ApiRequest<MinVersion>) -> HttpResult {
    let hold = api.own_hold()?;
    let version = version_to_match(&api.request)?;
    let (change, keyed) = api.json::<HoldChange>().await?;
    let loaded = api.schedule_of(hold.schedule, "hold").await?;
    let mut check = Validator::default();
    let add = check.seats_if_any("/add", &change.add, &loaded.layout);
    let remove = check.seats_if_any("/remove", &change.remove, &loaded.layout);
    for (index, label) in change.remove.0.0.iter().enumerate() {
        let number = loaded.layout.number(label);
        if number.is_some_and(|number| add.binary_search(&number).is_ok()) {
            let message = format!("seat {label} is in add, too; name it in one of the two");
            check.error(&format!("/remove/{index}"), "duplicate_seat", message);
        }
    }
    if change.add.0.0.is_empty() && change.remove.0.0.is_empty() {
        check.error("/add", "empty", "name at least one seat in add or in remove");
    }
    check.finish()?;
    let action = Action::Change { hold, add, remove, version };
    api.submit(hold.schedule, action, keyed, LocationHeader::None).await
}

/// The version in `If-Match` (RFC 9110 §13.1.1), unless it is absent or `*`.
fn version_to_match(request: &HttpRequest) -> Result<Option<u32>, Problem> {
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let version = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let version = version.and_then(|text| text.parse().ok());
    let invalid = || {
        let message = "must be the version of the hold in quotes, as in \"3\"";
        Problem::parameter("If-Match", message)
    };
    version.map(Some).ok_or_else(invalid)
}

/// Releases a hold.
#[utoipa::path(operation_id = "release_hold", delete, path = "/api/v1/holds/{id}", tag = "customers",
    params(("id" = String, Path), ("Hold-Secret" = Option<String>, Header), ("min_version" = Option<i64>, Query)),
    responses((status = 204, description = "released, or ended before"),
        (status = 409, description = "hold_confirmed")))]
pub async fn release(api: ApiRequest<MinVersion>) -> HttpResult {
    let hold = api.own_hold()?;
    api.submit(hold.schedule, Action::Release { hold }, None, LocationHeader::None).await
}

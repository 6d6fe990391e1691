//! Schedules.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;

use crate::domain::catalogue::{NewSchedule, PlanSource};
use crate::domain::ids::{EventId, InHistory, ScheduleId};
use crate::domain::plan::{InlineSection, SEATS_MAX, SeatPlan};
use crate::domain::rules::{
    CURRENCY, PLAN_ID_MAX, SEATS_PER_BOOKING, SEATS_PER_BOOKING_MAX, ScheduleRules,
};
use crate::domain::whole::optional_whole;
use crate::http::plan_problem;
use crate::http::problem::Problem;
use crate::http::query::{NoParameters, PageQuery};
use crate::http::reply::{self, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{PageBody, ScheduleBody, render_schedule};
use crate::http::schemas::{
    HoldLifetime, NewCurrency, PlanVersionNumber, SeatsPerBooking, SeatsPerCustomer, StoredPlanId,
};
use crate::http::validation::{TimeText, Validator};
use crate::http::version::MinVersion;

use super::plans::SectionBody;

/// The source of the seats: sections, or a stored plan by id.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum SeatPlanField {
    /// A stored plan's newest version.
    #[schema(value_type = StoredPlanId)]
    Id(#[serde(serialize_with = "newest")] String),
    /// A stored plan.
    Stored(StoredPlanField),
    /// Sections of equal rows.
    Inline(InlinePlanField),
}

impl<'de> Deserialize<'de> for SeatPlanField {
    /// `#[serde(untagged)]` is not used: it would lose the pointer of an error inside the plan.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Plan;
        impl<'de> Visitor<'de> for Plan {
            type Value = SeatPlanField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a plan's id, {\"id\", \"version\"} or {\"sections\": [...]}")
            }

            fn visit_str<E>(self, id: &str) -> Result<SeatPlanField, E> {
                Ok(SeatPlanField::Id(id.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SeatPlanField, A::Error> {
                let field = PlanFields::deserialize(MapAccessDeserializer::new(map))?;
                match field {
                    PlanFields { id: Some(id), version, sections: None } => {
                        Ok(SeatPlanField::Stored(StoredPlanField { id, version }))
                    }
                    PlanFields { id: None, version: None, sections: Some(sections) } => {
                        Ok(SeatPlanField::Inline(InlinePlanField { sections }))
                    }
                    _ => {
                        let message = "give either the id of a stored plan, with its version if it is \
                                       not the newest, or sections";
                        Err(serde::de::Error::custom(message))
                    }
                }
            }
        }
        deserializer.deserialize_any(Plan)
    }
}

/// The fields of both forms of a plan.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanFields {
    id: Option<String>,
    #[serde(default, deserialize_with = "optional_whole")]
    version: Option<i32>,
    sections: Option<Vec<InlineSection>>,
}

/// A stored plan.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StoredPlanField {
    /// The plan.
    #[schema(value_type = StoredPlanId)]
    pub id: String,
    /// Its version; the newest if absent.
    #[schema(value_type = Option<PlanVersionNumber>)]
    pub version: Option<i32>,
}

/// Writes the id of a plan like the equivalent [`StoredPlanField`], for the fingerprint of the request.
fn newest<S: Serializer>(id: &str, serializer: S) -> Result<S::Ok, S::Error> {
    StoredPlanField { id: id.to_owned(), version: None }.serialize(serializer)
}

/// A plan made of sections of equal rows: `A` with 2 rows of 3 gives `A-1-1` to `A-2-3`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InlinePlanField {
    /// At least one. All sections together have at most 100,000 seats.
    #[schema(value_type = Vec<SectionBody>, min_items = 1, max_items = 100_000)]
    pub sections: Vec<InlineSection>,
}

/// A new schedule.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewScheduleBody {
    /// When the performance begins.
    pub starts_at: TimeText,
    /// EUR if absent.
    #[schema(value_type = Option<NewCurrency>)]
    pub currency: Option<String>,
    /// On sale immediately if absent.
    pub sales_open_at: Option<TimeText>,
    /// Later than `sales_open_at`; never closes if absent.
    pub sales_close_at: Option<TimeText>,
    /// The most seats of one hold or booking, 10 if absent.
    #[schema(value_type = Option<SeatsPerBooking>)]
    #[serde(default, deserialize_with = "optional_whole")]
    pub max_seats_per_booking: Option<u64>,
    /// The most held and booked seats of one customer; no limit if absent.
    #[schema(value_type = Option<SeatsPerCustomer>)]
    #[serde(default, deserialize_with = "optional_whole")]
    pub max_seats_per_customer: Option<u64>,
    /// The lifetime of a hold whose request sets none, in seconds; the default of the installation if absent.
    #[schema(value_type = Option<HoldLifetime>)]
    #[serde(default, deserialize_with = "optional_whole")]
    pub hold_ttl_s: Option<u64>,
    /// The seats.
    pub seat_plan: SeatPlanField,
}

/// Creates a schedule with all its seats.
#[utoipa::path(operation_id = "create_schedule", post, path = "/api/v1/events/{id}/schedules", tag = "box office",
    params(("id" = String, Path), ("Idempotency-Key" = Option<String>, Header)), request_body = NewScheduleBody,
    responses((status = 201, body = ScheduleBody, headers(("Location" = String)))))]
pub async fn create(mut api: ApiRequest<NoParameters>) -> HttpResult {
    let event: EventId = api.path_id("id", "event")?;
    let hold_ttl = api.services.hold_ttl;
    let hold_ttl_max = api.services.hold_ttl_max;
    let check = move |new| check(event, new, hold_ttl, hold_ttl_max);
    let ((new, source), keyed) = api.large_json(check).await?;
    let once = api.services.catalogue.create_schedule(new, source, keyed, render_schedule).await?;
    reply::once(once, render_schedule, LocationHeader::Location("/api/v1/schedules/"))
}

/// Checks a new schedule. `hold_ttl` is the lifetime of its holds if the body sets none.
fn check(
    event: EventId,
    new: NewScheduleBody,
    hold_ttl: Duration,
    hold_ttl_max: Duration,
) -> Result<(NewSchedule, PlanSource), Problem> {
    let mut check = Validator::default();
    let starts_at = check.time("/starts_at", &new.starts_at);
    let mut time =
        |pointer, text: Option<TimeText>| text.and_then(|text| check.time(pointer, &text));
    let sales_open_at = time("/sales_open_at", new.sales_open_at);
    let sales_close_at = time("/sales_close_at", new.sales_close_at);
    if let (Some(open), Some(close)) = (sales_open_at, sales_close_at)
        && open >= close
    {
        check.error("/sales_close_at", "out_of_range", "must be later than sales_open_at");
    }
    let currency = check.currency("/currency", new.currency.as_deref().unwrap_or(CURRENCY));
    let per_booking = new.max_seats_per_booking.unwrap_or(u64::from(SEATS_PER_BOOKING));
    let per_booking_max = u64::from(SEATS_PER_BOOKING_MAX);
    let per_booking = check.in_range("/max_seats_per_booking", per_booking, per_booking_max);
    let max_seats_per_customer = new
        .max_seats_per_customer
        .and_then(|max| check.in_range("/max_seats_per_customer", max, SEATS_MAX as u64));
    let hold_ttl = match new.hold_ttl_s {
        Some(seconds) => check.seconds("/hold_ttl_s", seconds, hold_ttl_max),
        None => Some(hold_ttl),
    };
    let source = plan_source(&mut check, new.seat_plan);
    let (Some(starts_at), Some(max_seats_per_booking), Some(hold_ttl), Some(currency)) =
        (starts_at, per_booking, hold_ttl, currency)
    else {
        return Err(check.into_problem());
    };
    check.finish()?;
    let rules = ScheduleRules {
        sales_open_at,
        sales_close_at,
        max_seats_per_booking,
        max_seats_per_customer,
        hold_ttl,
        currency,
    };
    Ok((NewSchedule { event, starts_at, rules }, source?))
}

fn plan_source(check: &mut Validator, plan: SeatPlanField) -> Result<PlanSource, Problem> {
    match plan {
        SeatPlanField::Id(id) => {
            check.text("/seat_plan", &id, PLAN_ID_MAX);
            Ok(PlanSource::Stored { id, version: None })
        }
        SeatPlanField::Stored(StoredPlanField { id, version }) => {
            check.text("/seat_plan/id", &id, PLAN_ID_MAX);
            Ok(PlanSource::Stored { id, version })
        }
        SeatPlanField::Inline(InlinePlanField { sections }) => {
            let plan = SeatPlan::from_inline(&sections);
            plan.map(PlanSource::Inline).map_err(|errors| plan_problem(errors, "/seat_plan"))
        }
    }
}

/// One schedule, with the version of its seats and their number in each state.
#[utoipa::path(operation_id = "read_schedule", get, path = "/api/v1/schedules/{id}", tag = "map",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = ScheduleBody)))]
pub async fn read(api: ApiRequest<MinVersion>) -> HttpResult {
    let loaded = api.schedule(api.path_id("id", "schedule")?).await?;
    let fresh = api.in_time(api.services.seat_maps.states(&loaded, api.query.0)).await?;
    let states = fresh.states;
    let body = ScheduleBody {
        version: Some(states.version),
        counts: Some(states.counts.into()),
        ..ScheduleBody::from(loaded.schedule.clone())
    };
    Ok(reply::with_version(reply::with_age(reply::json(&body), fresh.stale), Some(states.version)))
}

/// The schedules of an event in the order of their ids.
#[utoipa::path(operation_id = "list_schedules", get, path = "/api/v1/events/{id}/schedules", tag = "box office",
    params(("id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = PageBody<ScheduleBody>)))]
pub async fn list(api: ApiRequest<PageQuery<InHistory<ScheduleId>>>) -> HttpResult {
    let event: EventId = api.path_id("id", "event")?;
    let PageQuery { after, limit } = api.query;
    let page = api.services.catalogue.schedules(event, after, limit).await?;
    Ok(reply::page::<_, ScheduleBody>(page.ok_or_else(|| Problem::not_found("event"))?))
}

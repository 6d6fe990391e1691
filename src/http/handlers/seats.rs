//! The seat map: the list of seats, whole or filtered, and the packed states.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::ids::{InHistory, ScheduleId};
use crate::domain::seat::status_name;
use crate::http::error_mapping::other_history;
use crate::http::problem::Problem;
use crate::http::query::{Parameters, RawQuery};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::CountsBody;
use crate::http::schemas::{NumberId, PlanVersionNumber, Price, SeatLabel, SeatStatus};
use crate::http::version::MinVersion;
use crate::http::{content_encoding, json, reply};
use crate::seat_map::{Layout, LoadedSchedule, Representation, SeatStates};

/// The most seats of one page.
pub(in crate::http) const SEATS_PAGE_MAX: usize = 1_000;

/// A seat of the map.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapSeat<'a> {
    /// The public name.
    #[schema(value_type = SeatLabel)]
    pub label: &'a str,
    /// The section's name.
    pub section: &'a str,
    /// The row's name.
    pub row: &'a str,
    /// The seat's number in its row.
    pub number: &'a str,
    /// The price.
    #[schema(value_type = Price)]
    pub price: i64,
    /// The state.
    #[schema(value_type = SeatStatus)]
    pub status: &'a str,
}

/// The map.
#[derive(Debug, Serialize, ToSchema)]
pub struct MapBody<'a> {
    /// Its schedule.
    #[schema(value_type = NumberId)]
    pub schedule_id: String,
    /// The version of all its states.
    pub version: i64,
    /// The version of its seat plan, which has the layout.
    #[schema(value_type = PlanVersionNumber)]
    pub plan_version: i32,
    /// The seats, in plan order.
    pub seats: Vec<MapSeat<'a>>,
    /// The `cursor` of the next page; null on the last page, and without `limit`.
    pub next_cursor: Option<String>,
}

/// The states of all seats.
#[derive(Debug, Serialize, ToSchema)]
pub struct AvailabilityBody {
    /// The version of the states.
    pub version: i64,
    /// The version of the schedule's seat plan, which has the layout.
    #[schema(value_type = PlanVersionNumber)]
    pub plan_version: i32,
    /// Seats by state.
    pub counts: CountsBody,
    /// Base64 of two bits per seat in plan order: seat i in byte i/4, bits 2(i mod 4); 0 available, 1 held, 2 booked, 3
    /// blocked.
    pub states: String,
}

/// The query of the list.
#[derive(Debug)]
pub struct SeatsQuery {
    section: Option<String>,
    status: Option<u8>,
    limit: Option<usize>,
    cursor: Option<InHistory<u32>>,
    min_version: i64,
}

impl Parameters for SeatsQuery {
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem> {
        let MinVersion(min_version) = MinVersion::read(raw)?;
        let status = raw.one("status")?.map(|name| status_code(&name)).transpose()?;
        let section = raw.one("section")?;
        let limit = raw.limit(SEATS_PAGE_MAX)?;
        Ok(Self { section, status, limit, cursor: raw.cursor()?, min_version })
    }
}

impl SeatsQuery {
    /// Whether the query selects all seats; all clients share that answer.
    fn is_whole(&self) -> bool {
        let is_filtered = self.section.is_some() || self.status.is_some();
        !is_filtered && self.limit.is_none() && self.cursor.is_none()
    }

    fn selects(&self, seat: &MapSeat<'_>, code: u8) -> bool {
        self.section.as_deref().is_none_or(|section| section == seat.section)
            && self.status.is_none_or(|status| status == code)
    }
}

fn status_code(name: &str) -> Result<u8, Problem> {
    let code = (0..4).find(|code| status_name(*code) == Some(name));
    let message = "status must be available, held, booked or blocked";
    code.ok_or_else(|| Problem::parameter("status", message))
}

/// The seats of a schedule with their states: all of them, unless the query selects some.
#[utoipa::path(operation_id = "list_seats", get, path = "/api/v1/schedules/{id}/seats", tag = "map",
    params(("id" = String, Path), ("section" = Option<String>, Query), ("status" = Option<String>, Query),
        ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query),
        ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = MapBody, headers(("ETag" = String), ("X-Seatlock-Version" = i64))),
        (status = 304, description = "not modified")))]
pub async fn list(api: ApiRequest<SeatsQuery>) -> HttpResult {
    let (id, query): (ScheduleId, _) = (api.path_id("id", "schedule")?, &api.query);
    let loaded = api.schedule(id).await?;
    if query.is_whole() {
        return shared_map(&api, &loaded, Representation::Seats, query.min_version).await;
    }
    let fresh = api.in_time(api.services.seat_maps.states(&loaded, query.min_version)).await?;
    let states = fresh.states;
    if query.cursor.is_some_and(|from| from.history != states.history) {
        return Err(other_history());
    }
    let from = query.cursor.map_or(0, |from| from.at);
    let selected = |seat: &MapSeat<'_>, code| query.selects(seat, code);
    let (seats, next_cursor) = select(&loaded.layout, &states, from, query.limit, selected);
    let version = states.version;
    let plan_version = loaded.schedule.plan.version;
    let body = MapBody { schedule_id: id.to_string(), version, plan_version, seats, next_cursor };
    Ok(reply::with_version(reply::with_age(reply::json(&body), fresh.stale), Some(version)))
}

/// The answer that all clients share in a representation, in the encoding that this client prefers.
async fn shared_map<Q>(
    api: &ApiRequest<Q>,
    loaded: &Arc<LoadedSchedule>,
    representation: Representation,
    min_version: i64,
) -> HttpResult {
    let encoding = content_encoding::negotiate(&api.request);
    let min_version = min_version.max(content_encoding::tagged_version(&api.request));
    let write = match representation {
        Representation::Seats => write_seats,
        Representation::Availability => |loaded: &LoadedSchedule, states: &SeatStates| {
            write_availability(states, loaded.schedule.plan.version)
        },
    };
    let maps = &api.services.seat_maps;
    let variant = (representation, encoding);
    let answer = match maps.cached_answer(loaded, variant, min_version) {
        Some(answer) => answer,
        None => api.in_time(maps.answer(loaded, variant, min_version, write)).await?,
    };
    Ok(reply::map(&api.request, &answer, encoding, api.services.is_public()))
}

fn write_seats(loaded: &LoadedSchedule, states: &SeatStates) -> Vec<u8> {
    let (seats, _) = select(&loaded.layout, states, 0, None, |_, _| true);
    let schedule_id = loaded.schedule.id.to_string();
    let (version, plan_version) = (states.version, loaded.schedule.plan.version);
    let body = MapBody { schedule_id, version, plan_version, seats, next_cursor: None };
    json::write(&body).into_bytes()
}

/// The states as JSON, also for the first event of a stream.
pub(super) fn write_availability(states: &SeatStates, plan_version: i32) -> Vec<u8> {
    let body = AvailabilityBody {
        version: states.version,
        plan_version,
        counts: states.counts.into(),
        states: STANDARD.encode(states.packed()),
    };
    json::write(&body).into_bytes()
}

/// The selected seats from seat number `from` on, at most `page` of them, and the cursor of the next page.
fn select<'a>(
    layout: &'a Layout,
    states: &SeatStates,
    from: u32,
    page: Option<usize>,
    selected: impl Fn(&MapSeat<'_>, u8) -> bool,
) -> (Vec<MapSeat<'a>>, Option<String>) {
    let mut seats = Vec::new();
    for (number, seat) in layout.seats().filter(|(number, _)| number.0 >= from) {
        let code = states.codes.get(number.0 as usize).copied().unwrap_or(3);
        let seat = MapSeat {
            label: seat.label,
            section: seat.section,
            row: seat.row,
            number: seat.number,
            price: seat.price,
            status: status_name(code).unwrap_or("blocked"),
        };
        if !selected(&seat, code) {
            continue;
        }
        if page.is_some_and(|page| seats.len() == page) {
            let next = InHistory { history: states.history, at: number.0 };
            return (seats, Some(next.to_string()));
        }
        seats.push(seat);
    }
    (seats, None)
}

/// The states of all seats, packed, with counts.
#[utoipa::path(operation_id = "read_availability", get, path = "/api/v1/schedules/{id}/availability", tag = "map",
    params(("id" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = AvailabilityBody, headers(("ETag" = String), ("X-Seatlock-Version" = i64))),
        (status = 304, description = "not modified")))]
pub async fn availability(api: ApiRequest<MinVersion>) -> HttpResult {
    let loaded = api.schedule(api.path_id("id", "schedule")?).await?;
    shared_map(&api, &loaded, Representation::Availability, api.query.0).await
}

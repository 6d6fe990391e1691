//! Conversion of database rows to domain values and back.

use std::fmt::Debug;

use std::time::Duration;

use entity::{api_key, api_key_secret, block, booking, event, hold, idempotency, schedule};
use sea_orm::{DbErr, Value};
use uuid::Uuid;

use crate::domain::api_key::origin::Origin;
use crate::domain::api_key::{ApiKey, HashedSecret, KeySecret, Scopes};
use crate::domain::catalogue::{Event, PlanVersion, Schedule};
use crate::domain::claims::{BlockRow, BookingRow, BookingStatus, HoldRow, HoldStatus};
use crate::domain::clock::EpochMs;
use crate::domain::command::RequestKey;
use crate::domain::effect::{RecordedAnswer, Resource};
use crate::domain::ids::{
    BlockId, BookingId, CustomerId, EventId, HoldId, KeyId, ScheduleId, SeatNumber,
};
use crate::domain::rows::{JournalEntry, SeatKey};
use crate::domain::rules::ScheduleRules;
use crate::domain::seat::SeatState;
use crate::store::connection::DbResult;
use crate::store::connection::row_set::RowSet;

/// The error for a row that no release of this program can have written.
pub(crate) fn corrupt(what: &str) -> DbErr {
    DbErr::Type(format!("the database holds an impossible {what}"))
}

/// The limit of a statement that reads one row more than a page has. The additional row shows that more pages follow.
pub(crate) fn more_than(limit: usize) -> Value {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1).into()
}

pub(crate) fn seat_number(number: i32) -> DbResult<SeatNumber> {
    u32::try_from(number).map(SeatNumber).map_err(|_| corrupt("seat number"))
}

/// The column value of a seat number. A plan has at most 100,000 seats, so every number fits.
#[expect(clippy::expect_used, reason = "another number would be another seat")]
pub(crate) fn number_column(number: SeatNumber) -> i32 {
    i32::try_from(number.0).expect("a seat number is below the most seats of a plan")
}

fn count(value: i32) -> DbResult<u32> {
    u32::try_from(value).map_err(|_| corrupt("count"))
}

/// The column value of a number of seats, which is at most that of a plan.
#[expect(clippy::expect_used, reason = "another number would be a wrong count")]
pub(crate) fn count_column<E: Debug>(value: impl TryInto<i32, Error = E>) -> i32 {
    value.try_into().expect("a count is at most the seats of a plan")
}

/// The column value of an HTTP status, which has three digits.
#[expect(clippy::expect_used, reason = "another number would be a wrong status")]
pub(crate) fn status_column(status: u16) -> i16 {
    i16::try_from(status).expect("an HTTP status is below 1,000")
}

/// Seats by their keys, as rows to join with.
pub(crate) fn seat_keys(keys: impl IntoIterator<Item = SeatKey>) -> RowSet<SeatKey> {
    RowSet::of(keys)
        .with("schedule_id", |(schedule, _)| *schedule)
        .with("number", |(_, number)| number_column(*number))
}

/// Claims by their ids, as rows to join with.
pub(crate) fn claim_ids(
    ids: impl IntoIterator<Item = (ScheduleId, Uuid)>,
) -> RowSet<(ScheduleId, Uuid)> {
    RowSet::of(ids).with("schedule_id", |(schedule, _)| *schedule).with("id", |(_, id)| *id)
}

/// Schedules by their ids, as rows to join with.
pub(crate) fn schedule_ids(ids: impl IntoIterator<Item = ScheduleId>) -> RowSet<ScheduleId> {
    RowSet::of(ids).with("id", |id| id.0)
}

/// The column value of a seat list: `[1,2,3]`.
pub(crate) fn seats_column(seats: &[SeatNumber]) -> String {
    let numbers: Vec<String> = seats.iter().map(|seat| seat.0.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

pub(crate) fn seats(text: &str) -> DbResult<Vec<SeatNumber>> {
    let numbers: Vec<i32> = serde_json::from_str(text).map_err(|_| corrupt("seat list"))?;
    numbers.into_iter().map(seat_number).collect()
}

pub(crate) fn customer(text: String) -> DbResult<CustomerId> {
    CustomerId::parse(text).map_err(|_| corrupt("customer"))
}

/// A seat's state from its columns `(state, hold_id, held_until, booking_id, block_id)`.
pub(crate) fn seat_state(
    columns: (i16, Option<Uuid>, Option<i64>, Option<Uuid>, Option<Uuid>),
) -> DbResult<SeatState> {
    match columns {
        (0, None, None, None, None) => Ok(SeatState::Available),
        (1, Some(hold), Some(until), None, None) => {
            Ok(SeatState::Held { hold, until: EpochMs(until) })
        }
        (2, None, None, Some(booking), None) => Ok(SeatState::Booked { booking }),
        (3, None, None, None, Some(block)) => Ok(SeatState::Blocked { block }),
        _ => Err(corrupt("seat state")),
    }
}

/// The column value of a hold's version: the number of its changes, which its life bounds.
pub(crate) fn hold_version_column(version: u32) -> i32 {
    i32::try_from(version).unwrap_or(i32::MAX)
}

pub(crate) fn hold_status_column(status: HoldStatus) -> i16 {
    match status {
        HoldStatus::Held => 0,
        HoldStatus::Confirmed => 1,
        HoldStatus::Released => 2,
        HoldStatus::Expired => 3,
    }
}

fn hold_status(code: i16) -> DbResult<HoldStatus> {
    match code {
        0 => Ok(HoldStatus::Held),
        1 => Ok(HoldStatus::Confirmed),
        2 => Ok(HoldStatus::Released),
        3 => Ok(HoldStatus::Expired),
        _ => Err(corrupt("hold status")),
    }
}

pub(crate) fn hold(row: hold::Model) -> DbResult<HoldRow> {
    let schedule = ScheduleId(row.schedule_id);
    Ok(HoldRow {
        id: HoldId { schedule, uuid: row.id },
        customer: customer(row.customer_id)?,
        seats: seats(&row.seats)?,
        version: count(row.version)?,
        status: hold_status(row.status)?,
        created_at: EpochMs(row.created_at),
        until: EpochMs(row.held_until),
        booking: row.booking_id.map(|uuid| BookingId { schedule, uuid }),
    })
}

pub(crate) fn booking_status_column(status: BookingStatus) -> i16 {
    match status {
        BookingStatus::Confirmed => 0,
        BookingStatus::Cancelled => 1,
    }
}

pub(crate) fn booking(row: booking::Model) -> DbResult<BookingRow> {
    let schedule = ScheduleId(row.schedule_id);
    Ok(BookingRow {
        id: BookingId { schedule, uuid: row.id },
        customer: customer(row.customer_id)?,
        seats: seats(&row.seats)?,
        live_seats: count(row.live_seats)?,
        status: match row.status {
            0 => BookingStatus::Confirmed,
            1 => BookingStatus::Cancelled,
            _ => return Err(corrupt("booking status")),
        },
        hold: row.hold_id.map(|uuid| HoldId { schedule, uuid }),
        created_at: EpochMs(row.created_at),
        cancelled_at: row.cancelled_at.map(EpochMs),
    })
}

pub(crate) fn block(row: block::Model) -> DbResult<BlockRow> {
    Ok(BlockRow {
        id: BlockId { schedule: ScheduleId(row.schedule_id), uuid: row.id },
        seats: seats(&row.seats)?,
        reason: row.reason,
        created_at: EpochMs(row.created_at),
        lifted: row.lifted,
    })
}

pub(crate) fn event(row: event::Model) -> Event {
    Event { id: EventId(row.id), name: row.name, created_at: EpochMs(row.created_at) }
}

pub(crate) fn rules(row: &schedule::Model) -> DbResult<ScheduleRules> {
    let hold_ttl = u64::try_from(row.hold_ttl_ms).map_err(|_| corrupt("hold ttl"))?;
    Ok(ScheduleRules {
        sales_open_at: row.sales_open_at.map(EpochMs),
        sales_close_at: row.sales_close_at.map(EpochMs),
        max_seats_per_booking: count(row.max_seats_per_booking)?,
        max_seats_per_customer: row.max_seats_per_customer.map(count).transpose()?,
        hold_ttl: Duration::from_millis(hold_ttl),
        currency: row.currency.clone(),
    })
}

pub(crate) fn schedule(row: schedule::Model) -> DbResult<Schedule> {
    Ok(Schedule {
        rules: rules(&row)?,
        id: ScheduleId(row.id),
        event: EventId(row.event_id),
        starts_at: EpochMs(row.starts_at),
        plan: PlanVersion { id: row.plan_id, version: row.plan_version },
        seats: count(row.seats)?,
        created_at: EpochMs(row.created_at),
    })
}

/// The column value of a journal row's changes: `[[number,state],[number,1,held_until]]`.
pub(crate) fn journal_column(entry: &JournalEntry) -> String {
    let one = |(number, state): &(SeatNumber, SeatState)| match state {
        SeatState::Held { until, .. } => format!("[{},1,{}]", number.0, until.0),
        _ => format!("[{},{}]", number.0, state.code()),
    };
    let changes: Vec<String> = entry.changes.iter().map(one).collect();
    format!("[{}]", changes.join(","))
}

/// The columns `(kind, resource_id)` of what an answer describes; `(0, "")`, stored as null, if that is unknown.
pub(crate) fn resource_columns(resource: Option<&Resource>) -> (i16, String) {
    let Some(resource) = resource else { return (0, String::new()) };
    let kind = match resource {
        Resource::Nothing => 1,
        Resource::Hold(_) => 2,
        Resource::Booking(_) => 3,
        Resource::Block(_) => 4,
        Resource::Event(_) => 5,
        Resource::Schedule(_) => 6,
        Resource::SeatPlan(plan) => return (7, format!("{}/{}", plan.version, plan.id)),
    };
    (kind, resource.id())
}

fn resource(kind: i16, id: &str) -> Option<Resource> {
    Some(match kind {
        1 => Resource::Nothing,
        2 => Resource::Hold(id.parse().ok()?),
        3 => Resource::Booking(id.parse().ok()?),
        4 => Resource::Block(id.parse().ok()?),
        5 => Resource::Event(id.parse().ok()?),
        6 => Resource::Schedule(id.parse().ok()?),
        7 => {
            let (version, id) = id.split_once('/')?;
            Resource::SeatPlan(PlanVersion { id: id.to_owned(), version: version.parse().ok()? })
        }
        _ => return None,
    })
}

/// Decodes a recorded answer. An older release that replaces an expired answer does not change `kind` and
/// `resource_id`. They are valid only if they were written with this answer: then `described_until` equals its
/// `expires_at`.
pub(crate) fn answer(row: idempotency::Model) -> DbResult<(RequestKey, RecordedAnswer)> {
    let kind = row.kind.filter(|_| row.described_until == Some(row.expires_at));
    let resource = kind.and_then(|kind| resource(kind, row.resource_id.as_deref().unwrap_or("")));
    let status = u16::try_from(row.status).map_err(|_| corrupt("status"))?;
    let request = RequestKey { caller: row.caller, key: row.key };
    Ok((request, RecordedAnswer { status, body: row.body, resource }))
}

/// An API key with its secrets.
pub(crate) fn api_key(row: api_key::Model, secrets: Vec<KeySecret>) -> DbResult<ApiKey> {
    let origins = row.origins.split(' ').filter(|text| !text.is_empty());
    let origins = origins.map(|text| Origin::parse(text).ok_or_else(|| corrupt("origin")));
    Ok(ApiKey {
        id: KeyId(row.id),
        name: row.name,
        kind: row.kind.parse().map_err(|_| corrupt("kind of an API key"))?,
        mode: row.mode.parse().map_err(|_| corrupt("mode of an API key"))?,
        scopes: Scopes::parse(&row.scopes),
        origins: origins.collect::<DbResult<_>>()?,
        created_at: EpochMs(row.created_at),
        expires_at: row.expires_at.map(EpochMs),
        revoked_at: row.revoked_at.map(EpochMs),
        last_used_at: row.last_used_at.map(EpochMs),
        secrets,
    })
}

/// A secret of an API key as it is listed.
pub(crate) fn key_secret(row: &api_key_secret::Model) -> KeySecret {
    KeySecret {
        prefix: row.prefix.clone(),
        created_at: EpochMs(row.created_at),
        ends_at: row.ends_at.map(EpochMs),
    }
}

/// A secret of an API key as it is compared.
pub(crate) fn hashed_secret(row: api_key_secret::Model) -> DbResult<HashedSecret> {
    let byte = |at: usize| u8::from_str_radix(row.hash.get(2 * at..2 * at + 2)?, 16).ok();
    let mut hash = [0; 32];
    for (at, slot) in hash.iter_mut().enumerate() {
        *slot = byte(at).ok_or_else(|| corrupt("hash of an API key"))?;
    }
    Ok(HashedSecret { prefix: row.prefix, hash })
}

//! Rows of the database to values of the domain and back; the only place that knows both forms.

use std::time::Duration;

use entity::{block, booking, event, hold, schedule};
use sea_orm::DbErr;
use uuid::Uuid;

use crate::domain::catalogue::{Event, PlanVersion, Schedule};
use crate::domain::claims::{BlockRow, BookingRow, BookingStatus, HoldRow, HoldStatus};
use crate::domain::clock::EpochMs;
use crate::domain::ids::{BlockId, BookingId, CustomerId, EventId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rows::{JournalEntry, SeatKey};
use crate::domain::rules::ScheduleRules;
use crate::domain::seat::SeatState;

use crate::store::connection::dialect::{Column, RowSet};

/// A row that no version of this program can have written.
pub(crate) fn corrupt(what: &str) -> DbErr {
    DbErr::Type(format!("the database holds an impossible {what}"))
}

pub(crate) fn seat_number(number: i32) -> Result<SeatNumber, DbErr> {
    u32::try_from(number).map(SeatNumber).map_err(|_| corrupt("seat number"))
}

/// The form of a seat number in the database. A plan has at most 100,000 seats, so every number fits.
#[expect(clippy::expect_used, reason = "another number would be another seat")]
pub(crate) fn number_column(number: SeatNumber) -> i32 {
    i32::try_from(number.0).expect("a seat number is below the most seats of a plan")
}

fn count(value: i32) -> Result<u32, DbErr> {
    u32::try_from(value).map_err(|_| corrupt("count"))
}

/// The form of a number of seats in the database; no more than a plan can have.
#[expect(clippy::expect_used, reason = "another number would be a wrong count")]
pub(crate) fn count_column(value: usize) -> i32 {
    i32::try_from(value).expect("a count is at most the seats of a plan")
}

/// Seats by their keys, as rows to join with.
pub(crate) fn seat_keys(keys: impl Iterator<Item = SeatKey> + Clone) -> RowSet {
    let schedules = keys.clone().map(|(schedule, _)| schedule.0).collect();
    let numbers = keys.map(|(_, number)| number_column(number)).collect();
    RowSet::new()
        .with("schedule_id", Column::BigInt(schedules))
        .with("number", Column::Int(numbers))
}

/// Schedules by their ids, as rows to join with.
pub(crate) fn schedule_ids(ids: impl Iterator<Item = ScheduleId>) -> RowSet {
    RowSet::new().with("id", Column::BigInt(ids.map(|id| id.0).collect()))
}

/// A seat list as it is stored: `[1,2,3]`.
pub(crate) fn seats_column(seats: &[SeatNumber]) -> String {
    let numbers: Vec<String> = seats.iter().map(|seat| seat.0.to_string()).collect();
    format!("[{}]", numbers.join(","))
}

pub(crate) fn seats(text: &str) -> Result<Vec<SeatNumber>, DbErr> {
    let numbers: Vec<u32> = serde_json::from_str(text).map_err(|_| corrupt("seat list"))?;
    Ok(numbers.into_iter().map(SeatNumber).collect())
}

pub(crate) fn customer(text: String) -> Result<CustomerId, DbErr> {
    CustomerId::parse(text).map_err(|_| corrupt("customer"))
}

/// A seat's state from its columns `(state, hold_id, held_until, booking_id, block_id)`.
pub(crate) fn seat_state(
    columns: (i16, Option<Uuid>, Option<i64>, Option<Uuid>, Option<Uuid>),
) -> Result<SeatState, DbErr> {
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

pub(crate) fn hold_status_column(status: HoldStatus) -> i16 {
    match status {
        HoldStatus::Held => 0,
        HoldStatus::Confirmed => 1,
        HoldStatus::Released => 2,
        HoldStatus::Expired => 3,
    }
}

fn hold_status(code: i16) -> Result<HoldStatus, DbErr> {
    match code {
        0 => Ok(HoldStatus::Held),
        1 => Ok(HoldStatus::Confirmed),
        2 => Ok(HoldStatus::Released),
        3 => Ok(HoldStatus::Expired),
        _ => Err(corrupt("hold status")),
    }
}

pub(crate) fn hold(row: hold::Model) -> Result<HoldRow, DbErr> {
    let schedule = ScheduleId(row.schedule_id);
    Ok(HoldRow {
        id: HoldId { schedule, uuid: row.id },
        customer: customer(row.customer_id)?,
        seats: seats(&row.seats)?,
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

pub(crate) fn booking(row: booking::Model) -> Result<BookingRow, DbErr> {
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

pub(crate) fn block(row: block::Model) -> Result<BlockRow, DbErr> {
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

pub(crate) fn rules(row: &schedule::Model) -> Result<ScheduleRules, DbErr> {
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

pub(crate) fn schedule(row: schedule::Model) -> Result<Schedule, DbErr> {
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

/// A journal row's changes as they are stored: `[[number,state],[number,1,held_until]]`.
pub(crate) fn journal_column(entry: &JournalEntry) -> String {
    let one = |(number, state): &(SeatNumber, SeatState)| match state {
        SeatState::Held { until, .. } => format!("[{},1,{}]", number.0, until.0),
        _ => format!("[{},{}]", number.0, state.code()),
    };
    let changes: Vec<String> = entry.changes.iter().map(one).collect();
    format!("[{}]", changes.join(","))
}

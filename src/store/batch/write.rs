//! Writes what a batch decided: one statement per table and kind of change, whatever the batch's size.
//!
//! Idempotency keys first, then old claims end before new ones begin, then the seats, then the journal.
//! Every insert is in the order of its unique key. A statement that writes another number of rows than it
//! was given means that the rows were not the ones decided on; nothing of the batch is kept then.

use sea_orm::DbErr;

use crate::domain::claims::{BookingRow, HoldRow};
use crate::domain::clock::EpochMs;
use crate::domain::command::RequestKey;
use crate::domain::decide::Decision;
use crate::domain::effect::{Answer, RecordedAnswer};
use crate::domain::ids::BatchId;
use crate::domain::rows::{BookedSeat, Changes, JournalEntry};
use crate::domain::seat::SeatState;
use crate::store::connection::dialect::{Column, RowSet};
use crate::store::connection::rows;
use crate::store::queries::idempotency;

use crate::store::connection::transaction::Session;

/// Gives an answer the form in which it is recorded under its key.
pub type Renderer = fn(&Answer, &RequestKey) -> RecordedAnswer;

/// Why the changes could not be written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The database says no.
    Database(DbErr),
    /// Another batch has just recorded one of the keys.
    KeyTaken,
    /// This table did not have the rows that were decided on.
    RowCount(&'static str),
}

impl From<DbErr> for WriteError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

pub(crate) async fn write(
    session: &Session<'_>,
    (batch, attempt): (BatchId, i16),
    now: EpochMs,
    decision: &Decision,
    render: Renderer,
) -> Result<(), WriteError> {
    let changes = &decision.changes;
    answers(session, changes, now, render).await?;
    end_claims(session, changes).await?;
    begin_claims(session, changes).await?;
    seats(session, changes).await?;
    journal(session, batch, now, &decision.journal).await?;
    let sql = "INSERT INTO batch (id, attempt, at) VALUES ($1, $2, $3)";
    let values = vec![batch.0.into(), attempt.into(), now.0.into()];
    session.execute(session.dialect.statement(sql, values)).await?;
    Ok(())
}

/// Writes the rows and checks that every one of them was written.
async fn exactly(
    session: &Session<'_>,
    table: &'static str,
    count: usize,
    rows: &RowSet,
    before: &str,
    after: &str,
) -> Result<(), WriteError> {
    let written = session.write(rows, Vec::new(), before, after).await?;
    if written == count as u64 { Ok(()) } else { Err(WriteError::RowCount(table)) }
}

async fn answers(
    session: &Session<'_>,
    changes: &Changes,
    now: EpochMs,
    render: Renderer,
) -> Result<(), WriteError> {
    if changes.answers.is_empty() {
        return Ok(());
    }
    let answers: Vec<idempotency::StoredKey> = changes
        .answers
        .values()
        .map(|new| (new.keyed.clone(), render(&new.answer, &new.keyed.request), new.expires_at))
        .collect();
    if idempotency::insert(session, now, &answers).await? {
        Ok(())
    } else {
        Err(WriteError::KeyTaken)
    }
}

async fn end_claims(session: &Session<'_>, changes: &Changes) -> Result<(), WriteError> {
    if !changes.released_seats.is_empty() {
        let rows = booked_seats(changes.released_seats.values().copied());
        // The last condition is true of live sales. It speaks of both sides, so that PostgreSQL cannot begin
        // with all live sales there are.
        let before = "UPDATE booking_seat SET released_at = r.released_at FROM";
        let after = "WHERE booking_seat.schedule_id = r.schedule_id
             AND booking_seat.number = r.number AND booking_seat.booking_id = r.booking_id
             AND (booking_seat.released_at IS NULL) = (r.released_at IS NOT NULL)";
        let count = changes.released_seats.len();
        exactly(session, "booking_seat", count, &rows, before, after).await?;
    }
    if !changes.holds.is_empty() {
        let before = "UPDATE hold SET status = r.status, held_until = r.held_until,
             booking_id = r.booking_id FROM";
        let after = "WHERE hold.schedule_id = r.schedule_id AND hold.id = r.id";
        let rows = holds(changes.holds.values());
        exactly(session, "hold", changes.holds.len(), &rows, before, after).await?;
    }
    if !changes.bookings.is_empty() {
        let before = "UPDATE booking SET status = r.status, live_seats = r.live_seats,
             cancelled_at = r.cancelled_at FROM";
        let after = "WHERE booking.schedule_id = r.schedule_id AND booking.id = r.id";
        let rows = bookings(changes.bookings.values());
        exactly(session, "booking", changes.bookings.len(), &rows, before, after).await?;
    }
    if !changes.blocks.is_empty() {
        // A block changes in one way only: it is lifted.
        let rows = RowSet::new()
            .with(
                "schedule_id",
                Column::BigInt(changes.blocks.keys().map(|id| id.schedule.0).collect()),
            )
            .with("id", Column::Uuid(changes.blocks.keys().map(|id| id.uuid).collect()));
        let before = "UPDATE block SET lifted = true FROM";
        let after = "WHERE block.schedule_id = r.schedule_id AND block.id = r.id";
        exactly(session, "block", changes.blocks.len(), &rows, before, after).await?;
    }
    Ok(())
}

async fn begin_claims(session: &Session<'_>, changes: &Changes) -> Result<(), WriteError> {
    if !changes.new_holds.is_empty() {
        let before = "INSERT INTO hold (schedule_id, id, customer_id, seats, seat_count, status,
             created_at, held_until, booking_id) SELECT r.schedule_id, r.id, r.customer_id,
             r.seats, r.seat_count, r.status, r.created_at, r.held_until, r.booking_id FROM";
        let rows = holds(changes.new_holds.values());
        exactly(session, "hold", changes.new_holds.len(), &rows, before, "").await?;
    }
    if !changes.new_bookings.is_empty() {
        let before = "INSERT INTO booking (schedule_id, id, customer_id, seats, live_seats,
             status, hold_id, created_at, cancelled_at) SELECT r.schedule_id, r.id,
             r.customer_id, r.seats, r.live_seats, r.status, r.hold_id, r.created_at,
             r.cancelled_at FROM";
        let rows = bookings(changes.new_bookings.values());
        exactly(session, "booking", changes.new_bookings.len(), &rows, before, "").await?;
    }
    if !changes.new_blocks.is_empty() {
        let blocks = || changes.new_blocks.values();
        let rows = RowSet::new()
            .with("schedule_id", Column::BigInt(blocks().map(|b| b.id.schedule.0).collect()))
            .with("id", Column::Uuid(blocks().map(|b| b.id.uuid).collect()))
            .with("seats", Column::Text(blocks().map(|b| rows::seats_column(&b.seats)).collect()))
            .with("reason", Column::Text(blocks().map(|b| b.reason.clone()).collect()))
            .with("lifted", Column::Small(blocks().map(|b| i16::from(b.lifted)).collect()))
            .with("created_at", Column::BigInt(blocks().map(|b| b.created_at.0).collect()));
        let before = "INSERT INTO block (schedule_id, id, seats, reason, lifted, created_at)
             SELECT r.schedule_id, r.id, r.seats, r.reason, r.lifted = 1, r.created_at FROM";
        exactly(session, "block", changes.new_blocks.len(), &rows, before, "").await?;
    }
    if !changes.new_booked_seats.is_empty() {
        let rows = booked_seats(changes.new_booked_seats.values().copied());
        let before = "INSERT INTO booking_seat (schedule_id, number, booking_id, released_at)
             SELECT r.schedule_id, r.number, r.booking_id, r.released_at FROM";
        let count = changes.new_booked_seats.len();
        exactly(session, "booking_seat", count, &rows, before, "").await?;
    }
    Ok(())
}

async fn seats(session: &Session<'_>, changes: &Changes) -> Result<(), WriteError> {
    if changes.seats.is_empty() {
        return Ok(());
    }
    let states = || changes.seats.values().copied();
    let owner =
        |pick: fn(SeatState) -> Option<uuid::Uuid>| Column::MaybeUuid(states().map(pick).collect());
    let until = |state| match state {
        SeatState::Held { until, .. } => Some(until.0),
        _ => None,
    };
    let numbers = changes.seats.keys().map(|(_, number)| rows::number_column(*number));
    let rows = RowSet::new()
        .with("schedule_id", Column::BigInt(changes.seats.keys().map(|(id, _)| id.0).collect()))
        .with("number", Column::Int(numbers.collect()))
        .with("state", Column::Small(states().map(|state| i16::from(state.code())).collect()))
        .with("held_until", Column::MaybeTime(states().map(until).collect()))
        .with(
            "hold_id",
            owner(|state| match state {
                SeatState::Held { hold, .. } => Some(hold),
                _ => None,
            }),
        )
        .with(
            "booking_id",
            owner(|state| match state {
                SeatState::Booked { booking } => Some(booking),
                _ => None,
            }),
        )
        .with(
            "block_id",
            owner(|state| match state {
                SeatState::Blocked { block } => Some(block),
                _ => None,
            }),
        );
    let before = "UPDATE seat SET state = r.state, hold_id = r.hold_id,
         held_until = r.held_until, booking_id = r.booking_id, block_id = r.block_id FROM";
    let after = "WHERE seat.schedule_id = r.schedule_id AND seat.number = r.number";
    exactly(session, "seat", changes.seats.len(), &rows, before, after).await
}

async fn journal(
    session: &Session<'_>,
    batch: BatchId,
    now: EpochMs,
    entries: &[JournalEntry],
) -> Result<(), WriteError> {
    if entries.is_empty() {
        return Ok(());
    }
    let versions = RowSet::new()
        .with("schedule_id", Column::BigInt(entries.iter().map(|e| e.schedule.0).collect()))
        .with("version", Column::BigInt(entries.iter().map(|e| e.version).collect()));
    let rows = versions
        .clone()
        .with("changes", Column::Text(entries.iter().map(rows::journal_column).collect()));
    let statement = rows.statement(
        session.dialect,
        vec![batch.0.into(), now.0.into()],
        "INSERT INTO journal (schedule_id, version, batch_id, at, changes)
         SELECT r.schedule_id, r.version, $1, $2, r.changes FROM",
        "",
    );
    session.execute(statement).await?;
    let before = "UPDATE schedule_version SET version = r.version FROM";
    let after = "WHERE schedule_version.schedule_id = r.schedule_id
         AND schedule_version.version = r.version - 1";
    exactly(session, "schedule_version", entries.len(), &versions, before, after).await
}

fn holds<'a>(holds: impl Iterator<Item = &'a HoldRow> + Clone) -> RowSet {
    let status = |hold: &HoldRow| rows::hold_status_column(hold.status);
    let each = || holds.clone();
    RowSet::new()
        .with("schedule_id", Column::BigInt(each().map(|h| h.id.schedule.0).collect()))
        .with("id", Column::Uuid(each().map(|h| h.id.uuid).collect()))
        .with("customer_id", Column::Text(each().map(|h| h.customer.as_str().into()).collect()))
        .with("seats", Column::Text(each().map(|h| rows::seats_column(&h.seats)).collect()))
        .with(
            "seat_count",
            Column::Int(each().map(|h| rows::count_column(h.seats.len())).collect()),
        )
        .with("status", Column::Small(each().map(status).collect()))
        .with("created_at", Column::BigInt(each().map(|h| h.created_at.0).collect()))
        .with("held_until", Column::BigInt(each().map(|h| h.until.0).collect()))
        .with("booking_id", Column::MaybeUuid(each().map(|h| h.booking.map(|b| b.uuid)).collect()))
}

fn bookings<'a>(bookings: impl Iterator<Item = &'a BookingRow> + Clone) -> RowSet {
    let status = |booking: &BookingRow| rows::booking_status_column(booking.status);
    let live = |booking: &BookingRow| i32::try_from(booking.live_seats).unwrap_or(i32::MAX);
    let each = || bookings.clone();
    RowSet::new()
        .with("schedule_id", Column::BigInt(each().map(|b| b.id.schedule.0).collect()))
        .with("id", Column::Uuid(each().map(|b| b.id.uuid).collect()))
        .with("customer_id", Column::Text(each().map(|b| b.customer.as_str().into()).collect()))
        .with("seats", Column::Text(each().map(|b| rows::seats_column(&b.seats)).collect()))
        .with("live_seats", Column::Int(each().map(live).collect()))
        .with("status", Column::Small(each().map(status).collect()))
        .with("hold_id", Column::MaybeUuid(each().map(|b| b.hold.map(|h| h.uuid)).collect()))
        .with("created_at", Column::BigInt(each().map(|b| b.created_at.0).collect()))
        .with(
            "cancelled_at",
            Column::MaybeTime(each().map(|b| b.cancelled_at.map(|t| t.0)).collect()),
        )
}

fn booked_seats(seats: impl Iterator<Item = BookedSeat> + Clone) -> RowSet {
    let each = || seats.clone();
    RowSet::new()
        .with("schedule_id", Column::BigInt(each().map(|s| s.seat.0.0).collect()))
        .with("number", Column::Int(each().map(|s| rows::number_column(s.seat.1)).collect()))
        .with("booking_id", Column::Uuid(each().map(|s| s.booking).collect()))
        .with(
            "released_at",
            Column::MaybeTime(each().map(|s| s.released_at.map(|t| t.0)).collect()),
        )
}

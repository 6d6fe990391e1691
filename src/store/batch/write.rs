//! Writes what a batch decided: one statement per table and kind of change, whatever the batch's size.
//!
//! The order is: idempotency keys, ends of old claims, new claims, seats, journal. Every insert is in the order of
//! its unique key. If a statement writes another number of rows than it was given, the rows have changed since they
//! were decided on, and the batch is rolled back.

use std::collections::HashMap;

use uuid::Uuid;

use super::recovery::AttemptError;
use crate::domain::answer_codec::AnswerCodec;
use crate::domain::claims::{BookingRow, HoldRow};
use crate::domain::clock::EpochMs;
use crate::domain::command::RequestKey;
use crate::domain::decide::Decision;
use crate::domain::effect::RecordedAnswer;
use crate::domain::ids::BatchId;
use crate::domain::rows::{BookedSeat, Changes, JournalEntry};
use crate::domain::seat::SeatState;
use crate::store::connection::{RowSet, Transaction, rows};
use crate::store::queries::idempotency::{self, NewRecord};

/// The answers that a batch has recorded, rendered as they are sent.
pub(crate) type RenderedAnswers = HashMap<RequestKey, RecordedAnswer>;

/// Writes the changes and returns the rendered answers.
pub(crate) async fn write(
    session: &Transaction,
    batch: BatchId,
    attempt: i16,
    now: EpochMs,
    decision: &Decision,
    codec: &dyn AnswerCodec,
) -> Result<RenderedAnswers, AttemptError> {
    let changes = &decision.changes;
    let answers = answers(session, changes, now, codec).await?;
    end_claims(session, changes).await?;
    begin_claims(session, changes).await?;
    seats(session, changes).await?;
    journal(session, batch, now, &decision.journal).await?;
    let sql = "INSERT INTO batch (id, attempt, at) VALUES ($1, $2, $3)";
    session.execute(sql, vec![batch.0.into(), attempt.into(), now.0.into()]).await?;
    Ok(answers)
}

/// Writes the rows, if there are any, and checks that every one of them was written.
async fn write_all<R>(
    session: &Transaction,
    table: &'static str,
    rows: RowSet<R>,
    before: &str,
    after: &str,
) -> Result<(), AttemptError> {
    if rows.len() == 0 {
        return Ok(());
    }
    let written = session.write(&rows, Vec::new(), before, after).await?;
    if written == rows.len() as u64 { Ok(()) } else { Err(AttemptError::RowCount(table)) }
}

async fn answers(
    session: &Transaction,
    changes: &Changes,
    now: EpochMs,
    codec: &dyn AnswerCodec,
) -> Result<RenderedAnswers, AttemptError> {
    if changes.answers.is_empty() {
        return Ok(RenderedAnswers::new());
    }
    let rendered = changes.answers.values().map(|new| NewRecord {
        answer: codec.render(&new.answer, &new.keyed.request),
        keyed: new.keyed.clone(),
        expires_at: new.expires_at,
    });
    let records: Vec<NewRecord> = rendered.collect();
    if !idempotency::insert(session, now, &records).await? {
        return Err(AttemptError::KeyTaken);
    }
    Ok(records.into_iter().map(|record| (record.keyed.request, record.answer)).collect())
}

async fn end_claims(session: &Transaction, changes: &Changes) -> Result<(), AttemptError> {
    // The last condition is true for live sales. It has columns of both tables, so that PostgreSQL cannot begin with
    // all live sales of the table.
    let before = "UPDATE booking_seat SET released_at = r.released_at FROM";
    let after = "WHERE booking_seat.schedule_id = r.schedule_id
             AND booking_seat.number = r.number AND booking_seat.booking_id = r.booking_id
             AND (booking_seat.released_at IS NULL) = (r.released_at IS NOT NULL)";
    let rows = booked_seats(changes.released_seats.values());
    write_all(session, "booking_seat", rows, before, after).await?;
    let before = "UPDATE hold SET status = r.status, held_until = r.held_until,
             booking_id = r.booking_id FROM";
    let after = "WHERE hold.schedule_id = r.schedule_id AND hold.id = r.id";
    write_all(session, "hold", holds(changes.holds.values()), before, after).await?;
    let before = "UPDATE booking SET status = r.status, live_seats = r.live_seats,
             cancelled_at = r.cancelled_at FROM";
    let after = "WHERE booking.schedule_id = r.schedule_id AND booking.id = r.id";
    write_all(session, "booking", bookings(changes.bookings.values()), before, after).await?;
    // The only change of a block is that it is lifted.
    let rows = rows::claim_ids(changes.blocks.keys().map(|id| (id.schedule, id.uuid)));
    let before = "UPDATE block SET lifted = true FROM";
    let after = "WHERE block.schedule_id = r.schedule_id AND block.id = r.id";
    write_all(session, "block", rows, before, after).await
}

async fn begin_claims(session: &Transaction, changes: &Changes) -> Result<(), AttemptError> {
    let before = "INSERT INTO hold (schedule_id, id, customer_id, seats, seat_count, status,
             created_at, held_until, booking_id) SELECT r.schedule_id, r.id, r.customer_id,
             r.seats, r.seat_count, r.status, r.created_at, r.held_until, r.booking_id FROM";
    write_all(session, "hold", holds(changes.new_holds.values()), before, "").await?;
    let before = "INSERT INTO booking (schedule_id, id, customer_id, seats, live_seats,
             status, hold_id, created_at, cancelled_at) SELECT r.schedule_id, r.id,
             r.customer_id, r.seats, r.live_seats, r.status, r.hold_id, r.created_at,
             r.cancelled_at FROM";
    write_all(session, "booking", bookings(changes.new_bookings.values()), before, "").await?;
    let rows = RowSet::of(changes.new_blocks.values())
        .with("schedule_id", |block| block.id.schedule.0)
        .with("id", |block| block.id.uuid)
        .with("seats", |block| rows::seats_column(&block.seats))
        .with("reason", |block| block.reason.clone())
        .with("lifted", |block| i16::from(block.lifted))
        .with("created_at", |block| block.created_at.0);
    let before = "INSERT INTO block (schedule_id, id, seats, reason, lifted, created_at)
             SELECT r.schedule_id, r.id, r.seats, r.reason, r.lifted = 1, r.created_at FROM";
    write_all(session, "block", rows, before, "").await?;
    let before = "INSERT INTO booking_seat (schedule_id, number, booking_id, released_at)
             SELECT r.schedule_id, r.number, r.booking_id, r.released_at FROM";
    let rows = booked_seats(changes.new_booked_seats.values());
    write_all(session, "booking_seat", rows, before, "").await
}

async fn seats(session: &Transaction, changes: &Changes) -> Result<(), AttemptError> {
    let rows = RowSet::of(&changes.seats)
        .with("schedule_id", |((schedule, _), _)| schedule.0)
        .with("number", |((_, number), _)| rows::number_column(*number))
        .with("state", |(_, state)| i16::from(state.code()))
        .with("held_until", |(_, state)| match state {
            SeatState::Held { until, .. } => Some(until.0),
            _ => None,
        })
        .with("hold_id", |(_, state)| match state {
            SeatState::Held { hold, .. } => Some(*hold),
            _ => None,
        })
        .with("booking_id", |(_, state)| match state {
            SeatState::Booked { booking } => Some(*booking),
            _ => None,
        })
        .with("block_id", |(_, state)| match state {
            SeatState::Blocked { block } => Some(*block),
            _ => None::<Uuid>,
        });
    let before = "UPDATE seat SET state = r.state, hold_id = r.hold_id,
         held_until = r.held_until, booking_id = r.booking_id, block_id = r.block_id FROM";
    let after = "WHERE seat.schedule_id = r.schedule_id AND seat.number = r.number";
    write_all(session, "seat", rows, before, after).await
}

async fn journal(
    session: &Transaction,
    batch: BatchId,
    now: EpochMs,
    entries: &[JournalEntry],
) -> Result<(), AttemptError> {
    if entries.is_empty() {
        return Ok(());
    }
    let versions = RowSet::of(entries)
        .with("schedule_id", |entry| entry.schedule.0)
        .with("version", |entry| entry.version);
    let rows = versions.clone().with("changes", |entry| rows::journal_column(entry));
    let before = "INSERT INTO journal (schedule_id, version, batch_id, at, changes)
         SELECT r.schedule_id, r.version, $1, $2, r.changes FROM";
    session.write(&rows, vec![batch.0.into(), now.0.into()], before, "").await?;
    let before = "UPDATE schedule_version SET version = r.version FROM";
    let after = "WHERE schedule_version.schedule_id = r.schedule_id
         AND schedule_version.version = r.version - 1";
    write_all(session, "schedule_version", versions, before, after).await
}

fn holds<'a>(holds: impl Iterator<Item = &'a HoldRow>) -> RowSet<&'a HoldRow> {
    RowSet::of(holds)
        .with("schedule_id", |hold| hold.id.schedule.0)
        .with("id", |hold| hold.id.uuid)
        .with("customer_id", |hold| hold.customer.as_str().to_owned())
        .with("seats", |hold| rows::seats_column(&hold.seats))
        .with("seat_count", |hold| rows::count_column(hold.seats.len()))
        .with("status", |hold| rows::hold_status_column(hold.status))
        .with("created_at", |hold| hold.created_at.0)
        .with("held_until", |hold| hold.until.0)
        .with("booking_id", |hold| hold.booking.map(|booking| booking.uuid))
}

fn bookings<'a>(bookings: impl Iterator<Item = &'a BookingRow>) -> RowSet<&'a BookingRow> {
    RowSet::of(bookings)
        .with("schedule_id", |booking| booking.id.schedule.0)
        .with("id", |booking| booking.id.uuid)
        .with("customer_id", |booking| booking.customer.as_str().to_owned())
        .with("seats", |booking| rows::seats_column(&booking.seats))
        .with("live_seats", |booking| rows::count_column(booking.live_seats))
        .with("status", |booking| rows::booking_status_column(booking.status))
        .with("hold_id", |booking| booking.hold.map(|hold| hold.uuid))
        .with("created_at", |booking| booking.created_at.0)
        .with("cancelled_at", |booking| booking.cancelled_at.map(|time| time.0))
}

fn booked_seats<'a>(seats: impl Iterator<Item = &'a BookedSeat>) -> RowSet<&'a BookedSeat> {
    RowSet::of(seats)
        .with("schedule_id", |seat| seat.seat.0.0)
        .with("number", |seat| rows::number_column(seat.seat.1))
        .with("booking_id", |seat| seat.booking)
        .with("released_at", |seat| seat.released_at.map(|time| time.0))
}

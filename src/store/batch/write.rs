//! Writes what a batch decided, whatever its size: on PostgreSQL in one statement.
//!
//! Every insert is in the order of its unique key. If another number of rows is written than was given, the rows have
//! changed since they were decided on, and the batch is rolled back.

use std::collections::HashMap;

use sea_orm::Value;
use uuid::Uuid;

use super::recovery::AttemptError;
use crate::domain::answer_codec::AnswerCodec;
use crate::domain::claims::{BookingRow, HoldRow};
use crate::domain::clock::EpochMs;
use crate::domain::command::RequestKey;
use crate::domain::decide::Decision;
use crate::domain::effect::RecordedAnswer;
use crate::domain::ids::{BatchId, ScheduleId};
use crate::domain::rows::{BookedSeat, Changes, JournalEntry};
use crate::domain::seat::SeatState;
use crate::store::connection::{Dialect, RowSet, Transaction, Writes, claim_events, rows};
use crate::store::queries::idempotency::{self, NewRecord};

/// The answers that a batch has recorded, rendered as they are sent.
pub(crate) type RenderedAnswers = HashMap<RequestKey, RecordedAnswer>;

/// The parameters that all parts of the statement share: `$1` is the time now, `$2` the batch, `$3` the number of the run.
fn shared(batch: BatchId, attempt: i16, now: EpochMs) -> Vec<Value> {
    vec![now.0.into(), batch.0.into(), attempt.into()]
}

/// Writes the changes and returns the rendered answers. `schedule` is that of the batch, [`ScheduleId::NONE`] if there are
/// several.
pub(crate) async fn write(
    session: &Transaction,
    batch: BatchId,
    attempt: i16,
    (now, schedule): (EpochMs, ScheduleId),
    decision: &Decision,
    codec: &dyn AnswerCodec,
) -> Result<RenderedAnswers, AttemptError> {
    let changes = &decision.changes;
    let records = records(changes, codec);
    let mut releases = Writes::new(Vec::new());
    let mut writes = Writes::new(shared(batch, attempt, now));
    let (before, after) = idempotency::record(session.dialect);
    writes.add(KEYS, idempotency::record_rows(&records), before, after);
    // A seat may be released and booked again in one batch, and has at most one live booking.
    let resold = !changes.new_booked_seats.is_empty();
    let dialect = session.dialect;
    release_seats(dialect, if resold { &mut releases } else { &mut writes }, changes);
    end_claims(dialect, &mut writes, changes);
    begin_claims(&mut writes, changes);
    seats(dialect, &mut writes, changes);
    journal(dialect, &mut writes, decision);
    let rows = RowSet::of([batch]).with("id", |batch| batch.0).with("schedule_id", |_| schedule);
    let before =
        "INSERT INTO batch (id, schedule_id, attempt, at) SELECT r.id, r.schedule_id, $3, $1 FROM";
    writes.add("batch", rows, before, "");
    for writes in [releases, writes] {
        match session.write_all(writes).await? {
            None => {}
            Some(KEYS) => return Err(AttemptError::KeyTaken),
            Some(table) => return Err(AttemptError::RowCount(table)),
        }
    }
    Ok(records.into_iter().map(|record| (record.keyed.request, record.answer)).collect())
}

const KEYS: &str = "idempotency";

/// The new answers, rendered.
fn records(changes: &Changes, codec: &dyn AnswerCodec) -> Vec<NewRecord> {
    let rendered = changes.answers.values().map(|new| NewRecord {
        schedule: new.schedule,
        answer: codec.render(&new.answer, &new.keyed.request),
        keyed: new.keyed.clone(),
        expires_at: new.expires_at,
    });
    rendered.collect()
}

/// The condition that a sale, which the row `r` releases, is live. For PostgreSQL it has the last part of the key of the
/// index `booking_seat_live`, by which the live sale of a seat is found among its earlier ones. It has a column of `r`,
/// too: otherwise PostgreSQL may begin with all live sales of the table.
fn is_live(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres | Dialect::Citus => {
            "(CASE WHEN booking_seat.released_at IS NULL
                 THEN '00000000-0000-0000-0000-000000000000' ELSE booking_seat.booking_id END)
             = (CASE WHEN r.released_at IS NULL
                 THEN r.booking_id ELSE '00000000-0000-0000-0000-000000000000' END)"
        }
        Dialect::Sqlite => "booking_seat.released_at IS NULL",
    }
}

fn release_seats(dialect: Dialect, writes: &mut Writes, changes: &Changes) {
    let before = "UPDATE booking_seat SET released_at = r.released_at FROM";
    let after = format!(
        "WHERE {} AND booking_seat.booking_id = r.booking_id AND {}",
        dialect.key("booking_seat", &["schedule_id", "number"]),
        is_live(dialect)
    );
    let rows = booked_seats(changes.released_seats.values());
    writes.add("booking_seat", rows, before, after);
}

fn end_claims(dialect: Dialect, writes: &mut Writes, changes: &Changes) {
    let rows = hold_keys(changes.holds.values())
        .with("seats", |hold| rows::seats_column(&hold.seats))
        .with("seat_count", |hold| rows::count_column(hold.seats.len()))
        .with("version", |hold| rows::hold_version_column(hold.version))
        .with("status", |hold| rows::hold_status_column(hold.status))
        .with("held_until", |hold| hold.until.0)
        .with("booking_id", |hold| hold.booking.map(|booking| booking.uuid));
    let before = "UPDATE hold SET status = r.status, held_until = r.held_until,
             booking_id = r.booking_id, seats = r.seats, seat_count = r.seat_count,
             version = r.version FROM";
    let after = format!("WHERE {}", dialect.key("hold", &["schedule_id", "id"]));
    writes.add("hold", rows, before, after);
    let rows = booking_keys(changes.bookings.values())
        .with("live_seats", |booking| rows::count_column(booking.live_seats))
        .with("status", |booking| rows::booking_status_column(booking.status))
        .with("cancelled_at", |booking| booking.cancelled_at.map(|time| time.0));
    let before = "UPDATE booking SET status = r.status, live_seats = r.live_seats,
             cancelled_at = r.cancelled_at FROM";
    let after = format!("WHERE {}", dialect.key("booking", &["schedule_id", "id"]));
    writes.add("booking", rows, before, after);
    // The only change of a block is that it is lifted.
    let rows = rows::claim_ids(changes.blocks.keys().map(|id| (id.schedule, id.uuid)));
    let before = "UPDATE block SET lifted = true FROM";
    let after = format!("WHERE {}", dialect.key("block", &["schedule_id", "id"]));
    writes.add("block", rows, before, after);
}

fn begin_claims(writes: &mut Writes, changes: &Changes) {
    let before = "INSERT INTO hold (schedule_id, id, customer_id, seats, seat_count, version, status,
             created_at, held_until, booking_id) SELECT r.schedule_id, r.id, r.customer_id,
             r.seats, r.seat_count, r.version, r.status, r.created_at, r.held_until, r.booking_id FROM";
    writes.add("hold", new_holds(changes.new_holds.values()), before, "");
    let before = "INSERT INTO booking (schedule_id, id, customer_id, seats, live_seats,
             status, hold_id, created_at, cancelled_at) SELECT r.schedule_id, r.id,
             r.customer_id, r.seats, r.live_seats, r.status, r.hold_id, r.created_at,
             r.cancelled_at FROM";
    writes.add("booking", new_bookings(changes.new_bookings.values()), before, "");
    let rows = RowSet::of(changes.new_blocks.values())
        .with("schedule_id", |block| block.id.schedule)
        .with("id", |block| block.id.uuid)
        .with("seats", |block| rows::seats_column(&block.seats))
        .with("reason", |block| block.reason.clone())
        .with("lifted", |block| i16::from(block.lifted))
        .with("created_at", |block| block.created_at.0);
    let before = "INSERT INTO block (schedule_id, id, seats, reason, lifted, created_at)
             SELECT r.schedule_id, r.id, r.seats, r.reason, r.lifted = 1, r.created_at FROM";
    writes.add("block", rows, before, "");
    let before = "INSERT INTO booking_seat (schedule_id, number, booking_id, released_at)
             SELECT r.schedule_id, r.number, r.booking_id, r.released_at FROM";
    let rows = booked_seats(changes.new_booked_seats.values());
    writes.add("booking_seat", rows, before, "");
}

fn seats(dialect: Dialect, writes: &mut Writes, changes: &Changes) {
    let rows = RowSet::of(&changes.seats)
        .with("schedule_id", |((schedule, _), _)| *schedule)
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
    let after = format!("WHERE {}", dialect.key("seat", &["schedule_id", "number"]));
    writes.add("seat", rows, before, after);
}

fn journal(dialect: Dialect, writes: &mut Writes, decision: &Decision) {
    let versions = RowSet::of(&decision.journal)
        .with("schedule_id", |entry| entry.schedule)
        .with("version", |entry| entry.version);
    let events = |entry: &&JournalEntry| {
        let events = decision.events.get(&entry.schedule).map_or(&[][..], Vec::as_slice);
        claim_events::column(events)
    };
    let rows = versions
        .clone()
        .with("changes", |entry| rows::journal_column(entry))
        .with("events", events);
    let before = "INSERT INTO journal (schedule_id, version, batch_id, at, changes, events)
         SELECT r.schedule_id, r.version, $2, $1, r.changes, r.events FROM";
    writes.add("journal", rows, before, "");
    let before = "UPDATE schedule_version SET version = r.version FROM";
    let after = format!(
        "WHERE {} AND schedule_version.version = r.version - 1",
        dialect.key("schedule_version", &["schedule_id"])
    );
    writes.add("schedule_version", versions, before, after);
}

fn hold_keys<'a>(holds: impl Iterator<Item = &'a HoldRow>) -> RowSet<&'a HoldRow> {
    RowSet::of(holds).with("schedule_id", |hold| hold.id.schedule).with("id", |hold| hold.id.uuid)
}

fn new_holds<'a>(holds: impl Iterator<Item = &'a HoldRow>) -> RowSet<&'a HoldRow> {
    hold_keys(holds)
        .with("customer_id", |hold| hold.customer.as_str().to_owned())
        .with("seats", |hold| rows::seats_column(&hold.seats))
        .with("seat_count", |hold| rows::count_column(hold.seats.len()))
        .with("version", |hold| rows::hold_version_column(hold.version))
        .with("status", |hold| rows::hold_status_column(hold.status))
        .with("created_at", |hold| hold.created_at.0)
        .with("held_until", |hold| hold.until.0)
        .with("booking_id", |hold| hold.booking.map(|booking| booking.uuid))
}

fn booking_keys<'a>(bookings: impl Iterator<Item = &'a BookingRow>) -> RowSet<&'a BookingRow> {
    RowSet::of(bookings)
        .with("schedule_id", |booking| booking.id.schedule)
        .with("id", |booking| booking.id.uuid)
}

fn new_bookings<'a>(bookings: impl Iterator<Item = &'a BookingRow>) -> RowSet<&'a BookingRow> {
    booking_keys(bookings)
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
        .with("schedule_id", |seat| seat.seat.0)
        .with("number", |seat| rows::number_column(seat.seat.1))
        .with("booking_id", |seat| seat.booking)
        .with("released_at", |seat| seat.released_at.map(|time| time.0))
}

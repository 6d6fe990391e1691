//! The rows that a batch decides on, and its changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use uuid::Uuid;

use super::claims::{BlockRow, BookingRow, HoldRow, HoldStatus};
use super::clock::{EpochMs, Outage, hold_end};
use super::command::{Keyed, RequestKey};
use super::effect::{Answer, Effect, RecordedAnswer};
use super::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};
use super::rejection::Rejection;
use super::rules::ScheduleRules;
use super::seat::{SeatRow, SeatState};

/// The key of a seat.
pub type SeatKey = (ScheduleId, SeatNumber);

/// A schedule as the transaction read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleRow {
    /// The version its seats are at.
    pub version: i64,
    /// Its rules.
    pub rules: ScheduleRules,
}

/// The answer of an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KnownAnswer {
    /// Recorded by an earlier batch.
    Recorded(RecordedAnswer),
    /// Given earlier in this batch.
    Given(Box<Effect>),
    /// A request through the queue that was refused earlier in this batch.
    Refused(Rejection),
}

/// A customer's live seats in one schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CustomerSeats {
    /// Seats in bookings.
    pub booked: u32,
    /// Holds in status `held`, expired or not: uuid, stored end and number of seats.
    pub holds: Vec<(Uuid, EpochMs, u32)>,
}

/// Everything that a batch reads: locked rows, and rows that are read after the locks are taken.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The batch's schedules; a command for an absent schedule is refused.
    pub schedules: BTreeMap<ScheduleId, ScheduleRow>,
    /// All seats that any command names, directly or through a hold, booking or block.
    pub seats: HashMap<SeatKey, SeatRow>,
    /// The holds named.
    pub holds: HashMap<HoldId, HoldRow>,
    /// The customers of other holds that have seats of the batch. They are read without a lock: the customer of
    /// a hold never changes.
    pub owners: HashMap<HoldId, CustomerId>,
    /// The bookings named, and those that named holds became.
    pub bookings: HashMap<BookingId, BookingRow>,
    /// The blocks named.
    pub blocks: HashMap<BlockId, BlockRow>,
    /// The live seats of customers, in schedules with a limit.
    pub customers: HashMap<(ScheduleId, CustomerId), CustomerSeats>,
    /// The fingerprints and answers recorded under the batch's keys; without expired ones.
    pub answers: HashMap<RequestKey, (String, KnownAnswer)>,
    /// Recorded outages, in order of their beginning.
    pub outages: Vec<Outage>,
}

/// A row of `booking_seat` in its final form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BookedSeat {
    /// The seat.
    pub seat: SeatKey,
    /// Its booking.
    pub booking: Uuid,
    /// When the seat was released, if it was.
    pub released_at: Option<EpochMs>,
}

/// The journal row of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalEntry {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The version these changes lead to.
    pub version: i64,
    /// Every seat written, ascending, with its state at that version.
    pub changes: Vec<(SeatNumber, SeatState)>,
}

/// An answer to record under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAnswer {
    /// The schedule of the request.
    pub schedule: ScheduleId,
    /// The key, and the fingerprint of the request.
    pub keyed: Keyed,
    /// The answer to render and record.
    pub answer: Answer,
    /// When it is deleted.
    pub expires_at: EpochMs,
}

/// The rows that a batch writes, each in its final form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Seats written, with their final state.
    pub seats: BTreeMap<SeatKey, SeatState>,
    /// Holds that did not exist before.
    pub new_holds: BTreeMap<HoldId, HoldRow>,
    /// Holds that existed before.
    pub holds: BTreeMap<HoldId, HoldRow>,
    /// Bookings that did not exist before.
    pub new_bookings: BTreeMap<BookingId, BookingRow>,
    /// Bookings that existed before.
    pub bookings: BTreeMap<BookingId, BookingRow>,
    /// Blocks that did not exist before.
    pub new_blocks: BTreeMap<BlockId, BlockRow>,
    /// Blocks that existed before.
    pub blocks: BTreeMap<BlockId, BlockRow>,
    /// Sales of seats that began before this batch and end with it.
    pub released_seats: BTreeMap<SeatKey, BookedSeat>,
    /// Sales of seats that begin with this batch. Some of them may also end with it.
    pub new_booked_seats: BTreeMap<(SeatKey, Uuid), BookedSeat>,
    /// Answers to record, by key.
    pub answers: BTreeMap<RequestKey, NewAnswer>,
    /// Seats taken by a locked command of this batch, to detect failed seat locks.
    pub taken_under_lock: BTreeSet<SeatKey>,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
            && self.new_holds.is_empty()
            && self.holds.is_empty()
            && self.new_bookings.is_empty()
            && self.bookings.is_empty()
            && self.new_blocks.is_empty()
            && self.blocks.is_empty()
            && self.answers.is_empty()
    }
}

impl CustomerSeats {
    /// Seats owned at `now`, in bookings and active holds.
    #[must_use]
    pub fn owned(&self, now: EpochMs, outages: &[Outage], grace: Duration) -> u32 {
        let is_active = |until: EpochMs| hold_end(until, outages, grace) > now;
        let held: u32 =
            self.holds.iter().filter(|(_, until, _)| is_active(*until)).map(|(_, _, n)| n).sum();
        self.booked.saturating_add(held)
    }

    /// Counts a hold again by its new row. A hold that has ended no longer counts.
    pub fn recount_hold(&mut self, hold: &HoldRow) {
        self.holds.retain(|(uuid, _, _)| *uuid != hold.id.uuid);
        if hold.status == HoldStatus::Held {
            let seats = u32::try_from(hold.seats.len()).unwrap_or(u32::MAX);
            self.holds.push((hold.id.uuid, hold.until, seats));
        }
    }
}

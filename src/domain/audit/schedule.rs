//! The audit of one schedule. Its seats are kept, a hundred thousand at most; its claims and its journal
//! pass by page after page.

use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::ids::{BookingId, ScheduleId, SeatNumber};
use crate::domain::rows::BookedSeat;
use crate::domain::seat::{SeatRow, SeatState};

use super::replay::{JournalledState, Replay, told};
use super::{Invariant, Subject, Violation};

/// What is known of a schedule before its seats are read.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFacts {
    /// Which.
    pub id: ScheduleId,
    /// How many seats it was created with.
    pub seats: u32,
    /// The version row; `None` if it is missing.
    pub version: Option<i64>,
    /// The most seats of one hold or booking.
    pub max_seats_per_booking: u32,
    /// The database's clock, read after the snapshot was taken.
    pub now: EpochMs,
}

/// An entry of the journal, and whether its batch is on record; `None` if the record may have been purged.
#[derive(Debug, Clone)]
pub struct JournalFact {
    /// The version it leads to.
    pub version: i64,
    /// Whether the batch is known.
    pub has_batch: Option<bool>,
    /// What it says.
    pub changes: Vec<(SeatNumber, SeatState)>,
}

/// The audit of one schedule in progress. Show it the seats first, then everything else in any order,
/// then [`finish`](Self::finish).
pub struct ScheduleAudit {
    pub(super) facts: ScheduleFacts,
    pub(super) seats: Vec<Seat>,
    replay: Replay,
    found: Vec<Violation>,
    /// Sales shown, and those of them that their bookings list.
    sales: u64,
    sales_listed: u64,
}

pub(super) struct Seat {
    label: String,
    pub(super) state: SeatState,
    /// Live sales seen.
    sales: u32,
    /// Whether the claim that it names was seen, alive and listing it.
    explained: bool,
}

impl ScheduleAudit {
    /// Begins.
    #[must_use]
    pub fn new(facts: ScheduleFacts) -> Self {
        let replay = Replay::new(facts.seats as usize);
        Self { facts, seats: Vec::new(), replay, found: Vec::new(), sales: 0, sales_listed: 0 }
    }

    /// What was found since this was last asked.
    pub fn take_found(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.found)
    }

    /// How many seats were shown.
    #[must_use]
    pub fn seat_count(&self) -> usize {
        self.seats.len()
    }

    /// Takes the next seat, in the order of the numbers.
    pub fn seat(&mut self, number: SeatNumber, row: SeatRow) {
        let next = self.seats.len();
        if number.0 as usize != next {
            self.note(
                Invariant::ScheduleIsComplete,
                Subject::Seat(number, row.label.clone()),
                format!("seat number {next} next"),
                format!("number {}", number.0),
            );
        }
        self.seats.push(Seat { label: row.label, state: row.state, sales: 0, explained: false });
    }

    /// Takes a sale.
    pub fn sale(&mut self, sale: BookedSeat) {
        self.sales += 1;
        let number = sale.seat.1;
        let booking = BookingId { schedule: self.facts.id, uuid: sale.booking };
        if sale.released_at.is_some() {
            return;
        }
        let Some(seat) = self.seats.get_mut(number.0 as usize) else {
            let expected = "a seat of the schedule".to_owned();
            let found = format!("none of this number, sold to {booking}");
            self.seat_note(Invariant::BookingHasItsSeats, number, expected, found);
            return;
        };
        seat.sales += 1;
        let (sales, state) = (seat.sales, seat.state);
        if sales > 1 {
            let found = format!("{sales}, one of them to {booking}");
            let expected = "one live sale at most".to_owned();
            self.seat_note(Invariant::SeatIsSoldOnce, number, expected, found);
        }
        if !state.names_booking(sale.booking) {
            let expected = format!("the seat sold to {booking}, as its sale says");
            let found = self.describe(state);
            self.seat_note(Invariant::BookingHasItsSeats, number, expected, found);
        }
    }

    /// How many sales are listed by no booking, once all sales and bookings were shown. The reader
    /// of the rows looks for them only if there are any.
    #[must_use]
    pub fn unlisted_sales(&self) -> u64 {
        self.sales.saturating_sub(self.sales_listed)
    }

    pub(super) fn count_listed(&mut self, sales: usize) {
        self.sales_listed += sales as u64;
    }

    /// Takes a sale that its booking does not list, and whether there is such a booking.
    pub fn unlisted_sale(&mut self, (number, booking): (SeatNumber, Uuid), exists: bool) {
        let booking = BookingId { schedule: self.facts.id, uuid: booking };
        let expected = format!("booking {booking} to list it");
        let found = if exists { "a booking that does not list it" } else { "no such booking" };
        self.seat_note(Invariant::BookingHasItsSeats, number, expected, found.to_owned());
    }

    /// Takes the next entry of the journal, in the order of the versions.
    pub fn journal(&mut self, entry: &JournalFact) {
        let before = self.replay.version();
        let subject = || Subject::Journal(entry.version);
        let follows = self.replay.take(entry.version, &entry.changes);
        self.require(follows, Invariant::JournalIsGapless, subject, || {
            (format!("version {} next", before + 1), format!("version {}", entry.version))
        });
        let known = entry.has_batch != Some(false);
        self.require(known, Invariant::JournalHasItsBatch, subject, || {
            ("its batch on record".to_owned(), "no such batch".to_owned())
        });
    }

    /// Compares what has passed by with the seats.
    pub fn finish(&mut self) {
        let count = self.seats.len();
        let seats = self.facts.seats;
        let complete = count == seats as usize;
        let schedule = || Subject::Schedule;
        self.require(complete, Invariant::ScheduleIsComplete, schedule, || {
            (format!("{seats} seats"), count.to_string())
        });
        self.finish_versions();
        for number in 0..count {
            let Some(seat) = self.seats.get(number) else { continue };
            let (state, explained) = (seat.state, seat.explained);
            let number = SeatNumber(u32::try_from(number).unwrap_or(u32::MAX));
            if !explained && state != SeatState::Available {
                let expected = "a claim that lives and lists it".to_owned();
                let found = self.describe(state);
                self.seat_note(Invariant::SeatHasItsClaim, number, expected, found);
            }
            let replayed = self.replay.state(number.0 as usize);
            if let Some(replayed) = replayed.filter(|replayed| *replayed != told(state)) {
                let (expected, found) = (in_words(replayed), in_words(told(state)));
                let expected = format!("{expected}, as the journal says");
                self.seat_note(Invariant::JournalAddsUp, number, expected, found);
            }
        }
    }

    fn finish_versions(&mut self) {
        let schedule = || Subject::Schedule;
        let Some(version) = self.facts.version else {
            let (expected, found) = ("a version row".to_owned(), "none".to_owned());
            self.note(Invariant::ScheduleIsComplete, schedule(), expected, found);
            return;
        };
        let last = self.replay.version();
        let expected = format!("a version of {last} or above, where the journal ends");
        let found = format!("version {version}");
        if version < last {
            self.note(Invariant::VersionIsTheNewest, schedule(), expected, found);
        } else if !self.replay.is_followed_by(version) {
            let expected = format!("the journal to lead to version {version}");
            let found = format!("its end at {last}");
            self.note(Invariant::JournalIsGapless, schedule(), expected, found);
        }
    }

    pub(super) fn explain(&mut self, number: SeatNumber, names: impl Fn(SeatState) -> bool) {
        if let Some(seat) = self.seats.get_mut(number.0 as usize) {
            seat.explained |= names(seat.state);
        }
    }

    pub(super) fn describe(&self, state: SeatState) -> String {
        let scope = self.facts.id;
        match state {
            SeatState::Available => "available".to_owned(),
            SeatState::Held { hold, until } => {
                format!("held by {scope}-{} until {}", hold.simple(), until.0)
            }
            SeatState::Booked { booking } => format!("booked by {scope}-{}", booking.simple()),
            SeatState::Blocked { block } => format!("blocked by {scope}-{}", block.simple()),
        }
    }

    pub(super) fn require(
        &mut self,
        holds: bool,
        invariant: Invariant,
        subject: impl Fn() -> Subject,
        expected_and_found: impl FnOnce() -> (String, String),
    ) {
        if !holds {
            let (expected, found) = expected_and_found();
            self.note(invariant, subject(), expected, found);
        }
    }

    pub(super) fn seat_note(
        &mut self,
        invariant: Invariant,
        number: SeatNumber,
        expected: String,
        found: String,
    ) {
        let label = self.seats.get(number.0 as usize).map(|seat| seat.label.clone());
        let subject = Subject::Seat(number, label.unwrap_or_default());
        self.note(invariant, subject, expected, found);
    }

    pub(super) fn note(
        &mut self,
        invariant: Invariant,
        subject: Subject,
        expected: String,
        found: String,
    ) {
        let schedule = Some(self.facts.id);
        self.found.push(Violation { invariant, schedule, subject, expected, found });
    }
}

fn in_words((code, until): JournalledState) -> String {
    let state = crate::domain::seat::status_name(code).unwrap_or("unknown");
    match until {
        Some(until) => format!("{state} until {}", until.0),
        None => state.to_owned(),
    }
}

//! The audit of one schedule. Its seats, at most a hundred thousand, are in memory; its claims and its journal are
//! read page by page.

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::domain::claim_event::ClaimEvent;
use crate::domain::clock::EpochMs;
use crate::domain::ids::{BookingId, ScheduleId, SeatNumber};
use crate::domain::rows::BookedSeat;
use crate::domain::seat::{SeatRow, SeatState, status_name};

use super::replay::{JournalledState, Replay, journalled};
use super::{Invariant, Subject, Violation};

/// The data of a schedule that is read before its seats.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleFacts {
    /// Its identifier.
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

/// An entry of the journal.
#[derive(Debug, Clone)]
pub struct JournalFact {
    /// The version it leads to.
    pub version: i64,
    /// Whether its batch has a record; `None` if the record may have been purged.
    pub has_batch: Option<bool>,
    /// The seats written, with their states.
    pub changes: Vec<(SeatNumber, SeatState)>,
    /// The changes of claims that wrote them; `None` in an entry of an older release.
    pub events: Option<Vec<ClaimEvent>>,
}

/// A running audit of one schedule. Add the seats first, then the other rows in any order, then call
/// [`finish`](Self::finish).
pub struct ScheduleAudit {
    pub(super) facts: ScheduleFacts,
    pub(super) seats: Vec<Seat>,
    replay: Replay,
    found: Vec<Violation>,
    sales: u64,
    /// How many of the sales their bookings list.
    sales_listed: u64,
}

pub(super) struct Seat {
    label: String,
    pub(super) state: SeatState,
    live_sales: u32,
    /// Whether an active claim was added that the seat names and that lists the seat.
    has_claim: bool,
}

impl ScheduleAudit {
    /// An audit without rows.
    #[must_use]
    pub fn new(facts: ScheduleFacts) -> Self {
        let replay = Replay::new(facts.seats as usize);
        Self { facts, seats: Vec::new(), replay, found: Vec::new(), sales: 0, sales_listed: 0 }
    }

    /// Removes and returns the violations found so far.
    pub fn take_found(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.found)
    }

    /// How many seats were added.
    #[must_use]
    pub fn seat_count(&self) -> usize {
        self.seats.len()
    }

    /// Adds the next seat, in the order of the numbers.
    pub fn seat(&mut self, number: SeatNumber, row: SeatRow) {
        let next = self.seats.len();
        let subject = || Subject::Seat(number, row.label.clone());
        self.require(number.0 as usize == next, Invariant::ScheduleIsComplete, subject, || {
            (format!("seat number {next} next"), format!("number {}", number.0))
        });
        self.seats.push(Seat {
            label: row.label,
            state: row.state,
            live_sales: 0,
            has_claim: false,
        });
    }

    /// Adds a sale.
    pub fn sale(&mut self, sale: BookedSeat) {
        self.sales += 1;
        if sale.released_at.is_some() {
            return;
        }
        let number = sale.seat.1;
        let booking = BookingId { schedule: self.facts.id, uuid: sale.booking };
        let Some(seat) = self.seats.get_mut(number.0 as usize) else {
            let found = format!("none of this number, sold to {booking}");
            let expected = "a seat of the schedule";
            return self.report_seat(Invariant::BookingHasItsSeats, number, expected, found);
        };
        seat.live_sales += 1;
        let sales = seat.live_sales;
        let state = seat.state;
        if sales > 1 {
            let found = format!("{sales}, one of them to {booking}");
            self.report_seat(Invariant::SeatIsSoldOnce, number, "one live sale at most", found);
        }
        if !state.names_booking(sale.booking) {
            let expected = format!("the seat sold to {booking}, as in its sale");
            let found = self.describe(state);
            self.report_seat(Invariant::BookingHasItsSeats, number, expected, found);
        }
    }

    /// The number of sales that no booking lists. Call this when all sales and bookings were added. If there are such
    /// sales, the reader of the rows has to search for them.
    #[must_use]
    pub fn unlisted_sales(&self) -> u64 {
        self.sales.saturating_sub(self.sales_listed)
    }

    pub(super) fn count_listed(&mut self, sales: usize) {
        self.sales_listed += sales as u64;
    }

    /// Adds a sale that its booking does not list. `exists` is whether the booking exists.
    pub fn unlisted_sale(&mut self, (number, booking): (SeatNumber, Uuid), exists: bool) {
        let booking = BookingId { schedule: self.facts.id, uuid: booking };
        let expected = format!("booking {booking} to list it");
        let found = if exists { "a booking that does not list it" } else { "no such booking" };
        self.report_seat(Invariant::BookingHasItsSeats, number, expected, found);
    }

    /// Adds the next entry of the journal, in the order of the versions.
    pub fn journal(&mut self, entry: &JournalFact) {
        let before = self.replay.version();
        let subject = || Subject::Journal(entry.version);
        let follows = self.replay.apply(entry.version, &entry.changes);
        self.require(follows, Invariant::JournalIsGapless, subject, || {
            (format!("version {} next", before + 1), format!("version {}", entry.version))
        });
        let has_batch = entry.has_batch != Some(false);
        self.require(has_batch, Invariant::JournalHasItsBatch, subject, || {
            ("a record of its batch".to_owned(), "no such record".to_owned())
        });
        let Some(events) = &entry.events else { return };
        let written: BTreeSet<SeatNumber> = entry.changes.iter().map(|change| change.0).collect();
        let of_events = events.iter().flat_map(|event| event.taken.iter().chain(&event.freed));
        let of_events: BTreeSet<SeatNumber> = of_events.copied().collect();
        self.require(written == of_events, Invariant::JournalHasItsEvents, subject, || {
            let list = |seats: BTreeSet<SeatNumber>| {
                let numbers = seats.iter().map(|seat| seat.0.to_string());
                format!("seats {}", numbers.collect::<Vec<_>>().join(", "))
            };
            (list(written), list(of_events))
        });
    }

    /// Compares the seats with the claims and the journal.
    pub fn finish(&mut self) {
        let count = self.seats.len();
        let seats = self.facts.seats;
        let schedule = || Subject::Schedule;
        self.require(count == seats as usize, Invariant::ScheduleIsComplete, schedule, || {
            (format!("{seats} seats"), count.to_string())
        });
        self.finish_versions();
        for index in 0..count {
            let Some(seat) = self.seats.get(index) else { continue };
            let state = seat.state;
            let has_claim = seat.has_claim;
            let number = SeatNumber(u32::try_from(index).unwrap_or(u32::MAX));
            if !has_claim && state != SeatState::Available {
                let found = self.describe(state);
                let expected = "an active claim that lists it";
                self.report_seat(Invariant::SeatHasItsClaim, number, expected, found);
            }
            let own = journalled(state);
            if let Some(replayed) = self.replay.state(index).filter(|replayed| *replayed != own) {
                let expected = format!("{}, as in the journal", shown(replayed));
                self.report_seat(Invariant::JournalAddsUp, number, expected, shown(own));
            }
        }
    }

    fn finish_versions(&mut self) {
        let Some(version) = self.facts.version else {
            let invariant = Invariant::ScheduleIsComplete;
            return self.report(invariant, Subject::Schedule, "a version row", "none");
        };
        let last = self.replay.version();
        if version < last {
            let expected = format!("a version of {last} or above, where the journal ends");
            let found = format!("version {version}");
            self.report(Invariant::VersionIsTheNewest, Subject::Schedule, expected, found);
        } else if !self.replay.is_followed_by(version) {
            let expected = format!("the journal to lead to version {version}");
            let found = format!("its end at {last}");
            self.report(Invariant::JournalIsGapless, Subject::Schedule, expected, found);
        }
    }

    /// Records that an active claim lists the seat, if the seat `names` the claim.
    pub(super) fn add_claim(&mut self, number: SeatNumber, names: impl Fn(SeatState) -> bool) {
        if let Some(seat) = self.seats.get_mut(number.0 as usize) {
            seat.has_claim |= names(seat.state);
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
        is_met: bool,
        invariant: Invariant,
        subject: impl Fn() -> Subject,
        expected_and_found: impl FnOnce() -> (String, String),
    ) {
        if !is_met {
            let (expected, found) = expected_and_found();
            self.report(invariant, subject(), expected, found);
        }
    }

    pub(super) fn report_seat(
        &mut self,
        invariant: Invariant,
        number: SeatNumber,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let label = self.seats.get(number.0 as usize).map(|seat| seat.label.clone());
        self.report(invariant, Subject::Seat(number, label.unwrap_or_default()), expected, found);
    }

    pub(super) fn report(
        &mut self,
        invariant: Invariant,
        subject: Subject,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) {
        let schedule = Some(self.facts.id);
        let expected = expected.into();
        let found = found.into();
        self.found.push(Violation { invariant, schedule, subject, expected, found });
    }
}

fn shown((code, until): JournalledState) -> String {
    let state = status_name(code).unwrap_or("unknown");
    match until {
        Some(until) => format!("{state} until {}", until.0),
        None => state.to_owned(),
    }
}

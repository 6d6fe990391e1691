//! The audit of claims: bookings, holds and blocks against the seats that they list.

use crate::domain::claims::{BlockRow, BookingRow, BookingStatus, HoldRow, HoldStatus};
use crate::domain::ids::{BookingId, SeatNumber};
use crate::domain::seat::SeatState;

use super::schedule::ScheduleAudit;
use super::{Invariant, Subject};

impl ScheduleAudit {
    /// Takes a booking, with its sales (seat, whether live), and with the booking that its hold names.
    pub fn booking(
        &mut self,
        row: &BookingRow,
        sales: &[(SeatNumber, bool)],
        hold_became: Option<BookingId>,
    ) {
        let subject = || Subject::Booking(row.id);
        self.check_size(&row.seats, subject);
        let live = sales.iter().filter(|(_, live)| *live).count();
        let expected = format!("live_seats {live} by its sales");
        let counts = row.live_seats as usize == live;
        let found = format!("live_seats {}", row.live_seats);
        self.require(counts, Invariant::BookingHasItsSeats, subject, expected, found);
        let cancelled = row.status == BookingStatus::Cancelled;
        let ended = cancelled == (row.live_seats == 0) && cancelled == row.cancelled_at.is_some();
        let expected = "cancelled with its last seat and not before".to_owned();
        let found = format!(
            "status {:?}, {} live seats, cancelled at {:?}",
            row.status,
            row.live_seats,
            row.cancelled_at.map(|at| at.0)
        );
        self.require(ended, Invariant::BookingHasItsSeats, subject, expected, found);
        for number in &row.seats {
            if !sales.iter().any(|(sold, _)| sold == number) {
                let expected = format!("a sale of it to {}, which lists it", row.id);
                let found = "none, live or ended".to_owned();
                self.seat_note(Invariant::BookingHasItsSeats, *number, expected, found);
            }
        }
        for (number, _) in sales.iter().filter(|(_, live)| *live) {
            self.explain(*number, |state| state.names_booking(row.id.uuid));
        }
        if let Some(hold) = row.hold
            && hold_became != Some(row.id)
        {
            let expected = format!("hold {hold} to have become this booking");
            let found = match hold_became {
                Some(other) => format!("it became {other}"),
                None => "it became none".to_owned(),
            };
            self.note(Invariant::HoldEndsOnce, subject(), expected, found);
        }
    }

    /// Takes a hold, with its count of seats as written, and with the booking it became, if that exists.
    pub fn hold(&mut self, row: &HoldRow, seat_count: u32, booking: Option<&BookingRow>) {
        let subject = || Subject::Hold(row.id);
        self.check_size(&row.seats, subject);
        let counts = seat_count as usize == row.seats.len();
        let (expected, found) = (format!("seat_count {}", row.seats.len()), seat_count.to_string());
        self.require(counts, Invariant::HoldHasItsSeats, subject, expected, found);
        self.check_end(row, booking);
        if row.status != HoldStatus::Held {
            return;
        }
        let own = SeatState::Held { hold: row.id.uuid, until: row.until };
        for number in &row.seats {
            self.explain(*number, |state| state == own);
            let state = self.seats.get(number.0 as usize).map(|seat| seat.state);
            // What time has ended may be anybody's by now; a written end may be moved by an outage only
            // to a later time.
            if row.until > self.facts.now && state != Some(own) {
                let expected = format!("held by {} until {}", row.id, row.until.0);
                let found = state.map_or_else(|| "no such seat".into(), |s| self.describe(s));
                self.seat_note(Invariant::HoldHasItsSeats, *number, expected, found);
            }
        }
    }

    fn check_end(&mut self, row: &HoldRow, booking: Option<&BookingRow>) {
        let subject = || Subject::Hold(row.id);
        let became = row.booking.is_some();
        let found = format!("status {:?}, booking {:?}", row.status, row.booking);
        let expected = "a booking if and only if it was confirmed".to_owned();
        let confirmed = row.status == HoldStatus::Confirmed;
        self.require(confirmed == became, Invariant::HoldEndsOnce, subject, expected, found);
        let Some(id) = row.booking else { return };
        let same = booking.is_some_and(|booking| {
            booking.hold == Some(row.id)
                && booking.seats == row.seats
                && booking.customer == row.customer
        });
        let expected = format!("booking {id} of this hold, its seats and its customer");
        let found = match booking {
            None => "no such booking".to_owned(),
            Some(booking) => format!(
                "a booking of {:?} for {}, seats {:?}",
                booking.hold,
                booking.customer.as_str(),
                numbers(&booking.seats)
            ),
        };
        self.require(same, Invariant::HoldEndsOnce, subject, expected, found);
    }

    /// Takes a block.
    pub fn block(&mut self, row: &BlockRow) {
        if row.lifted {
            return;
        }
        let own = SeatState::Blocked { block: row.id.uuid };
        for number in &row.seats {
            self.explain(*number, |state| state == own);
            let state = self.seats.get(number.0 as usize).map(|seat| seat.state);
            if state != Some(own) {
                let expected = format!("blocked by {}", row.id);
                let found = state.map_or_else(|| "no such seat".into(), |s| self.describe(s));
                self.seat_note(Invariant::BlockHasItsSeats, *number, expected, found);
            }
        }
    }

    fn check_size(&mut self, seats: &[SeatNumber], subject: impl Fn() -> Subject) {
        let max = self.facts.max_seats_per_booking as usize;
        let kept = (1..=max).contains(&seats.len());
        let (expected, found) = (format!("1 to {max} seats"), format!("{}", seats.len()));
        self.require(kept, Invariant::SizeLimitIsKept, subject, expected, found);
    }
}

fn numbers(seats: &[SeatNumber]) -> Vec<u32> {
    seats.iter().map(|seat| seat.0).collect()
}

//! The audit of claims: bookings, holds and blocks against the seats that they list.

use crate::domain::claims::{BlockRow, BookingRow, BookingStatus, HoldRow, HoldStatus};
use crate::domain::ids::{BookingId, SeatNumber};
use crate::domain::seat::SeatState;

use super::schedule::ScheduleAudit;
use super::{Invariant, Subject};

impl ScheduleAudit {
    /// Adds a booking. `sales` are the sales of the seats that the booking lists, ascending: the seat, and whether the
    /// sale is live. `hold_became` is the booking that its hold became.
    pub fn booking(
        &mut self,
        row: &BookingRow,
        sales: &[(SeatNumber, bool)],
        hold_became: Option<BookingId>,
    ) {
        let subject = || Subject::Booking(row.id);
        self.check_size(&row.seats, subject);
        let live = sales.iter().filter(|(_, live)| *live).count();
        self.count_listed(sales.len());
        let counts = row.live_seats as usize == live;
        self.require(counts, Invariant::BookingHasItsSeats, subject, || {
            (format!("live_seats {live} by its sales"), format!("live_seats {}", row.live_seats))
        });
        let cancelled = row.status == BookingStatus::Cancelled;
        let ended = cancelled == (row.live_seats == 0) && cancelled == row.cancelled_at.is_some();
        self.require(ended, Invariant::BookingHasItsSeats, subject, || {
            let expected = "cancelled with its last seat and not before".to_owned();
            let status = row.status;
            let live = row.live_seats;
            let at = row.cancelled_at.map(|at| at.0);
            (expected, format!("status {status:?}, {live} live seats, cancelled at {at:?}"))
        });
        for number in unsold(sorted(&row.seats), sales.iter().map(|(number, _)| *number)) {
            let expected = format!("a sale of it to {}, which lists it", row.id);
            let found = "none, live or ended";
            self.report_seat(Invariant::BookingHasItsSeats, number, expected, found);
        }
        for (number, _) in sales.iter().filter(|(_, live)| *live) {
            self.add_claim(*number, |state| state.names_booking(row.id.uuid));
        }
        if let Some(hold) = row.hold
            && hold_became != Some(row.id)
        {
            let expected = format!("hold {hold} to have become this booking");
            let other = hold_became.map_or_else(|| "none".to_owned(), |other| other.to_string());
            let found = format!("it became {other}");
            self.report(Invariant::HoldEndsOnce, subject(), expected, found);
        }
    }

    /// Adds a hold, with its stored number of seats, and with the booking that it became, if the booking exists.
    pub fn hold(&mut self, row: &HoldRow, seat_count: u32, booking: Option<&BookingRow>) {
        let subject = || Subject::Hold(row.id);
        self.check_size(&row.seats, subject);
        let counts = seat_count as usize == row.seats.len();
        self.require(counts, Invariant::HoldHasItsSeats, subject, || {
            (format!("seat_count {}", row.seats.len()), seat_count.to_string())
        });
        self.check_end(row, booking);
        if row.status == HoldStatus::Held {
            let own = SeatState::Held { hold: row.id.uuid, until: row.until };
            // The seats of an expired hold may have other claims. An outage only moves an end to a later time.
            let must_own = row.until > self.facts.now;
            let expected = || format!("held by {} until {}", row.id, row.until.0);
            self.check_claim(&row.seats, own, must_own, Invariant::HoldHasItsSeats, expected);
        }
    }

    fn check_end(&mut self, row: &HoldRow, booking: Option<&BookingRow>) {
        let subject = || Subject::Hold(row.id);
        let confirmed = row.status == HoldStatus::Confirmed;
        self.require(confirmed == row.booking.is_some(), Invariant::HoldEndsOnce, subject, || {
            let expected = "a booking if and only if it was confirmed".to_owned();
            (expected, format!("status {:?}, booking {:?}", row.status, row.booking))
        });
        let Some(id) = row.booking else { return };
        let same = booking.is_some_and(|booking| {
            booking.hold == Some(row.id)
                && booking.seats == row.seats
                && (booking.customer == row.customer || row.customer.is_session())
        });
        self.require(same, Invariant::HoldEndsOnce, subject, || {
            let found = match booking {
                None => "no such booking".to_owned(),
                Some(booking) => format!(
                    "a booking of {:?} for {}, seats {:?}",
                    booking.hold,
                    booking.customer.as_str(),
                    booking.seats.iter().map(|seat| seat.0).collect::<Vec<_>>()
                ),
            };
            (format!("booking {id} of this hold, its seats and its customer"), found)
        });
    }

    /// Adds a block.
    pub fn block(&mut self, row: &BlockRow) {
        if !row.lifted {
            let own = SeatState::Blocked { block: row.id.uuid };
            let expected = || format!("blocked by {}", row.id);
            self.check_claim(&row.seats, own, true, Invariant::BlockHasItsSeats, expected);
        }
    }

    /// Records the claim of its seats. With `must_own`, reports the seats whose state is not that of the claim.
    fn check_claim(
        &mut self,
        seats: &[SeatNumber],
        own: SeatState,
        must_own: bool,
        invariant: Invariant,
        expected: impl Fn() -> String,
    ) {
        for number in seats {
            self.add_claim(*number, |state| state == own);
            let state = self.seats.get(number.0 as usize).map(|seat| seat.state);
            if must_own && state != Some(own) {
                let found = state.map_or_else(|| "no such seat".into(), |s| self.describe(s));
                self.report_seat(invariant, *number, expected(), found);
            }
        }
    }

    fn check_size(&mut self, seats: &[SeatNumber], subject: impl Fn() -> Subject) {
        let max = self.facts.max_seats_per_booking as usize;
        let is_allowed = (1..=max).contains(&seats.len());
        self.require(is_allowed, Invariant::SizeLimitIsKept, subject, || {
            (format!("1 to {max} seats"), seats.len().to_string())
        });
    }
}

/// A list in ascending order without repeats. The program writes lists so, but a list may have been changed by hand.
fn sorted(seats: &[SeatNumber]) -> impl Iterator<Item = SeatNumber> {
    let mut sorted = seats.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.into_iter()
}

/// The seats listed that were not sold. Both lists are ascending and are read once.
fn unsold(
    listed: impl Iterator<Item = SeatNumber>,
    sold: impl Iterator<Item = SeatNumber>,
) -> Vec<SeatNumber> {
    let mut sold = sold.peekable();
    let mut missing = Vec::new();
    for number in listed {
        while sold.next_if(|next| *next < number).is_some() {}
        if sold.peek() != Some(&number) {
            missing.push(number);
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn numbers(seats: &[u32]) -> impl Iterator<Item = SeatNumber> {
        seats.iter().copied().map(SeatNumber)
    }

    #[test]
    fn a_seat_without_its_sale_is_found() {
        let missing = |listed: &[u32], sold: &[u32]| -> Vec<u32> {
            let missing = unsold(numbers(listed), numbers(sold));
            missing.into_iter().map(|number| number.0).collect()
        };
        assert_eq!(missing(&[1, 2, 5], &[1, 2, 5]), [0; 0]);
        assert_eq!(missing(&[1, 2, 5], &[2]), [1, 5]);
        assert_eq!(missing(&[1, 2, 5], &[0, 1, 3, 5, 9]), [2]);
        assert_eq!(missing(&[1, 2], &[]), [1, 2]);
        assert_eq!(missing(&[], &[1]), [0; 0]);
    }

    #[test]
    fn ten_times_the_seats_are_ten_times_the_steps() {
        let steps = |seats: u32| {
            let steps = Cell::new(0);
            let counted = || (0..seats).map(SeatNumber).inspect(|_| steps.set(steps.get() + 1));
            assert_eq!(unsold(counted(), counted()).len(), 0);
            steps.get()
        };
        assert_eq!(steps(1_000), 2 * 1_000);
        assert_eq!(steps(10_000), 10 * steps(1_000));
    }

    #[test]
    fn a_list_changed_by_hand_is_put_in_order() {
        let seats: Vec<SeatNumber> = numbers(&[3, 1, 3, 2]).collect();
        assert_eq!(sorted(&seats).map(|number| number.0).collect::<Vec<_>>(), [1, 2, 3]);
    }
}

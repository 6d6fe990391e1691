//! Every business "no". A refusal has no effect; how it looks over HTTP is `http::problem`'s affair.

use super::ids::{BookingId, HoldId};

/// Why one seat could not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConflictReason {
    /// Sold.
    Booked,
    /// Claimed by a hold that is alive.
    Held,
    /// Taken out of sale by the house.
    Blocked,
    /// Somebody else is being served; nothing is decided yet.
    Contended,
}

impl ConflictReason {
    /// Its name in `conflicts[].reason`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Held => "held",
            Self::Blocked => "blocked",
            Self::Contended => "contended",
        }
    }
}

/// One seat that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The seat's public name.
    pub label: String,
    /// Why.
    pub reason: ConflictReason,
    /// The hold that has the seat, if it is the asking customer's own. The holds of other customers are never named.
    pub hold: Option<HoldId>,
}

/// A business "no".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The schedule, hold, booking or block does not exist, or belongs to another customer.
    NotFound(&'static str),
    /// At least one seat is somebody else's; all such seats are listed.
    SeatsUnavailable(Vec<Conflict>),
    /// The hold has ended and at least one of its seats went to somebody else; those are listed. For
    /// `extend` the list is empty: an ended hold cannot be extended.
    HoldExpired(Vec<Conflict>),
    /// The hold was given up by its owner.
    HoldReleased,
    /// The hold is a booking already and can be neither extended nor released.
    HoldConfirmed,
    /// The hold became this booking, and every seat of the booking was given back since.
    BookingCancelled(BookingId),
    /// Seats that the booking named never had.
    NotInBooking(Vec<String>),
    /// Sales have not opened yet, or are over.
    SalesClosed,
    /// More seats in one request than the schedule allows.
    TooManySeats {
        /// The schedule's rule.
        max: u32,
    },
    /// The customer would own more seats of the schedule than it allows.
    SeatLimitReached {
        /// The schedule's rule.
        max: u32,
        /// What the customer owns now, holds included.
        owned: u32,
    },
    /// The Idempotency-Key belongs to another request.
    KeyReused,
    /// It waited in the queue for longer than it may.
    TooLate,
}

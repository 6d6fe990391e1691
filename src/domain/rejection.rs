//! Rejections: the business reasons for which a command is refused. A rejected command has no effect. `http::problem`
//! renders a rejection as an HTTP response.

use super::ids::{BookingId, HoldId};

/// The reason why one seat could not be taken, as in `conflicts[].reason`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::AsRefStr,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum ConflictReason {
    /// Sold.
    Booked,
    /// Claimed by an active hold.
    Held,
    /// Taken out of sale by the house.
    Blocked,
    /// Another request has locked the seat and is not decided yet.
    Contended,
}

/// One seat that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The seat's public name.
    pub label: String,
    /// The reason.
    pub reason: ConflictReason,
    /// The hold that has the seat, if it is the requesting customer's own; holds of others are never named.
    pub hold: Option<HoldId>,
}

/// The business reason for which a command is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// The schedule, hold, booking or block does not exist, or belongs to another customer.
    NotFound(&'static str),
    /// At least one seat has another claim; all such seats are listed.
    SeatsUnavailable(Vec<Conflict>),
    /// The hold has expired, and at least one of its seats has another claim; those seats are listed. The list is
    /// empty for `extend`: an expired hold cannot be extended.
    HoldExpired(Vec<Conflict>),
    /// The hold was released by its owner.
    HoldReleased,
    /// The hold is a booking already and can be neither extended nor released.
    HoldConfirmed,
    /// The hold became this booking, and every seat of the booking was cancelled since.
    BookingCancelled(BookingId),
    /// The hold does not have these seats, listed by label.
    NotInHold(Vec<String>),
    /// The hold has another version than the caller named.
    HoldChanged {
        /// Its version now.
        version: u32,
    },
    /// The hold would have more seats than the schedule allows.
    HoldTooLarge {
        /// The schedule's rule.
        max: u32,
    },
    /// The booking never had these seats, listed by label.
    NotInBooking(Vec<String>),
    /// Sales have not opened yet, or have closed.
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
        /// The seats that the customer owns now, holds included.
        owned: u32,
    },
    /// The Idempotency-Key belongs to another request.
    KeyReused,
    /// The deadline of the request passed while it waited in the queue.
    TooLate,
}

//! The rows of claims: holds, bookings and blocks.
//!
//! The seat list of a booking or block is written once, when the claim is created; that of a hold can be changed while
//! the hold is active. The claim still owns the seats whose state names it. A command locks the whole list and changes
//! only the seats that the claim still owns.

use super::clock::EpochMs;
use super::ids::{BlockId, BookingId, CustomerId, HoldId, SeatNumber};

/// The status of a hold. A hold ends once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldStatus {
    /// Active, or expired and not yet swept.
    Held,
    /// Turned into a booking.
    Confirmed,
    /// Released by its owner.
    Released,
    /// Expired, and marked so by the sweep.
    Expired,
}

/// A hold's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// Its identifier.
    pub id: HoldId,
    /// Its customer.
    pub customer: CustomerId,
    /// All its seats, ascending. They do not change after its end.
    pub seats: Vec<SeatNumber>,
    /// Begins with 1 and grows by one with each change of its seats.
    pub version: u32,
    /// Its status.
    pub status: HoldStatus,
    /// When it was granted; its longest life begins here.
    pub created_at: EpochMs,
    /// When it expires, as stored; outages may extend this ([`hold_end`](super::clock::hold_end)).
    pub until: EpochMs,
    /// The booking that the hold became, if it was confirmed.
    pub booking: Option<BookingId>,
}

/// The status of a booking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingStatus {
    /// It still owns at least one seat.
    Confirmed,
    /// Every seat was cancelled.
    Cancelled,
}

/// A booking's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingRow {
    /// Its identifier.
    pub id: BookingId,
    /// Its customer.
    pub customer: CustomerId,
    /// All seats it was sold, ascending.
    pub seats: Vec<SeatNumber>,
    /// How many seats it still owns.
    pub live_seats: u32,
    /// Its status.
    pub status: BookingStatus,
    /// The hold it came from, if any.
    pub hold: Option<HoldId>,
    /// When it was sold.
    pub created_at: EpochMs,
    /// When its last seat was cancelled.
    pub cancelled_at: Option<EpochMs>,
}

/// A block's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    /// Its identifier.
    pub id: BlockId,
    /// All seats it took out of sale, ascending.
    pub seats: Vec<SeatNumber>,
    /// The reason, as free text.
    pub reason: String,
    /// When it was created.
    pub created_at: EpochMs,
    /// Whether it was lifted.
    pub lifted: bool,
}

//! What customers and the house own: holds, bookings and blocks, as their rows say.
//!
//! The seat list of each is written once, at its creation. What it still owns is told by the seats: a
//! command locks the whole list and acts only on seats that still name the claim.

use super::clock::EpochMs;
use super::ids::{BlockId, BookingId, CustomerId, HoldId, SeatNumber};

/// How far a hold has come. It ends once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldStatus {
    /// Alive, or ended by time and not yet swept.
    Held,
    /// Turned into a booking.
    Confirmed,
    /// Given up by its owner.
    Released,
    /// Ended by time, and the sweeper has said so.
    Expired,
}

/// A hold's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldRow {
    /// Its identifier.
    pub id: HoldId,
    /// Whose it is.
    pub customer: CustomerId,
    /// All seats it was granted, ascending.
    pub seats: Vec<SeatNumber>,
    /// How far it has come.
    pub status: HoldStatus,
    /// When it was granted; extensions are capped from here.
    pub created_at: EpochMs,
    /// The written end; outages may move the real one.
    pub until: EpochMs,
    /// The booking it became, if it did.
    pub booking: Option<BookingId>,
}

/// Whether a booking still stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookingStatus {
    /// At least one of its seats is still its own.
    Confirmed,
    /// Every seat was given back.
    Cancelled,
}

/// A booking's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookingRow {
    /// Its identifier.
    pub id: BookingId,
    /// Whose it is.
    pub customer: CustomerId,
    /// All seats it was sold, ascending.
    pub seats: Vec<SeatNumber>,
    /// How many of them are still its own.
    pub live_seats: u32,
    /// Whether it still stands.
    pub status: BookingStatus,
    /// The hold it came from, if any.
    pub hold: Option<HoldId>,
    /// When it was sold.
    pub created_at: EpochMs,
    /// When its last seat was given back.
    pub cancelled_at: Option<EpochMs>,
}

/// A block's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRow {
    /// Its identifier.
    pub id: BlockId,
    /// All seats it took out of sale, ascending.
    pub seats: Vec<SeatNumber>,
    /// Why, in the house's words.
    pub reason: String,
    /// When it was made.
    pub created_at: EpochMs,
    /// Whether it was lifted.
    pub lifted: bool,
}

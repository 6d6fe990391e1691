//! The states of seats.

use std::time::Duration;

use uuid::Uuid;

use super::clock::{EpochMs, Outage, hold_end};
use super::rejection::ConflictReason;

/// The state of a seat, with the claim that caused it. `available → held → booked → available`, and
/// `available ⇄ blocked`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeatState {
    /// For sale.
    Available,
    /// Claimed by a hold until it expires; free after that, swept or not.
    Held {
        /// The hold's uuid.
        hold: Uuid,
        /// When the hold expires, as stored; outages may extend this ([`hold_end`]).
        until: EpochMs,
    },
    /// Sold.
    Booked {
        /// The booking's uuid.
        booking: Uuid,
    },
    /// Taken out of sale by the house.
    Blocked {
        /// The block's uuid.
        block: Uuid,
    },
}

impl SeatState {
    /// The state's code in answers and in the database: 0 available, 1 held, 2 booked, 3 blocked.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Available => 0,
            Self::Held { .. } => 1,
            Self::Booked { .. } => 2,
            Self::Blocked { .. } => 3,
        }
    }

    /// Why the seat cannot be taken at `now`; `None` if it can, such as after an expired hold.
    #[must_use]
    pub fn refuses(
        self,
        now: EpochMs,
        outages: &[Outage],
        grace: Duration,
    ) -> Option<ConflictReason> {
        match self {
            Self::Available => None,
            Self::Held { until, .. } if hold_end(until, outages, grace) <= now => None,
            Self::Held { .. } => Some(ConflictReason::Held),
            Self::Booked { .. } => Some(ConflictReason::Booked),
            Self::Blocked { .. } => Some(ConflictReason::Blocked),
        }
    }

    /// Whether the seat names this hold.
    #[must_use]
    pub fn names_hold(self, uuid: Uuid) -> bool {
        matches!(self, Self::Held { hold, .. } if hold == uuid)
    }

    /// Whether the seat names this booking.
    #[must_use]
    pub fn names_booking(self, uuid: Uuid) -> bool {
        matches!(self, Self::Booked { booking } if booking == uuid)
    }

    /// Whether the seat names this block.
    #[must_use]
    pub fn names_block(self, uuid: Uuid) -> bool {
        matches!(self, Self::Blocked { block } if block == uuid)
    }
}

/// The names of the states in the API, in the order of their codes.
pub const STATUS_NAMES: [&str; 4] = ["available", "held", "booked", "blocked"];

/// The name in the API of a state's code; `None` for any other number than 0 to 3.
#[must_use]
pub fn status_name(code: u8) -> Option<&'static str> {
    STATUS_NAMES.get(usize::from(code)).copied()
}

/// The row of a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatRow {
    /// The seat's public name, `A-12-7`.
    pub label: String,
    /// Minor units of the schedule's currency.
    pub price: i64,
    /// Its state, with the claim that has it.
    pub state: SeatState,
}

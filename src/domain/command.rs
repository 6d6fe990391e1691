//! What a request asks of the booking engine.

use std::time::Duration;

use super::clock::EpochMs;
use super::ids::{BlockId, BookingId, CustomerId, HoldId, RequestId, ScheduleId, SeatNumber};

/// Who calls, and by which Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The caller the key belongs to; keys of different callers never meet.
    pub caller: String,
    /// The key itself, 1 to 255 visible ASCII characters.
    pub key: String,
}

/// A request that may be repeated: its key and what it must be the same as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// Which request.
    pub request: RequestKey,
    /// SHA-256 over what was understood of the request: method, path, effective parameters and body, in
    /// hexadecimal.
    pub fingerprint: String,
}

/// What a command brings along that came through the queue in front, where it may be delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// The request: its outcome is recorded under this name, a refusal as well as an effect, and a second
    /// delivery finds it.
    pub id: RequestId,
    /// From then on it is not executed any more: whoever asked has left.
    pub not_after: EpochMs,
}

/// The caller under whose name the outcomes of queued requests are recorded; callers of the API have other
/// names.
const QUEUE: &str = "queue";

impl Queued {
    /// The key under which the outcome of a request is recorded.
    #[must_use]
    pub fn key(id: RequestId) -> RequestKey {
        RequestKey { caller: QUEUE.to_owned(), key: id.to_string() }
    }
}

/// A command for the lane of its schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The schedule it acts on; which lane it takes.
    pub schedule: ScheduleId,
    /// What to do.
    pub action: Action,
    /// The Idempotency-Key it came with, if any.
    pub keyed: Option<Keyed>,
    /// Whether its seats are locked outside the database. If two locked commands then meet on a seat in
    /// one batch, the locks have failed and the rows saved the promise.
    pub locked: bool,
    /// The request that it came with through the queue in front, if it did.
    pub queued: Option<Queued>,
}

/// The seats asked for are ascending and without repeats; identifiers are chosen by the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Claim seats for a while.
    Hold {
        /// The new hold.
        id: HoldId,
        /// All or none of them.
        seats: Vec<SeatNumber>,
        /// For whom.
        customer: CustomerId,
        /// How long; the schedule's rule if absent.
        ttl: Option<Duration>,
    },
    /// Let a hold live `ttl` from now, never less than it already would.
    Extend {
        /// Which hold.
        hold: HoldId,
        /// From now; the schedule's rule if absent.
        ttl: Option<Duration>,
    },
    /// Give a hold up.
    Release {
        /// Which hold.
        hold: HoldId,
    },
    /// Sell seats.
    Book {
        /// The new booking.
        id: BookingId,
        /// All or none of them.
        seats: Vec<SeatNumber>,
        /// To whom.
        customer: CustomerId,
    },
    /// Turn a hold into a booking.
    Confirm {
        /// Which hold.
        hold: HoldId,
        /// The new booking.
        booking: BookingId,
        /// Must be the hold's own customer, if given.
        customer: Option<CustomerId>,
    },
    /// Give a booking back.
    Cancel {
        /// Which booking.
        booking: BookingId,
        /// Only these of its seats; all if absent.
        seats: Option<Vec<SeatNumber>>,
    },
    /// Write down that a hold has ended by time.
    Expire {
        /// Which hold.
        hold: HoldId,
    },
    /// Take seats out of sale.
    Block {
        /// The new block.
        id: BlockId,
        /// All or none of them.
        seats: Vec<SeatNumber>,
        /// Why, in the house's words.
        reason: String,
    },
    /// Put a block's seats back on sale.
    Unblock {
        /// Which block.
        block: BlockId,
    },
    /// Only look whether the command's key has an answer already.
    Lookup,
}

impl Action {
    /// The customer for whom it takes seats, if it is for one and says so.
    #[must_use]
    pub fn customer(&self) -> Option<&CustomerId> {
        match self {
            Self::Hold { customer, .. } | Self::Book { customer, .. } => Some(customer),
            Self::Confirm { customer, .. } => customer.as_ref(),
            _ => None,
        }
    }

    /// The seats it takes, which are the ones worth a seat lock; empty for commands on what the caller
    /// owns already.
    #[must_use]
    pub fn taken_seats(&self) -> &[SeatNumber] {
        match self {
            Self::Hold { seats, .. } | Self::Book { seats, .. } => seats,
            Self::Block { seats, .. } => seats,
            _ => &[],
        }
    }

    /// Whether its success means that a caller gave seats back, which then are free.
    #[must_use]
    pub fn gives_back(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Cancel { .. } | Self::Unblock { .. })
    }
}

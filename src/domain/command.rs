//! Commands: the actions of the booking engine that requests lead to.

use std::sync::Arc;
use std::time::Duration;

use strum::{AsRefStr, EnumDiscriminants, VariantNames};

use super::clock::EpochMs;
use super::ids::{BlockId, BookingId, CustomerId, HoldId, RequestId, ScheduleId, SeatNumber};

/// A caller and its Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestKey {
    /// The caller the key belongs to; callers do not share keys.
    pub caller: String,
    /// The key itself, 1 to 255 visible ASCII characters.
    pub key: String,
}

/// A request that may be repeated: its key, and the fingerprint that each repetition must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keyed {
    /// Caller and key.
    pub request: RequestKey,
    /// SHA-256, in hexadecimal, of method, path, effective parameters and body as they were parsed.
    pub fingerprint: String,
}

/// The additional part of a command that came through the admission queue. The queue may deliver a request again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// The id of the request. The outcome, effect or refusal, is recorded under this id, and a second delivery gets
    /// the recorded outcome.
    pub id: RequestId,
    /// The deadline: from this time on the request is not executed.
    pub not_after: EpochMs,
}

/// The caller of the keys under which outcomes of queued requests are recorded. No caller of the API has this
/// name.
const QUEUE: &str = "queue";

impl Queued {
    /// The key under which the outcome of a request is recorded.
    #[must_use]
    pub fn key(id: RequestId) -> RequestKey {
        RequestKey { caller: QUEUE.to_owned(), key: id.to_string() }
    }
}

/// Who sent a request, as the journal records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    /// The name of the API key, or of the task of this program.
    pub actor: String,
    /// The id of the request; empty for a task of this program.
    pub request: String,
    /// The address of the client, if addresses are recorded.
    pub address: Option<String>,
}

/// A command for the lane of its schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The schedule it acts on, which decides its lane.
    pub schedule: ScheduleId,
    /// The action.
    pub action: Action,
    /// The Idempotency-Key it came with, if any.
    pub keyed: Option<Keyed>,
    /// Whether its seats are locked outside the database. If two locked commands of one batch name the same seat, the
    /// locks have failed.
    pub locked: bool,
    /// Its request in the admission queue, if it came through the queue.
    pub queued: Option<Queued>,
    /// Who sent it; `None` if that is not known, as for a request that came through the queue.
    pub sender: Option<Arc<Sender>>,
    /// The customer whose own claims alone it may touch; any claim if absent. A command that can be queued creates what it
    /// touches, so the queue does not carry this.
    pub owner: Option<CustomerId>,
}

impl Command {
    /// A command without a key that comes directly from its sender.
    #[must_use]
    pub fn new(schedule: ScheduleId, action: Action) -> Self {
        Self {
            schedule,
            action,
            keyed: None,
            locked: false,
            queued: None,
            sender: None,
            owner: None,
        }
    }

    /// Whether its answer is recorded under a key.
    #[must_use]
    pub fn has_key(&self) -> bool {
        self.keyed.is_some() || self.queued.is_some()
    }
}

/// The action of a command. Its seats are ascending and without repeats; the caller chooses the identifiers.
#[derive(Debug, Clone, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(
    name(CommandKind),
    doc = "The kind of an action.",
    derive(AsRefStr, VariantNames),
    strum(serialize_all = "snake_case")
)]
pub enum Action {
    /// Claim seats for a limited time.
    Hold {
        /// The new hold.
        id: HoldId,
        /// All or none of them.
        seats: Vec<SeatNumber>,
        /// The customer.
        customer: CustomerId,
        /// The life of the hold; the schedule's rule if absent.
        ttl: Option<Duration>,
    },
    /// Make a hold expire `ttl` from now, never earlier than it already would.
    Extend {
        /// The hold.
        hold: HoldId,
        /// The time from now; the schedule's rule if absent.
        ttl: Option<Duration>,
    },
    /// Add seats to a hold and remove others: all of it, or nothing.
    Change {
        /// The hold.
        hold: HoldId,
        /// Seats to add; those that the hold has already stay in it.
        add: Vec<SeatNumber>,
        /// Seats to remove; each must be one of the hold's. A hold without seats is released.
        remove: Vec<SeatNumber>,
        /// The version that the hold must have, if the caller named one.
        version: Option<u32>,
    },
    /// End a hold for its owner.
    Release {
        /// The hold.
        hold: HoldId,
    },
    /// Sell seats.
    Book {
        /// The new booking.
        id: BookingId,
        /// All or none of them.
        seats: Vec<SeatNumber>,
        /// The customer.
        customer: CustomerId,
    },
    /// Turn a hold into a booking.
    Confirm {
        /// The hold.
        hold: HoldId,
        /// The new booking.
        booking: BookingId,
        /// Must be the hold's own customer, if given.
        customer: Option<CustomerId>,
    },
    /// Cancel a booking, or some of its seats.
    Cancel {
        /// The booking.
        booking: BookingId,
        /// Only these of its seats; all if absent.
        seats: Option<Vec<SeatNumber>>,
    },
    /// Record that a hold has expired.
    Expire {
        /// The hold.
        hold: HoldId,
    },
    /// Take seats out of sale.
    Block {
        /// The new block.
        id: BlockId,
        /// All or none of them.
        seats: Vec<SeatNumber>,
        /// The reason, as free text.
        reason: String,
    },
    /// Put a block's seats back on sale.
    Unblock {
        /// The block.
        block: BlockId,
    },
    /// Only look up the recorded answer of the command's key.
    Lookup,
}

impl Action {
    /// The customer for whom it takes seats, if it names one.
    #[must_use]
    pub fn customer(&self) -> Option<&CustomerId> {
        match self {
            Self::Hold { customer, .. } | Self::Book { customer, .. } => Some(customer),
            Self::Confirm { customer, .. } => customer.as_ref(),
            _ => None,
        }
    }

    /// The seats it takes, which need seat locks; empty for commands on what the caller owns already.
    #[must_use]
    pub fn taken_seats(&self) -> &[SeatNumber] {
        match self {
            Self::Hold { seats, .. } | Self::Book { seats, .. } | Self::Block { seats, .. } => {
                seats
            }
            Self::Change { add, .. } => add,
            _ => &[],
        }
    }

    /// The seats that it removes from a hold that it changes.
    #[must_use]
    pub fn removed_seats(&self) -> &[SeatNumber] {
        match self {
            Self::Change { remove, .. } => remove,
            _ => &[],
        }
    }

    /// Whether the command may go through the queue.
    #[must_use]
    pub fn can_be_queued(&self) -> bool {
        matches!(self, Self::Hold { .. } | Self::Book { .. } | Self::Confirm { .. })
    }

    /// Whether the command frees seats at the request of a caller.
    #[must_use]
    pub fn gives_back(&self) -> bool {
        matches!(self, Self::Release { .. } | Self::Cancel { .. } | Self::Unblock { .. })
            || !self.removed_seats().is_empty()
    }
}

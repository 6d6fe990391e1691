//! The invariants of the database, as checks over rows.
//!
//! A [`schedule::ScheduleAudit`] checks the rows of one schedule page by page, all of one snapshot; [`answer`]
//! checks the recorded answers one by one. The audit uses no code that decides a sale: it would repeat the mistakes of
//! that code. It shares the decoding of rows (`src/store/connection/rows.rs`) and the constant of [`super::version`].

pub mod answer;
mod claims;
mod replay;
pub mod schedule;

use std::fmt;

use strum::{AsRefStr, VariantArray, VariantNames};

use super::command::RequestKey;
use super::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};

/// The invariants that the audit checks. Their names never change, since alerts use them.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, AsRefStr, VariantArray, VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum Invariant {
    /// A schedule has the seats of its plan, numbered without a gap, and a version row.
    ScheduleIsComplete,
    /// A seat belongs to at most one live booking.
    SeatIsSoldOnce,
    /// A seat that is not for sale names an active claim that lists it.
    SeatHasItsClaim,
    /// A booking's list, its sales, its count, its status and the seats that name it agree.
    BookingHasItsSeats,
    /// A hold that has not expired has all its seats until the same time.
    HoldHasItsSeats,
    /// A block that is not lifted has all its seats.
    BlockHasItsSeats,
    /// A hold ends once: it became the one booking that names it, or none.
    HoldEndsOnce,
    /// The journal has every version from the second to the schedule's own.
    JournalIsGapless,
    /// The journal adds up to the seats.
    JournalAddsUp,
    /// A journal entry's batch has a record, until such records are purged.
    JournalHasItsBatch,
    /// The changes of claims in a journal entry name exactly the seats that it writes.
    JournalHasItsEvents,
    /// No version is above the schedule's own.
    VersionIsTheNewest,
    /// No hold or booking was granted more seats than the schedule allows.
    SizeLimitIsKept,
    /// No customer has more seats than the schedule allows.
    CustomerLimitIsKept,
    /// The resource that an answer describes exists.
    AnswerHasItsEffect,
    /// The prices and the total of an answer are those of the seats.
    AnswerAddsUp,
    /// Every row can have been written by a version of this program.
    RowIsReadable,
}

impl Invariant {
    /// Every invariant.
    pub const ALL: &'static [Self] = <Self as VariantArray>::VARIANTS;
}

/// The subject of a violation. The text form is its kind, as one word.
#[derive(Debug, Clone, PartialEq, Eq, AsRefStr)]
#[strum(serialize_all = "snake_case")]
pub enum Subject {
    /// The schedule as a whole.
    Schedule,
    /// A seat: its number and label.
    Seat(SeatNumber, String),
    /// A hold.
    Hold(HoldId),
    /// A booking.
    Booking(BookingId),
    /// A block.
    Block(BlockId),
    /// The journal entry that leads to a version.
    Journal(i64),
    /// A customer.
    Customer(CustomerId),
    /// The answer under a key.
    Answer(RequestKey),
    /// A row that cannot be read: its table and key.
    Row(&'static str, String),
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// The schedule; `None` if the subject belongs to none.
    pub schedule: Option<ScheduleId>,
    /// The subject.
    pub subject: Subject,
    /// What the invariant requires.
    pub expected: String,
    /// What the database has.
    pub found: String,
}

impl Subject {
    /// The subject's identifier; empty for a schedule, which the violation names already.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Schedule => String::new(),
            Self::Seat(number, label) => format!("{label} (number {})", number.0),
            Self::Hold(id) => id.to_string(),
            Self::Booking(id) => id.to_string(),
            Self::Block(id) => id.to_string(),
            Self::Journal(version) => version.to_string(),
            Self::Customer(customer) => customer.as_str().to_owned(),
            Self::Answer(request) => format!("{} of {}", request.key, request.caller),
            Self::Row(table, key) => format!("{table} {key}"),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.invariant.as_ref())?;
        if let Some(schedule) = self.schedule {
            write!(f, ", schedule {schedule}")?;
        }
        if self.subject != Subject::Schedule {
            write!(f, ", {} {}", self.subject.as_ref(), self.subject.id())?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

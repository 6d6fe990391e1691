//! What must be true of a database at any moment, as checks over rows.
//!
//! The rows of one schedule are shown to a [`schedule::ScheduleAudit`] page by page, all of one snapshot;
//! recorded answers are judged one by one by [`answer`]. Nothing here decides a sale, and no decision of a
//! sale is used here: an auditor that shares decisions with the audited repeats its mistakes. It does share
//! the decoding of rows (`src/store/connection/rows.rs`) and the constant of [`super::version`].

pub mod answer;
mod claims;
mod replay;
pub mod schedule;

use std::fmt;

use super::command::RequestKey;
use super::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};

/// Declares the invariants with their names and what they promise.
macro_rules! invariants {
    ($($(#[doc = $promise:literal])+ $variant:ident = $name:literal),+ $(,)?) => {
        /// What is audited. The names are for ever: alerts are written on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Invariant {
            $($(#[doc = $promise])+ $variant,)+
        }

        impl Invariant {
            /// Every invariant.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Their names, in the same order.
            pub const NAMES: &'static [&'static str] = &[$($name),+];

            /// The name in metrics and reports.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }
    };
}

invariants! {
    /// A schedule has the seats of its plan, numbered without a gap, and a version row.
    ScheduleIsComplete = "schedule_is_complete",
    /// A seat belongs to at most one live booking.
    SeatIsSoldOnce = "seat_is_sold_once",
    /// A seat that is not for sale names a claim that lives and lists it.
    SeatHasItsClaim = "seat_has_its_claim",
    /// A booking's list, its sales, its count, its status and the seats that name it agree.
    BookingHasItsSeats = "booking_has_its_seats",
    /// A hold in its time has all its seats until the same end.
    HoldHasItsSeats = "hold_has_its_seats",
    /// A block that is not lifted has all its seats.
    BlockHasItsSeats = "block_has_its_seats",
    /// A hold ends once: it became the one booking that names it, or none.
    HoldEndsOnce = "hold_ends_once",
    /// The journal has every version from the second to the schedule's own.
    JournalIsGapless = "journal_is_gapless",
    /// The journal adds up to the seats.
    JournalAddsUp = "journal_adds_up",
    /// A journal entry's batch is on record while such records are kept.
    JournalHasItsBatch = "journal_has_its_batch",
    /// No version is above the schedule's own.
    VersionIsTheNewest = "version_is_the_newest",
    /// No hold or booking was granted more seats than the schedule allows.
    SizeLimitIsKept = "size_limit_is_kept",
    /// No customer has more seats than the schedule allows.
    CustomerLimitIsKept = "customer_limit_is_kept",
    /// An answer under a key speaks of something that exists.
    AnswerHasItsEffect = "answer_has_its_effect",
    /// The prices and the total of an answer are those of the seats.
    AnswerAddsUp = "answer_adds_up",
    /// Every row is one that some version of this program can have written.
    RowIsReadable = "row_is_readable",
}

/// What a violation is about.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// One thing that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What was promised.
    pub invariant: Invariant,
    /// Of which schedule, where it is one schedule's.
    pub schedule: Option<ScheduleId>,
    /// Of what.
    pub subject: Subject,
    /// What should have been there.
    pub expected: String,
    /// What is.
    pub found: String,
}

impl Subject {
    /// The kind of thing, one word.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Seat(..) => "seat",
            Self::Hold(_) => "hold",
            Self::Booking(_) => "booking",
            Self::Block(_) => "block",
            Self::Journal(_) => "journal",
            Self::Customer(_) => "customer",
            Self::Answer(_) => "answer",
            Self::Row(..) => "row",
        }
    }

    /// Which of its kind; empty for a schedule, which the violation names already.
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
        write!(f, "{}", self.invariant.as_str())?;
        if let Some(schedule) = self.schedule {
            write!(f, ", schedule {schedule}")?;
        }
        if self.subject != Subject::Schedule {
            write!(f, ", {} {}", self.subject.kind(), self.subject.id())?;
        }
        write!(f, ": expected {}, found {}", self.expected, self.found)
    }
}

//! The audit of recorded answers: what an answer under a key names must exist, at the prices that it states.

use std::collections::HashMap;

use crate::domain::catalogue::PlanVersion;
use crate::domain::command::RequestKey;
use crate::domain::ids::{BlockId, BookingId, EventId, HoldId, ScheduleId};

use super::{Invariant, Subject, Violation};

/// What a recorded answer names. The HTTP layer, which wrote the answer, decodes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedEffect {
    /// A hold, with its prices.
    Hold(HoldId, RecordedPrices),
    /// A booking, with its prices.
    Booking(BookingId, RecordedPrices),
    /// A block.
    Block(BlockId),
    /// An event.
    Event(EventId),
    /// A schedule.
    Schedule(ScheduleId),
    /// A version of a plan.
    Plan(PlanVersion),
    /// The end of a claim, whose answer has no body.
    Nothing,
}

/// The prices that an answer states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedPrices {
    /// Label and price of each seat, in minor units.
    pub seats: Vec<(String, i64)>,
    /// The total in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// The prices that the database has for a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredPrices {
    /// The price of each label of the claim.
    pub prices: HashMap<String, i64>,
    /// The schedule's currency.
    pub currency: String,
}

impl RecordedEffect {
    /// The schedule that it belongs to.
    #[must_use]
    pub fn schedule(&self) -> Option<ScheduleId> {
        match self {
            Self::Hold(id, _) => Some(id.schedule),
            Self::Booking(id, _) => Some(id.schedule),
            Self::Block(id) => Some(id.schedule),
            Self::Schedule(id) => Some(*id),
            Self::Event(_) | Self::Plan(_) | Self::Nothing => None,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Hold(id, _) => format!("hold {id}"),
            Self::Booking(id, _) => format!("booking {id}"),
            Self::Block(id) => format!("block {id}"),
            Self::Event(id) => format!("event {id}"),
            Self::Schedule(id) => format!("schedule {id}"),
            Self::Plan(plan) => format!("seat plan {} version {}", plan.id, plan.version),
            Self::Nothing => "nothing".to_owned(),
        }
    }
}

/// Checks one answer. `recorded` is `None` if it cannot be decoded, `stored` if what it names does not exist.
#[must_use]
pub fn check(
    request: &RequestKey,
    recorded: Option<&RecordedEffect>,
    stored: Option<&StoredPrices>,
) -> Option<Violation> {
    let violation = |invariant, expected: String, found: String| {
        let subject = Subject::Answer(request.clone());
        let schedule = recorded.and_then(RecordedEffect::schedule);
        Some(Violation { invariant, schedule, subject, expected, found })
    };
    let Some(recorded) = recorded else {
        let (expected, found) = ("an answer of this service", "something else");
        return violation(Invariant::RowIsReadable, expected.into(), found.into());
    };
    let name = recorded.name();
    let Some(StoredPrices { prices, currency }) = stored else {
        let expected = format!("{name} to exist, as the answer says");
        return violation(Invariant::AnswerHasItsEffect, expected, "nothing".into());
    };
    let (RecordedEffect::Hold(_, stated) | RecordedEffect::Booking(_, stated)) = recorded else {
        return None;
    };
    let is_priced = stated.seats.iter().all(|(label, price)| prices.get(label) == Some(price));
    let sum: i64 = stated.seats.iter().map(|(_, price)| price).sum();
    if is_priced && sum == stated.amount && stated.currency == *currency {
        return None;
    }
    let expected = format!("the prices of {name}: {prices:?} {currency}");
    let found = format!("{:?}, {} {} together", stated.seats, stated.amount, stated.currency);
    violation(Invariant::AnswerAddsUp, expected, found)
}

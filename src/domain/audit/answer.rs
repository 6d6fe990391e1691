//! The audit of recorded answers: what was told under a key must exist, at the prices it was told.

use std::collections::HashMap;

use crate::domain::catalogue::PlanVersion;
use crate::domain::command::RequestKey;
use crate::domain::ids::{BlockId, BookingId, EventId, HoldId, ScheduleId};

use super::{Invariant, Subject, Violation};

/// What a recorded answer tells of; the HTTP layer, which wrote it, reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedEffect {
    /// A hold, with what it costs.
    Hold(HoldId, Bill),
    /// A booking, with what it costs.
    Booking(BookingId, Bill),
    /// A block.
    Block(BlockId),
    /// An event.
    Event(EventId),
    /// A schedule.
    Schedule(ScheduleId),
    /// A version of a plan.
    Plan(PlanVersion),
    /// An end: it has no body, so it names nothing.
    Nothing,
}

/// What an answer says that seats cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Label and price of each, in minor units.
    pub seats: Vec<(String, i64)>,
    /// The total in minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// What the database has of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tariff {
    /// The claim's seats: the price of each label.
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
}

/// Judges one answer: `told` is `None` if it cannot be read, `found` if what it names does not exist.
#[must_use]
pub fn check(
    request: &RequestKey,
    told: Option<&RecordedEffect>,
    found: Option<&Tariff>,
) -> Option<Violation> {
    let violation = |invariant, expected: String, found: String| {
        let subject = Subject::Answer(request.clone());
        let schedule = told.and_then(RecordedEffect::schedule);
        Some(Violation { invariant, schedule, subject, expected, found })
    };
    let Some(told) = told else {
        let (expected, found) = ("an answer of this service", "something else");
        return violation(Invariant::RowIsReadable, expected.into(), found.into());
    };
    let Some(tariff) = found else {
        let expected = format!("what it tells of to exist: {}", name(told));
        return violation(Invariant::AnswerHasItsEffect, expected, "nothing".into());
    };
    let (RecordedEffect::Hold(_, bill) | RecordedEffect::Booking(_, bill)) = told else {
        return None;
    };
    let is_priced = bill.seats.iter().all(|(label, price)| tariff.prices.get(label) == Some(price));
    let sum: i64 = bill.seats.iter().map(|(_, price)| price).sum();
    if is_priced && sum == bill.amount && bill.currency == tariff.currency {
        return None;
    }
    let expected = format!("the prices of {}: {:?} {}", name(told), tariff.prices, tariff.currency);
    let found = format!("{:?}, {} {} together", bill.seats, bill.amount, bill.currency);
    violation(Invariant::AnswerAddsUp, expected, found)
}

fn name(told: &RecordedEffect) -> String {
    match told {
        RecordedEffect::Hold(id, _) => format!("hold {id}"),
        RecordedEffect::Booking(id, _) => format!("booking {id}"),
        RecordedEffect::Block(id) => format!("block {id}"),
        RecordedEffect::Event(id) => format!("event {id}"),
        RecordedEffect::Schedule(id) => format!("schedule {id}"),
        RecordedEffect::Plan(plan) => format!("seat plan {} version {}", plan.id, plan.version),
        RecordedEffect::Nothing => "nothing".to_owned(),
    }
}

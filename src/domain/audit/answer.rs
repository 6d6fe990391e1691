//! The audit of recorded answers: what was told under a key must exist, at the prices it was told.

use std::collections::HashMap;

use crate::domain::command::RequestKey;
use crate::domain::effect::Resource;

use super::{Invariant, Subject, Violation};

/// What a recorded answer states, read by the HTTP layer, which wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEffect {
    /// What it describes.
    pub resource: Resource,
    /// What it costs; for holds and bookings.
    pub bill: Option<Bill>,
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

/// Judges one answer: `told` is `None` if it cannot be read, `found` if what it names does not exist.
#[must_use]
pub fn check(
    request: &RequestKey,
    told: Option<&RecordedEffect>,
    found: Option<&Tariff>,
) -> Option<Violation> {
    let violation = |invariant, expected: String, found: String| {
        let subject = Subject::Answer(request.clone());
        let schedule = told.and_then(|told| told.resource.schedule());
        Some(Violation { invariant, schedule, subject, expected, found })
    };
    let Some(told) = told else {
        let (expected, found) = ("an answer of this service", "something else");
        return violation(Invariant::RowIsReadable, expected.into(), found.into());
    };
    let Some(tariff) = found else {
        let expected = format!("what it tells of to exist: {}", name(&told.resource));
        return violation(Invariant::AnswerHasItsEffect, expected, "nothing".into());
    };
    let bill = told.bill.as_ref()?;
    let is_priced = bill.seats.iter().all(|(label, price)| tariff.prices.get(label) == Some(price));
    let sum: i64 = bill.seats.iter().map(|(_, price)| price).sum();
    if is_priced && sum == bill.amount && bill.currency == tariff.currency {
        return None;
    }
    let expected =
        format!("the prices of {}: {:?} {}", name(&told.resource), tariff.prices, tariff.currency);
    let found = format!("{:?}, {} {} together", bill.seats, bill.amount, bill.currency);
    violation(Invariant::AnswerAddsUp, expected, found)
}

fn name(resource: &Resource) -> String {
    match resource {
        Resource::Hold(id) => format!("hold {id}"),
        Resource::Booking(id) => format!("booking {id}"),
        Resource::Block(id) => format!("block {id}"),
        Resource::Event(id) => format!("event {id}"),
        Resource::Schedule(id) => format!("schedule {id}"),
        Resource::SeatPlan(plan) => format!("seat plan {} version {}", plan.id, plan.version),
        Resource::Nothing => "nothing".to_owned(),
    }
}

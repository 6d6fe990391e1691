//! The audit of recorded answers: the resource that an answer describes must exist, with the prices that the answer
//! states.

use std::collections::HashMap;

use crate::domain::command::RequestKey;
use crate::domain::effect::Resource;

use super::{Invariant, Subject, Violation};

/// The content of a recorded answer, decoded by the HTTP layer, which wrote the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedEffect {
    /// What the answer describes.
    pub resource: Resource,
    /// The stated prices, for holds and bookings.
    pub bill: Option<RecordedPrices>,
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
    /// Whether seats may have been removed from the claim since the answer: it is a hold that was changed.
    pub changed: bool,
}

/// Checks one answer. `recorded` is `None` if the answer cannot be decoded, `stored` if its resource does not exist.
#[must_use]
pub fn check(
    request: &RequestKey,
    recorded: Option<&RecordedEffect>,
    stored: Option<&StoredPrices>,
) -> Option<Violation> {
    let violation = |invariant, expected: String, found: String| {
        let subject = Subject::Answer(request.clone());
        let schedule = recorded.and_then(|recorded| recorded.resource.schedule());
        Some(Violation { invariant, schedule, subject, expected, found })
    };
    let Some(recorded) = recorded else {
        let expected = "an answer of this service";
        let found = "something else";
        return violation(Invariant::RowIsReadable, expected.into(), found.into());
    };
    let Some(stored) = stored else {
        let expected = format!("{} to exist, as stated in the answer", name(&recorded.resource));
        return violation(Invariant::AnswerHasItsEffect, expected, "nothing".into());
    };
    let bill = recorded.bill.as_ref()?;
    let is_priced = bill.seats.iter().all(|(label, price)| match stored.prices.get(label) {
        Some(stored) => stored == price,
        None => stored.changed,
    });
    let sum: i64 = bill.seats.iter().map(|(_, price)| price).sum();
    if is_priced && sum == bill.amount && bill.currency == stored.currency {
        return None;
    }
    let expected = format!(
        "the prices of {}: {:?} {}",
        name(&recorded.resource),
        stored.prices,
        stored.currency
    );
    let found = format!("{:?}, {} {} together", bill.seats, bill.amount, bill.currency);
    violation(Invariant::AnswerAddsUp, expected, found)
}

fn name(resource: &Resource) -> String {
    match resource {
        Resource::SeatPlan(plan) => format!("seat plan {} version {}", plan.id, plan.version),
        Resource::Nothing => "nothing".to_owned(),
        other => format!("{} {}", other.as_ref(), other.id()),
    }
}

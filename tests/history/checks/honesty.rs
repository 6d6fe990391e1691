//! C3 and C5: what a refusal promises, and what a key does.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::history::{Action, Answer, End, Evidence, History, Op, Violation};

use super::{C3, C5};

/// Refusals that speak of the request's own claim, which a key that has had its effect never gets.
const BUSINESS: [&str; 8] = [
    "seats_unavailable",
    "hold_expired",
    "hold_released",
    "hold_confirmed",
    "booking_cancelled",
    "seat_limit_reached",
    "validation_failed",
    "not_found",
];

fn by_key(history: &History) -> BTreeMap<&str, Vec<&Op>> {
    let mut keys: BTreeMap<&str, Vec<&Op>> = BTreeMap::new();
    for op in &history.ops {
        if let Some(key) = &op.key {
            keys.entry(key).or_default().push(op);
        }
    }
    keys
}

fn customer_of(action: &Action) -> Option<&str> {
    match action {
        Action::Book { customer, .. } | Action::Hold { customer, .. } => Some(customer),
        _ => None,
    }
}

/// What was refused had no effect, and every effect was asked for.
pub(super) fn honest_refusal(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut asked: HashSet<&str> = HashSet::new();
    let mut refused: HashMap<&str, Vec<u64>> = HashMap::new();
    for op in &history.ops {
        if let Some(customer) = customer_of(&op.action) {
            refused.entry(customer).or_default().push(op.id);
            if op.may_have_acted() {
                asked.insert(customer);
            }
        }
    }
    let holds = evidence.holds.iter().map(|(id, row)| (id, &row.customer));
    let bookings = evidence.bookings.iter().map(|(id, row)| (id, &row.customer));
    for (id, customer) in holds.chain(bookings) {
        if !asked.contains(customer.as_str()) {
            let ops = refused.get(customer.as_str()).cloned().unwrap_or_default();
            let what = match ops.is_empty() {
                true => format!("{id} belongs to {customer}, who never asked for anything"),
                false => format!("{id} exists, and all that {customer} asked for was refused"),
            };
            found.push(Violation::new(C3, what, ops));
        }
    }
    for (key, ops) in by_key(history) {
        if evidence.answers.contains_key(key) && !ops.iter().any(|op| op.may_have_acted()) {
            let what = format!("an effect is recorded under {key}, and every attempt was refused");
            found.push(Violation::new(C3, what, ops.iter().map(|op| op.id).collect()));
        }
    }
    found.extend(undone(history, evidence));
    found.extend(not_cancelled(history, evidence));
    found
}

/// Confirmations refused as those of a cancelled booking, although a seat of the booking is still sold.
fn not_cancelled(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for op in history.ops.iter().filter(|op| op.refused_as(&["booking_cancelled"])) {
        let Action::Confirm { hold } = &op.action else { continue };
        let booking = evidence.holds.get(hold).and_then(|row| row.booking.as_ref());
        let live = |booking: &String| {
            evidence.sales.iter().any(|sale| sale.booking == *booking && sale.released.is_none())
        };
        if booking.is_none_or(live) {
            let what = format!("hold {hold} was refused as cancelled, and its booking is not");
            found.push(Violation::new(C3, what, vec![op.id]));
        }
    }
    found
}

/// Claims that ended without a request to end them that succeeded or has no known end.
fn undone(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let acted = |wanted: &dyn Fn(&Action) -> bool| {
        history.ops.iter().any(|op| op.may_have_acted() && wanted(&op.action))
    };
    for sale in evidence.sales.iter().filter(|sale| sale.released.is_some()) {
        let cancels = |action: &Action| {
            matches!(action, Action::Cancel { booking, seats }
            if *booking == sale.booking && seats.as_ref().is_none_or(|s| s.contains(&sale.number)))
        };
        if !acted(&cancels) {
            let what = format!(
                "seat {} of {} was given back without a request",
                sale.number, sale.booking
            );
            found.push(Violation::new(C3, what, Vec::new()));
        }
    }
    for (id, row) in evidence.holds.iter().filter(|(_, row)| row.status == 2) {
        if !acted(&|action| matches!(action, Action::Release { hold } if hold == id)) {
            let what = format!("hold {id} of {} was released without a request", row.customer);
            found.push(Violation::new(C3, what, Vec::new()));
        }
    }
    found
}

/// One key has one effect and, from then on, one answer.
pub(super) fn idempotency(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    // Clients of schedules without a limit are customers of one request only.
    let mut claims: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (id, row) in &evidence.holds {
        claims.entry(&row.customer).or_default().push(id);
    }
    for (id, row) in evidence.bookings.iter().filter(|(_, row)| row.hold.is_none()) {
        claims.entry(&row.customer).or_default().push(id);
    }
    for (key, ops) in by_key(history) {
        let ids = || ops.iter().map(|op| op.id).collect::<Vec<_>>();
        if let Some(claims) = claims.get(key).filter(|claims| claims.len() > 1) {
            let what = format!("{key} has had several effects: {claims:?}");
            found.push(Violation::new(C5, what, ids()));
        }
        let mut answers: Vec<(&Op, &String)> = Vec::new();
        for op in &ops {
            if let End::Ok { body, .. } = &op.end {
                answers.push((op, body));
            }
        }
        let Some((first, body)) = answers.iter().min_by_key(|(op, _)| op.done) else { continue };
        for (op, other) in &answers {
            if other != body {
                let what = format!("{key} has had two answers: {body} and {other}");
                found.push(Violation::new(C5, what, vec![first.id, op.id]));
            }
        }
        if evidence.answers.get(key) != Some(body) {
            let what = format!("{key} was answered, and another answer or none is recorded");
            found.push(Violation::new(C5, what, vec![first.id]));
        }
        for op in ops.iter().filter(|op| op.invoked > first.done && op.action == first.action) {
            if op.refused_as(&BUSINESS) {
                let what = format!("{key} had had its effect, and was then refused");
                found.push(Violation::new(C5, what, vec![first.id, op.id]));
            }
        }
    }
    found.extend(twice_confirmed(history));
    found
}

/// A hold became one booking, however many requests under however many keys asked for it.
fn twice_confirmed(history: &History) -> Vec<Violation> {
    let mut became: HashMap<&str, (&str, u64)> = HashMap::new();
    let mut found = Vec::new();
    for op in &history.ops {
        if let (Action::Confirm { hold }, Some(Answer::Booking { id, .. })) =
            (&op.action, op.answer())
        {
            let (first, witness) = became.entry(hold).or_insert((id, op.id));
            if first != id {
                let what = format!("hold {hold} became {first} and {id}");
                found.push(Violation::new(C5, what, vec![*witness, op.id]));
            }
        }
    }
    found
}

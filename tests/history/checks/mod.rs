//! The checkers: pure functions over what was recorded and what is in the database at the end. The numbers
//! are those of `docs/history.md`; C11 (payments) has nothing to check here, since Seatlock takes no money.

mod accounting;
mod claims;
mod coverage;
mod honesty;
mod order;
#[cfg(test)]
mod tests;

use crate::history::{Action, Answer, Evidence, History, Op, Violation};

pub(crate) use coverage::{Expected, coverage};

/// A checker.
type Check = fn(&History, &Evidence) -> Vec<Violation>;

pub(crate) const C1: &str = "C1 no double sale";
pub(crate) const C2: &str = "C2 no lost acknowledgement";
pub(crate) const C3: &str = "C3 honest refusal";
pub(crate) const C4: &str = "C4 all or nothing";
pub(crate) const C5: &str = "C5 idempotency";
pub(crate) const C6: &str = "C6 no lost hold";
pub(crate) const C7: &str = "C7 accounting";
pub(crate) const C8: &str = "C8 liveness";
pub(crate) const C9: &str = "C9 mode honesty";
pub(crate) const C10: &str = "C10 linearizable";
pub(crate) const C12: &str = "C12 coverage";

const CHECKS: &[Check] = &[
    claims::no_double_sale,
    claims::no_lost_acknowledgement,
    honesty::honest_refusal,
    claims::all_or_nothing,
    honesty::idempotency,
    claims::no_lost_hold,
    accounting::accounting,
    accounting::liveness,
    accounting::mode_honesty,
    order::linearizable,
];

/// All violations but those of [`coverage`].
pub(crate) fn check(history: &History, evidence: &Evidence) -> Vec<Violation> {
    CHECKS.iter().flat_map(|check| check(history, evidence)).collect()
}

/// An acknowledged booking: its operation, and its answer.
fn booked(op: &Op) -> Option<(&String, &Vec<u32>)> {
    match (&op.action, op.answer()) {
        (Action::Book { .. } | Action::Confirm { .. }, Some(Answer::Booking { id, seats, .. })) => {
            Some((id, seats))
        }
        _ => None,
    }
}

/// The schedule that an id carries.
fn schedule_of(id: &str) -> i64 {
    id.split('-').next().and_then(|text| text.parse().ok()).expect("ids carry their schedule")
}

/// Whether an operation asks to give this seat of a booking back, and may have done so.
fn gives_back(op: &Op, booking: &str, seat: u32) -> bool {
    match &op.action {
        Action::Cancel { booking: id, seats } => {
            id == booking
                && op.may_have_acted()
                && seats.as_ref().is_none_or(|seats| seats.contains(&seat))
        }
        _ => false,
    }
}

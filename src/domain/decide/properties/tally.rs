//! Coverage: counts the events of scripts, so that no property holds for lack of events.

use std::collections::BTreeMap;

use super::step::{ScriptStep, Single};
use crate::domain::claims::{BookingStatus, HoldStatus};
use crate::domain::clock::hold_end;
use crate::domain::command::Action;
use crate::domain::effect::{Effect, Outcome};
use crate::domain::rejection::{ConflictReason, Rejection};
use crate::domain::seat::SeatState;

/// The events that must happen often enough.
pub(super) const KINDS: &[&str] = &[
    "blocked",
    "booked",
    "cancelled again",
    "cancelled in part",
    "cancelled whole",
    "confirmed after an outage",
    "confirmed again",
    "confirmed in time",
    "confirmed for another customer",
    "confirmed late",
    "changed",
    "changed by nothing",
    "conflict: blocked",
    "conflict: booked",
    "conflict: held",
    "conflict: held by the customer",
    "ended hold taken over",
    "expired",
    "extended",
    "extended by nothing",
    "held",
    "key not recorded",
    "late confirm lost seats",
    "locked commands met",
    "refused: booking cancelled",
    "refused: customer limit",
    "refused: extend of an ended hold",
    "refused: hold changed",
    "refused: hold confirmed",
    "refused: hold released",
    "refused: hold too large",
    "refused: key reused",
    "refused: not found",
    "refused: not in booking",
    "refused: not in hold",
    "refused: sales closed",
    "refused: too many seats",
    "released",
    "released by removing its last seat",
    "repeated",
    "replayed",
    "still alive when swept",
    "unblocked",
];

#[derive(Default)]
pub(super) struct ScriptTally(BTreeMap<&'static str, u32>);

impl ScriptTally {
    pub(super) fn of(&self, kind: &str) -> u32 {
        self.0.get(kind).copied().unwrap_or_default()
    }

    fn add(&mut self, kind: &'static str) {
        assert!(KINDS.contains(&kind), "{kind} is not in the list");
        *self.0.entry(kind).or_default() += 1;
    }

    /// Counts the events of whole batches.
    pub(super) fn count_batch(&mut self, step: &ScriptStep<'_>) {
        if step.decision.row_lock_saves > 0 {
            self.add("locked commands met");
        }
        for outcome in &step.decision.outcomes {
            match outcome {
                Outcome::Repeated(_) => self.add("repeated"),
                Outcome::Replayed(_) => self.add("replayed"),
                _ => {}
            }
        }
    }

    pub(super) fn count(&mut self, single: &Single<'_>) {
        match single.outcome {
            Outcome::Done(effect) => {
                self.add(effect_kind(single, effect));
                if takes_over(single) {
                    self.add("ended hold taken over");
                }
            }
            Outcome::Refused(rejection) => self.count_rejection(rejection),
            Outcome::NotRecorded => self.add("key not recorded"),
            Outcome::Repeated(_) | Outcome::Replayed(_) => {}
        }
    }

    fn count_rejection(&mut self, rejection: &Rejection) {
        match rejection {
            Rejection::SeatsUnavailable(conflicts) => {
                for conflict in conflicts {
                    match conflict.reason {
                        ConflictReason::Booked => self.add("conflict: booked"),
                        ConflictReason::Held if conflict.hold.is_some() => {
                            self.add("conflict: held by the customer");
                        }
                        ConflictReason::Held => self.add("conflict: held"),
                        ConflictReason::Blocked => self.add("conflict: blocked"),
                        ConflictReason::Contended => panic!("scripts have no seat locks"),
                    }
                }
            }
            Rejection::NotFound(_) => self.add("refused: not found"),
            Rejection::HoldExpired(lost) if lost.is_empty() => {
                self.add("refused: extend of an ended hold");
            }
            Rejection::HoldExpired(_) => self.add("late confirm lost seats"),
            Rejection::HoldReleased => self.add("refused: hold released"),
            Rejection::BookingCancelled(_) => self.add("refused: booking cancelled"),
            Rejection::HoldConfirmed => self.add("refused: hold confirmed"),
            Rejection::NotInHold(_) => self.add("refused: not in hold"),
            Rejection::HoldChanged { .. } => self.add("refused: hold changed"),
            Rejection::HoldTooLarge { .. } => self.add("refused: hold too large"),
            Rejection::NotInBooking(_) => self.add("refused: not in booking"),
            Rejection::SalesClosed => self.add("refused: sales closed"),
            Rejection::TooManySeats { .. } => self.add("refused: too many seats"),
            Rejection::SeatLimitReached { .. } => self.add("refused: customer limit"),
            Rejection::KeyReused => self.add("refused: key reused"),
            // No command of a script comes through the queue.
            Rejection::TooLate => self.add("refused: too late"),
        }
    }
}

fn effect_kind(single: &Single<'_>, effect: &Effect) -> &'static str {
    let before = single.before;
    let changed = before.seats != single.after.seats;
    match effect {
        Effect::Held(_) => "held",
        Effect::Extended(_) if changed => "extended",
        Effect::Extended(_) => "extended by nothing",
        Effect::Changed(_) if changed => "changed",
        Effect::Changed(_) => "changed by nothing",
        Effect::Released(_) if matches!(single.command.action, Action::Change { .. }) => {
            "released by removing its last seat"
        }
        Effect::Released(_) => "released",
        Effect::Booked(_) => "booked",
        Effect::Confirmed(view) => {
            let hold = view.row.hold.and_then(|hold| before.holds.get(&hold)).unwrap();
            match hold.status {
                HoldStatus::Confirmed => "confirmed again",
                _ if hold.customer != view.row.customer => "confirmed for another customer",
                _ if !before.is_alive(hold, single.now) => "confirmed late",
                _ if hold.until <= single.now => "confirmed after an outage",
                _ => "confirmed in time",
            }
        }
        Effect::Cancelled(_) if !changed => "cancelled again",
        Effect::Cancelled(view) if view.row.status == BookingStatus::Cancelled => "cancelled whole",
        Effect::Cancelled(_) => "cancelled in part",
        Effect::Expired if before == single.after => "still alive when swept",
        Effect::Expired => "expired",
        Effect::Blocked(_) => "blocked",
        Effect::Unblocked => "unblocked",
    }
}

/// Whether another claim took a seat of an expired hold.
fn takes_over(single: &Single<'_>) -> bool {
    let before = single.before;
    let own = match &single.command.action {
        Action::Confirm { hold, .. }
        | Action::Extend { hold, .. }
        | Action::Change { hold, .. } => Some(hold.uuid),
        _ => None,
    };
    before.seats.iter().any(|(key, row)| match row.state {
        SeatState::Held { hold, until } => {
            let end = hold_end(until, &before.outages, before.policy.outage_grace);
            let taken = single.after.seats[key].state;
            let free = taken == SeatState::Available;
            own != Some(hold) && end <= single.now && !free && taken != row.state
        }
        _ => false,
    })
}

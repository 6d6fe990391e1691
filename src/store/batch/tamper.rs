//! What mutants do to a batch before it is decided. Without the feature `faults` nothing of it is left.

use std::time::Duration;

use crate::domain::claims::HoldStatus;
use crate::domain::clock::{EpochMs, hold_end};
use crate::domain::command::{Action, Command};
use crate::domain::ids::HoldId;
use crate::domain::rows::Rows;
use crate::domain::rules::Policy;
use crate::domain::seat::SeatState;
use crate::faults::mutants::Mutant;

/// Longer than anybody waits.
const LONG: Duration = Duration::from_secs(3_600);

/// Deceives `decide()` as the mutants that are on would.
pub(super) fn tamper(now: EpochMs, policy: &Policy, rows: &mut Rows, commands: &mut [Command]) {
    for command in commands {
        match &mut command.action {
            Action::Book { seats, .. } | Action::Hold { seats, .. }
                if Mutant::PartialSeats.is_on() =>
            {
                let schedule = command.schedule;
                let free = |seat: &&crate::domain::ids::SeatNumber| {
                    let row = rows.seats.get(&(schedule, **seat));
                    let grace = policy.outage_grace;
                    row.is_some_and(|row| row.state.refuses(now, &rows.outages, grace).is_none())
                };
                let some: Vec<_> = seats.iter().filter(free).copied().collect();
                if !some.is_empty() {
                    *seats = some;
                }
            }
            Action::Confirm { hold, .. } if Mutant::ConfirmAfterEnd.is_on() => {
                let until = now.plus(LONG);
                revive(now, policy, rows, *hold, until, |state| {
                    !matches!(state, SeatState::Booked { .. })
                });
            }
            Action::Extend { hold, .. } if Mutant::ExtendAfterEnd.is_on() => {
                let until = EpochMs(now.0 + 1);
                revive(now, policy, rows, *hold, until, |state| state == SeatState::Available);
            }
            Action::Expire { hold } if Mutant::HastySweeper.is_on() => {
                if let Some(row) = rows.holds.get_mut(hold) {
                    row.until = EpochMs(0);
                }
            }
            _ => {}
        }
    }
}

/// Makes a hold that has ended look alive, with those of its seats whose state `gives_way`.
fn revive(
    now: EpochMs,
    policy: &Policy,
    rows: &mut Rows,
    id: HoldId,
    until: EpochMs,
    gives_way: impl Fn(SeatState) -> bool,
) {
    let Some(row) = rows.holds.get_mut(&id) else { return };
    let ended = hold_end(row.until, &rows.outages, policy.outage_grace) <= now;
    if !ended || !matches!(row.status, HoldStatus::Held | HoldStatus::Expired) {
        return;
    }
    row.status = HoldStatus::Held;
    row.until = until;
    for number in &row.seats {
        if let Some(seat) = rows.seats.get_mut(&(id.schedule, *number))
            && gives_way(seat.state)
        {
            seat.state = SeatState::Held { hold: id.uuid, until };
        }
    }
}

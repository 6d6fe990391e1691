//! The command that changes the seats of a hold.

use crate::domain::claims::{HoldRow, HoldStatus};
use crate::domain::command::Command;
use crate::domain::effect::Effect;
use crate::domain::ids::{HoldId, SeatNumber};
use crate::domain::rejection::Rejection;
use crate::domain::seat::SeatState;

use super::end::{active_hold, end_hold};
use super::state::DecisionState;
use super::take::{check_seats, take_seats};

/// Adds seats to an active hold and removes others. The end of the hold stays as it is, and the rules count the seats
/// that the hold will have. A hold without seats is released. A refused change leaves the hold as it was.
pub(super) fn change(
    batch: &mut DecisionState,
    command: &Command,
    id: HoldId,
    (add, remove): (&[SeatNumber], &[SeatNumber]),
    version: Option<u32>,
) -> Result<Effect, Rejection> {
    let mut row = active_hold(batch, id)?;
    if version.is_some_and(|version| version != row.version) {
        return Err(Rejection::HoldChanged { version: row.version });
    }
    // All lists are ascending. A request may name as many seats as a schedule has.
    let lists = |seats: &[SeatNumber], number: &SeatNumber| seats.binary_search(number).is_ok();
    let foreign = remove.iter().filter(|number| !lists(&row.seats, number));
    let foreign: Vec<String> = foreign.map(|number| batch.label((id.schedule, *number))).collect();
    if !foreign.is_empty() {
        return Err(Rejection::NotInHold(foreign));
    }
    let added: Vec<SeatNumber> =
        add.iter().filter(|number| !lists(&row.seats, number)).copied().collect();
    let kept = row.seats.iter().filter(|number| !lists(remove, number));
    let mut seats: Vec<SeatNumber> = kept.chain(&added).copied().collect();
    seats.sort_unstable();
    if seats.is_empty() {
        return Ok(Effect::Released(end_hold(batch, row, HoldStatus::Released)));
    }
    if seats == row.seats {
        return Ok(Effect::Changed(batch.hold_view(row)?));
    }
    if !added.is_empty() {
        check_rules(batch, &row, &seats)?;
        check_seats(batch, command, &added, Some(&row.customer))?;
    }
    batch.free_seats(id.schedule, remove, |state| state.names_hold(id.uuid));
    take_seats(batch, command, &added, SeatState::Held { hold: id.uuid, until: row.until });
    row.seats = seats;
    row.version = row.version.saturating_add(1);
    batch.put_hold(row.clone());
    Ok(Effect::Changed(batch.hold_view(row)?))
}

/// Checks the schedule's rules for a hold that gets additional seats: sales window, size, and the customer's limit.
fn check_rules(
    batch: &DecisionState,
    before: &HoldRow,
    seats: &[SeatNumber],
) -> Result<(), Rejection> {
    let schedule = before.id.schedule;
    let rules = batch.rules(schedule)?;
    if !rules.on_sale(batch.now) {
        return Err(Rejection::SalesClosed);
    }
    let max = rules.max_seats_per_booking;
    if u32::try_from(seats.len()).map_or(true, |seats| seats > max) {
        return Err(Rejection::HoldTooLarge { max });
    }
    match seats.len().saturating_sub(before.seats.len()) {
        0 => Ok(()),
        more => batch.check_customer_limit(schedule, &before.customer, more),
    }
}

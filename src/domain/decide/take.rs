//! Commands that take seats: hold, book, block and confirm.

use std::time::Duration;

use crate::domain::claims::{BlockRow, BookingRow, BookingStatus, HoldRow, HoldStatus};
use crate::domain::command::Command;
use crate::domain::effect::Effect;
use crate::domain::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rejection::{Conflict, Rejection};
use crate::domain::rows::SeatKey;
use crate::domain::seat::SeatState;

use super::state::DecisionState;

pub(super) fn hold(
    batch: &mut DecisionState,
    command: &Command,
    id: HoldId,
    seats: &[SeatNumber],
    customer: &CustomerId,
    ttl: Option<Duration>,
) -> Result<Effect, Rejection> {
    check_sale(batch, command.schedule, seats.len(), customer)?;
    check_seats(batch, command, seats, Some(customer))?;
    let life = ttl.unwrap_or(batch.rules(command.schedule)?.hold_ttl);
    let until = batch.now.plus(life.min(batch.policy.hold_ttl_max));
    let state = SeatState::Held { hold: id.uuid, until };
    take_seats(batch, command, seats, state);
    let row = HoldRow {
        id,
        customer: customer.clone(),
        seats: seats.to_vec(),
        version: 1,
        status: HoldStatus::Held,
        created_at: batch.now,
        until,
        booking: None,
    };
    batch.put_hold(row.clone());
    Ok(Effect::Held(batch.hold_view(row)?))
}

pub(super) fn book(
    batch: &mut DecisionState,
    command: &Command,
    id: BookingId,
    seats: &[SeatNumber],
    customer: &CustomerId,
) -> Result<Effect, Rejection> {
    check_sale(batch, command.schedule, seats.len(), customer)?;
    check_seats(batch, command, seats, Some(customer))?;
    take_seats(batch, command, seats, SeatState::Booked { booking: id.uuid });
    let row = sell(batch, id, seats, customer, None);
    Ok(Effect::Booked(batch.booking_view(row)?))
}

pub(super) fn block(
    batch: &mut DecisionState,
    command: &Command,
    id: BlockId,
    seats: &[SeatNumber],
    reason: &str,
) -> Result<Effect, Rejection> {
    check_seats(batch, command, seats, None)?;
    take_seats(batch, command, seats, SeatState::Blocked { block: id.uuid });
    let row = BlockRow {
        id,
        seats: seats.to_vec(),
        reason: reason.to_owned(),
        created_at: batch.now,
        lifted: false,
    };
    batch.put_block(row.clone());
    Ok(Effect::Blocked(batch.block_view(row)))
}

/// Turns a hold into a booking. Before the hold expires, it owns its seats and no rule is checked. After that, the
/// rules of a new sale apply, and a lost seat means `HoldExpired`, so that a shop that has received money can refund
/// it. If the hold was confirmed before, its booking is returned with its present seats. If the whole booking was
/// cancelled since, the command is refused.
///
/// A hold of a browser session becomes a booking of the customer that is given, whose limit is then checked.
pub(super) fn confirm(
    batch: &mut DecisionState,
    hold: HoldId,
    booking: BookingId,
    customer: Option<&CustomerId>,
) -> Result<Effect, Rejection> {
    let mut row = batch.find_hold(hold)?;
    let other = customer.filter(|customer| **customer != row.customer);
    if other.is_some() && !row.customer.is_session() {
        return Err(Rejection::NotFound("hold"));
    }
    match row.status {
        HoldStatus::Released => return Err(Rejection::HoldReleased),
        HoldStatus::Confirmed => {
            let id = row.booking.ok_or(Rejection::NotFound("booking"))?;
            let booking = batch.find_booking(id)?;
            if other.is_some_and(|customer| *customer != booking.customer) {
                return Err(Rejection::NotFound("hold"));
            }
            if booking.status == BookingStatus::Cancelled {
                return Err(Rejection::BookingCancelled(id));
            }
            return Ok(Effect::Confirmed(batch.booking_view(booking)?));
        }
        HoldStatus::Held | HoldStatus::Expired => {}
    }
    let in_time = row.status == HoldStatus::Held && batch.now < batch.expires_at(&row);
    let buyer = other.unwrap_or(&row.customer).clone();
    if !in_time {
        check_sale(batch, hold.schedule, row.seats.len(), &buyer)?;
    } else if other.is_some() {
        batch.check_customer_limit(hold.schedule, &buyer, row.seats.len())?;
    }
    let lost = lost_seats(batch, &row);
    if !lost.is_empty() {
        return Err(Rejection::HoldExpired(lost));
    }
    for number in &row.seats {
        let state = SeatState::Booked { booking: booking.uuid };
        batch.set_seat((hold.schedule, *number), state);
    }
    row.status = HoldStatus::Confirmed;
    row.booking = Some(booking);
    batch.put_hold(row.clone());
    let sold = sell(batch, booking, &row.seats, &buyer, Some(hold));
    Ok(Effect::Confirmed(batch.booking_view(sold)?))
}

/// The seats of a hold that are neither its own nor free.
pub(super) fn lost_seats(batch: &DecisionState, hold: &HoldRow) -> Vec<Conflict> {
    let lost = |number: &SeatNumber| {
        let key = (hold.id.schedule, *number);
        if batch.state(key).is_some_and(|state| state.names_hold(hold.id.uuid)) {
            return None;
        }
        batch.conflict(key, Some(&hold.customer))
    };
    hold.seats.iter().filter_map(lost).collect()
}

/// Checks the schedule's rules for a new sale: sales window, size, and the customer's limit.
fn check_sale(
    batch: &DecisionState,
    schedule: ScheduleId,
    seats: usize,
    customer: &CustomerId,
) -> Result<(), Rejection> {
    let rules = batch.rules(schedule)?;
    if !rules.on_sale(batch.now) {
        return Err(Rejection::SalesClosed);
    }
    if u32::try_from(seats).map_or(true, |seats| seats > rules.max_seats_per_booking) {
        return Err(Rejection::TooManySeats { max: rules.max_seats_per_booking });
    }
    batch.check_customer_limit(schedule, customer, seats)
}

/// Refuses if a seat cannot be taken for `customer`.
pub(super) fn check_seats(
    batch: &mut DecisionState,
    command: &Command,
    seats: &[SeatNumber],
    customer: Option<&CustomerId>,
) -> Result<(), Rejection> {
    let keys = || seats.iter().map(|number| (command.schedule, *number));
    let conflicts: Vec<(SeatKey, Conflict)> =
        keys().filter_map(|key| Some((key, batch.conflict(key, customer)?))).collect();
    if conflicts.is_empty() {
        return Ok(());
    }
    if command.locked {
        batch.count_failed_locks(conflicts.iter().map(|(key, _)| *key));
    }
    Err(Rejection::SeatsUnavailable(conflicts.into_iter().map(|(_, conflict)| conflict).collect()))
}

/// Gives seats their new state.
pub(super) fn take_seats(
    batch: &mut DecisionState,
    command: &Command,
    seats: &[SeatNumber],
    state: SeatState,
) {
    for number in seats {
        let key = (command.schedule, *number);
        batch.set_seat(key, state);
        if command.locked {
            batch.changes.taken_under_lock.insert(key);
        } else {
            batch.changes.taken_under_lock.remove(&key);
        }
    }
}

fn sell(
    batch: &mut DecisionState,
    id: BookingId,
    seats: &[SeatNumber],
    customer: &CustomerId,
    hold: Option<HoldId>,
) -> BookingRow {
    let row = BookingRow {
        id,
        customer: customer.clone(),
        seats: seats.to_vec(),
        live_seats: u32::try_from(seats.len()).unwrap_or(u32::MAX),
        status: BookingStatus::Confirmed,
        hold,
        created_at: batch.now,
        cancelled_at: None,
    };
    for number in seats {
        batch.begin_booked_seat((id.schedule, *number), id.uuid);
    }
    batch.put_booking(row.clone());
    row
}

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
    working: &mut DecisionState,
    command: &Command,
    id: HoldId,
    seats: &[SeatNumber],
    customer: &CustomerId,
    ttl: Option<Duration>,
) -> Result<Effect, Rejection> {
    check_sale(working, command.schedule, seats.len(), customer)?;
    check_seats(working, command, seats)?;
    let life = ttl.unwrap_or(working.rules(command.schedule)?.hold_ttl);
    let until = working.now.plus(life.min(working.policy.hold_ttl_max));
    let state = SeatState::Held { hold: id.uuid, until };
    take_seats(working, command, seats, state);
    let row = HoldRow {
        id,
        customer: customer.clone(),
        seats: seats.to_vec(),
        status: HoldStatus::Held,
        created_at: working.now,
        until,
        booking: None,
    };
    working.put_hold(row.clone());
    Ok(Effect::Held(working.view_hold(row)?))
}

pub(super) fn book(
    working: &mut DecisionState,
    command: &Command,
    id: BookingId,
    seats: &[SeatNumber],
    customer: &CustomerId,
) -> Result<Effect, Rejection> {
    check_sale(working, command.schedule, seats.len(), customer)?;
    check_seats(working, command, seats)?;
    take_seats(working, command, seats, SeatState::Booked { booking: id.uuid });
    let row = sell(working, id, seats, customer, None);
    Ok(Effect::Booked(working.view_booking(row)?))
}

pub(super) fn block(
    working: &mut DecisionState,
    command: &Command,
    id: BlockId,
    seats: &[SeatNumber],
    reason: &str,
) -> Result<Effect, Rejection> {
    check_seats(working, command, seats)?;
    take_seats(working, command, seats, SeatState::Blocked { block: id.uuid });
    let row = BlockRow {
        id,
        seats: seats.to_vec(),
        reason: reason.to_owned(),
        created_at: working.now,
        lifted: false,
    };
    working.put_block(row.clone());
    Ok(Effect::Blocked(working.view_block(row)))
}

/// In time, the seats are the hold's own and no rule stands in the way. Late, the sale is judged like a
/// fresh one, except that a lost seat means `HoldExpired`: a shop that has taken money must know to refund.
/// A hold that is confirmed already gives its booking again, with the seats that the booking has now: the
/// sale stands, and its total is what the customer owes. A booking without any seat is no sale, so a hold
/// whose booking was cancelled whole is refused.
pub(super) fn confirm(
    working: &mut DecisionState,
    hold: HoldId,
    booking: BookingId,
    customer: Option<&CustomerId>,
) -> Result<Effect, Rejection> {
    let mut row = working.rows.holds.get(&hold).cloned().ok_or(Rejection::NotFound("hold"))?;
    if customer.is_some_and(|customer| *customer != row.customer) {
        return Err(Rejection::NotFound("hold"));
    }
    match row.status {
        HoldStatus::Released => return Err(Rejection::HoldReleased),
        HoldStatus::Confirmed => {
            let id = row.booking.ok_or(Rejection::NotFound("booking"))?;
            let booking = working.rows.bookings.get(&id).cloned();
            let booking = booking.ok_or(Rejection::NotFound("booking"))?;
            if booking.status == BookingStatus::Cancelled {
                return Err(Rejection::BookingCancelled(id));
            }
            return Ok(Effect::Confirmed(working.view_booking(booking)?));
        }
        HoldStatus::Held | HoldStatus::Expired => {}
    }
    let in_time = row.status == HoldStatus::Held && working.now < working.ends_at(&row);
    if !in_time {
        check_sale(working, hold.schedule, row.seats.len(), &row.customer)?;
    }
    let lost = lost_seats(working, &row);
    if !lost.is_empty() {
        return Err(Rejection::HoldExpired(lost));
    }
    for number in &row.seats {
        let state = SeatState::Booked { booking: booking.uuid };
        working.set_seat((hold.schedule, *number), state);
    }
    row.status = HoldStatus::Confirmed;
    row.booking = Some(booking);
    working.put_hold(row.clone());
    let sold = sell(working, booking, &row.seats, &row.customer, Some(hold));
    Ok(Effect::Confirmed(working.view_booking(sold)?))
}

/// The seats of a hold that are neither its own nor free.
pub(super) fn lost_seats(working: &DecisionState, hold: &HoldRow) -> Vec<Conflict> {
    let lost = |number: &SeatNumber| {
        let key = (hold.id.schedule, *number);
        if working.state(key).is_some_and(|state| state.names_hold(hold.id.uuid)) {
            return None;
        }
        working.conflict(key, Some(&hold.customer))
    };
    hold.seats.iter().filter_map(lost).collect()
}

/// The rules of the schedule on a new sale: window, size, customer.
fn check_sale(
    working: &DecisionState,
    schedule: ScheduleId,
    seats: usize,
    customer: &CustomerId,
) -> Result<(), Rejection> {
    let rules = working.rules(schedule)?;
    if !rules.on_sale(working.now) {
        return Err(Rejection::SalesClosed);
    }
    if u32::try_from(seats).map_or(true, |seats| seats > rules.max_seats_per_booking) {
        return Err(Rejection::TooManySeats { max: rules.max_seats_per_booking });
    }
    working.check_customer_limit(schedule, customer, seats)
}

fn check_seats(
    working: &mut DecisionState,
    command: &Command,
    seats: &[SeatNumber],
) -> Result<(), Rejection> {
    let keys = || seats.iter().map(|number| (command.schedule, *number));
    let conflicts: Vec<(SeatKey, Conflict)> = keys()
        .filter_map(|key| Some((key, working.conflict(key, command.action.customer())?)))
        .collect();
    if conflicts.is_empty() {
        return Ok(());
    }
    if command.locked {
        working.notice_failed_locks(conflicts.iter().map(|(key, _)| *key));
    }
    Err(Rejection::SeatsUnavailable(conflicts.into_iter().map(|(_, conflict)| conflict).collect()))
}

fn take_seats(
    working: &mut DecisionState,
    command: &Command,
    seats: &[SeatNumber],
    state: SeatState,
) {
    for number in seats {
        let key = (command.schedule, *number);
        working.set_seat(key, state);
        if command.locked {
            working.changes.taken_under_lock.insert(key);
        } else {
            working.changes.taken_under_lock.remove(&key);
        }
    }
}

fn sell(
    working: &mut DecisionState,
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
        created_at: working.now,
        cancelled_at: None,
    };
    for number in seats {
        working.begin_booked_seat((id.schedule, *number), id.uuid);
    }
    working.put_booking(row.clone());
    row
}

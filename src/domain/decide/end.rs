//! Commands that extend or end a claim: extend, release, expire, cancel and unblock.

use std::time::Duration;

use crate::domain::claims::{BookingStatus, HoldRow, HoldStatus};
use crate::domain::effect::Effect;
use crate::domain::ids::{BlockId, BookingId, HoldId, SeatNumber};
use crate::domain::rejection::Rejection;
use crate::domain::seat::SeatState;

use super::state::DecisionState;
use super::take::lost_seats;

/// Extends a hold. It never expires earlier than before, nor later than `hold_ttl_max` after its creation.
pub(super) fn extend(
    batch: &mut DecisionState,
    id: HoldId,
    ttl: Option<Duration>,
) -> Result<Effect, Rejection> {
    let mut row = active_hold(batch, id)?;
    let expires_at = batch.expires_at(&row);
    let life = ttl.unwrap_or(batch.rules(id.schedule)?.hold_ttl);
    let cap = row.created_at.plus(batch.policy.hold_ttl_max);
    let until = batch.now.plus(life).min(cap);
    if until > expires_at {
        row.until = until;
        let state = SeatState::Held { hold: id.uuid, until };
        for number in &row.seats {
            let key = (id.schedule, *number);
            if batch.state(key).is_some_and(|state| state.names_hold(id.uuid)) {
                batch.set_seat(key, state);
            }
        }
        batch.put_hold(row.clone());
    }
    Ok(Effect::Extended(batch.hold_view(row)?))
}

/// A hold that has not ended and still has all its seats.
pub(super) fn active_hold(batch: &DecisionState, id: HoldId) -> Result<HoldRow, Rejection> {
    let row = batch.find_hold(id)?;
    match row.status {
        HoldStatus::Confirmed => return Err(Rejection::HoldConfirmed),
        HoldStatus::Released => return Err(Rejection::HoldReleased),
        HoldStatus::Expired => return Err(Rejection::HoldExpired(Vec::new())),
        HoldStatus::Held => {}
    }
    if batch.expires_at(&row) <= batch.now {
        return Err(Rejection::HoldExpired(Vec::new()));
    }
    // An outage that was found late can extend a hold whose seats were sold in the meantime.
    let lost = lost_seats(batch, &row);
    if lost.is_empty() { Ok(row) } else { Err(Rejection::HoldExpired(lost)) }
}

/// Releases a hold, also an expired one: a later confirm must then be refused.
pub(super) fn release(batch: &mut DecisionState, id: HoldId) -> Result<Effect, Rejection> {
    let row = batch.find_hold(id)?;
    match row.status {
        HoldStatus::Confirmed => Err(Rejection::HoldConfirmed),
        HoldStatus::Released => Ok(Effect::Released(row)),
        HoldStatus::Held | HoldStatus::Expired => {
            Ok(Effect::Released(end_hold(batch, row, HoldStatus::Released)))
        }
    }
}

/// Marks an expired hold. Seats that have another claim by now are not changed.
pub(super) fn expire(batch: &mut DecisionState, id: HoldId) -> Result<Effect, Rejection> {
    let row = batch.find_hold(id)?;
    if row.status == HoldStatus::Held && batch.expires_at(&row) <= batch.now {
        end_hold(batch, row, HoldStatus::Expired);
    }
    Ok(Effect::Expired)
}

pub(super) fn cancel(
    batch: &mut DecisionState,
    id: BookingId,
    seats: Option<&[SeatNumber]>,
) -> Result<Effect, Rejection> {
    let mut row = batch.find_booking(id)?;
    let seats = seats.unwrap_or(&row.seats).to_vec();
    let foreign: Vec<String> = seats
        .iter()
        .filter(|number| !row.seats.contains(number))
        .map(|number| batch.label((id.schedule, *number)))
        .collect();
    if !foreign.is_empty() {
        return Err(Rejection::NotInBooking(foreign));
    }
    let freed = batch.free_seats(id.schedule, &seats, |state| state.names_booking(id.uuid));
    if !freed.is_empty() {
        for key in &freed {
            batch.end_booked_seat(*key, id.uuid);
        }
        let count = u32::try_from(freed.len()).unwrap_or(u32::MAX);
        row.live_seats = row.live_seats.saturating_sub(count);
        if row.live_seats == 0 {
            row.status = BookingStatus::Cancelled;
            row.cancelled_at = Some(batch.now);
        }
        batch.put_booking(row.clone());
    }
    Ok(Effect::Cancelled(batch.booking_view(row)?))
}

pub(super) fn unblock(batch: &mut DecisionState, id: BlockId) -> Result<Effect, Rejection> {
    let mut row = batch.find_block(id)?;
    if !row.lifted {
        batch.free_seats(id.schedule, &row.seats, |state| state.names_block(id.uuid));
        row.lifted = true;
        batch.put_block(row);
    }
    Ok(Effect::Unblocked)
}

/// Ends a hold and frees its seats.
pub(super) fn end_hold(batch: &mut DecisionState, mut row: HoldRow, status: HoldStatus) -> HoldRow {
    batch.free_seats(row.id.schedule, &row.seats, |state| state.names_hold(row.id.uuid));
    row.status = status;
    batch.put_hold(row.clone());
    row
}

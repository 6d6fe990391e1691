//! Commands that extend or end a claim: extend, release, expire, cancel and unblock.

use std::time::Duration;

use crate::domain::claims::{BookingStatus, HoldRow, HoldStatus};
use crate::domain::effect::Effect;
use crate::domain::ids::{BlockId, BookingId, HoldId, SeatNumber};
use crate::domain::rejection::Rejection;
use crate::domain::seat::SeatState;

use super::state::DecisionState;
use super::take::lost_seats;

/// Never shortens; never beyond the longest life counted from the grant.
pub(super) fn extend(
    working: &mut DecisionState,
    id: HoldId,
    ttl: Option<Duration>,
) -> Result<Effect, Rejection> {
    let mut row = find_hold(working, id)?;
    match row.status {
        HoldStatus::Confirmed => return Err(Rejection::HoldConfirmed),
        HoldStatus::Released => return Err(Rejection::HoldReleased),
        HoldStatus::Expired => return Err(Rejection::HoldExpired(Vec::new())),
        HoldStatus::Held => {}
    }
    let end = working.ends_at(&row);
    if end <= working.now {
        return Err(Rejection::HoldExpired(Vec::new()));
    }
    // An outage found late can stretch a hold over seats that were sold in the meantime.
    let lost = lost_seats(working, &row);
    if !lost.is_empty() {
        return Err(Rejection::HoldExpired(lost));
    }
    let life = ttl.unwrap_or(working.rules(id.schedule)?.hold_ttl);
    let cap = row.created_at.plus(working.policy.hold_ttl_max);
    let until = working.now.plus(life).min(cap);
    if until > end {
        row.until = until;
        let state = SeatState::Held { hold: id.uuid, until };
        for number in &row.seats {
            let key = (id.schedule, *number);
            if working.state(key).is_some_and(|state| state.names_hold(id.uuid)) {
                working.set_seat(key, state);
            }
        }
        working.put_hold(row.clone());
    }
    Ok(Effect::Extended(working.view_hold(row)?))
}

/// A hold that time has ended is released all the same, whether or not a sweep has marked it: its owner
/// wants it gone, and a late confirm must not find it.
pub(super) fn release(working: &mut DecisionState, id: HoldId) -> Result<Effect, Rejection> {
    let row = find_hold(working, id)?;
    match row.status {
        HoldStatus::Confirmed => Err(Rejection::HoldConfirmed),
        HoldStatus::Released => Ok(Effect::Released(row)),
        HoldStatus::Held | HoldStatus::Expired => {
            Ok(Effect::Released(end_hold(working, row, HoldStatus::Released)))
        }
    }
}

/// Seats that somebody else took over meanwhile are not touched.
pub(super) fn expire(working: &mut DecisionState, id: HoldId) -> Result<Effect, Rejection> {
    let row = find_hold(working, id)?;
    if row.status == HoldStatus::Held && working.ends_at(&row) <= working.now {
        end_hold(working, row, HoldStatus::Expired);
    }
    Ok(Effect::Expired)
}

pub(super) fn cancel(
    working: &mut DecisionState,
    id: BookingId,
    seats: Option<&[SeatNumber]>,
) -> Result<Effect, Rejection> {
    let row = working.rows.bookings.get(&id).cloned();
    let mut row = row.ok_or(Rejection::NotFound("booking"))?;
    let wanted = seats.unwrap_or(&row.seats).to_vec();
    let foreign: Vec<String> = wanted
        .iter()
        .filter(|number| !row.seats.contains(number))
        .map(|number| match working.rows.seats.get(&(id.schedule, *number)) {
            Some(seat) => seat.label.clone(),
            None => format!("#{}", number.0),
        })
        .collect();
    if !foreign.is_empty() {
        return Err(Rejection::NotInBooking(foreign));
    }
    let freed = working.free_seats(id.schedule, &wanted, |state| state.names_booking(id.uuid));
    if !freed.is_empty() {
        for key in &freed {
            working.end_booked_seat(*key, id.uuid);
        }
        let count = u32::try_from(freed.len()).unwrap_or(u32::MAX);
        row.live_seats = row.live_seats.saturating_sub(count);
        if row.live_seats == 0 {
            row.status = BookingStatus::Cancelled;
            row.cancelled_at = Some(working.now);
        }
        working.put_booking(row.clone());
    }
    Ok(Effect::Cancelled(working.view_booking(row)?))
}

pub(super) fn unblock(working: &mut DecisionState, id: BlockId) -> Result<Effect, Rejection> {
    let row = working.rows.blocks.get(&id).cloned();
    let mut row = row.ok_or(Rejection::NotFound("block"))?;
    if !row.lifted {
        working.free_seats(id.schedule, &row.seats, |state| state.names_block(id.uuid));
        row.lifted = true;
        working.put_block(row);
    }
    Ok(Effect::Unblocked)
}

fn find_hold(working: &DecisionState, id: HoldId) -> Result<HoldRow, Rejection> {
    working.rows.holds.get(&id).cloned().ok_or(Rejection::NotFound("hold"))
}

fn end_hold(working: &mut DecisionState, mut row: HoldRow, status: HoldStatus) -> HoldRow {
    working.free_seats(row.id.schedule, &row.seats, |state| state.names_hold(row.id.uuid));
    row.status = status;
    working.put_hold(row.clone());
    row
}

//! The properties of the tables after any commands, and of the effect of a single command on them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;

use super::database::ModelDatabase;
use super::step::Single;
use crate::domain::claims::{BookingStatus, HoldStatus};
use crate::domain::clock::hold_end;
use crate::domain::command::Action;
use crate::domain::effect::{BookingView, Effect, HoldView, Outcome, PricedSeat};
use crate::domain::ids::{BlockId, BookingId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rows::SeatKey;
use crate::domain::seat::SeatState;

/// The tables of seats, bookings, booked seats, holds and blocks agree.
pub(crate) fn tables_agree(database: &ModelDatabase) -> TestCaseResult {
    for ((schedule, number), row) in &database.seats {
        let (schedule, key) = (*schedule, (*schedule, *number));
        let live =
            |(seat, _): &(SeatKey, _), released: &Option<_>| *seat == key && released.is_none();
        let sold = database.booked_seats.iter().filter(|(row, released)| live(row, released));
        let sold: Vec<_> = sold.map(|((_, booking), _)| *booking).collect();
        match row.state {
            SeatState::Booked { booking } => prop_assert_eq!(sold, [booking], "{}", &row.label),
            _ => prop_assert!(sold.is_empty(), "{} is sold, but not booked", row.label),
        }
        match row.state {
            SeatState::Held { hold, until } => {
                let hold = database.holds.get(&HoldId { schedule, uuid: hold });
                prop_assert!(hold.is_some_and(|hold| hold.status == HoldStatus::Held
                    && hold.until == until
                    && hold.seats.contains(number)));
            }
            SeatState::Blocked { block } => {
                let block = database.blocks.get(&BlockId { schedule, uuid: block });
                prop_assert!(block.is_some_and(|row| !row.lifted && row.seats.contains(number)));
            }
            SeatState::Available | SeatState::Booked { .. } => {}
        }
    }
    claims_agree(database)
}

fn claims_agree(database: &ModelDatabase) -> TestCaseResult {
    for booking in database.bookings.values() {
        let of = |uuid| booking.id.uuid == uuid;
        let rows = database.booked_seats.keys().filter(|(_, booking)| of(*booking));
        let sold: Vec<_> = rows.map(|((_, number), _)| *number).collect();
        prop_assert_eq!(&sold, &booking.seats, "a booking is whole");
        let live = database.live_seats(booking.id).len();
        prop_assert_eq!(live, usize::try_from(booking.live_seats).unwrap());
        prop_assert_eq!(live == 0, booking.status == BookingStatus::Cancelled);
        prop_assert_eq!(live == 0, booking.cancelled_at.is_some());
        let hold = booking.hold.map(|hold| database.holds.get(&hold).and_then(|row| row.booking));
        prop_assert!(hold.is_none_or(|became| became == Some(booking.id)), "of another hold");
    }
    for hold in database.holds.values() {
        prop_assert_eq!(hold.status == HoldStatus::Confirmed, hold.booking.is_some());
        let booking = hold.booking.map(|booking| database.bookings.get(&booking));
        prop_assert!(booking.is_none_or(|row| row.is_some_and(|row| row.hold == Some(hold.id))));
    }
    Ok(())
}

/// An effect writes exactly the seats of its command; any other outcome writes nothing.
pub(super) fn all_or_nothing(single: &Single<'_>) -> TestCaseResult {
    let Outcome::Done(_) = single.outcome else {
        prop_assert_eq!(single.before, single.after, "{:?} changed the tables", single.outcome);
        return Ok(());
    };
    let mut expected: BTreeMap<_, _> = states(single.before);
    expected.extend(seats_to_write(single));
    prop_assert_eq!(expected, states(single.after), "{:?}", single.command);
    Ok(())
}

fn states(database: &ModelDatabase) -> BTreeMap<SeatKey, SeatState> {
    database.seats.iter().map(|(key, row)| (*key, row.state)).collect()
}

fn seats_to_write(single: &Single<'_>) -> BTreeMap<SeatKey, SeatState> {
    let before = single.before;
    let after = single.after;
    let all = |schedule: ScheduleId, seats: &[SeatNumber], state: SeatState| {
        seats.iter().map(|number| ((schedule, *number), state)).collect::<BTreeMap<_, _>>()
    };
    let freed = |schedule, seats: &[SeatNumber], names: &dyn Fn(SeatState) -> bool| {
        let mut own = all(schedule, seats, SeatState::Available);
        own.retain(|key, _| names(before.seats[key].state));
        own
    };
    let held = |hold: &HoldId| SeatState::Held { hold: hold.uuid, until: after.holds[hold].until };
    match &single.command.action {
        Action::Hold { id, seats, .. } => all(id.schedule, seats, held(id)),
        Action::Book { id, seats, .. } => {
            all(id.schedule, seats, SeatState::Booked { booking: id.uuid })
        }
        Action::Block { id, seats, .. } => {
            all(id.schedule, seats, SeatState::Blocked { block: id.uuid })
        }
        Action::Confirm { hold, .. } if before.holds[hold].status == HoldStatus::Confirmed => {
            BTreeMap::new()
        }
        Action::Confirm { hold, booking, .. } => {
            let state = SeatState::Booked { booking: booking.uuid };
            all(hold.schedule, &before.holds[hold].seats, state)
        }
        Action::Extend { hold, .. } => all(hold.schedule, &before.holds[hold].seats, held(hold)),
        Action::Change { hold, add, remove, .. } => {
            let kept: Vec<_> = before.holds[hold]
                .seats
                .iter()
                .chain(add)
                .filter(|seat| !remove.contains(seat))
                .copied()
                .collect();
            let mut written = all(hold.schedule, remove, SeatState::Available);
            written.extend(all(hold.schedule, &kept, held(hold)));
            written
        }
        Action::Release { hold } => {
            let names = |state: SeatState| state.names_hold(hold.uuid);
            freed(hold.schedule, &before.holds[hold].seats, &names)
        }
        Action::Expire { hold } => {
            let row = &before.holds[hold];
            let ended = !before.is_alive(row, single.now);
            let names = |state: SeatState| ended && state.names_hold(hold.uuid);
            freed(hold.schedule, &row.seats, &names)
        }
        Action::Cancel { booking, seats } => {
            let seats = seats.as_ref().unwrap_or(&before.bookings[booking].seats);
            freed(booking.schedule, seats, &|state| state.names_booking(booking.uuid))
        }
        Action::Unblock { block } => {
            let names = |state: SeatState| state.names_block(block.uuid);
            freed(block.schedule, &before.blocks[block].seats, &names)
        }
        Action::Lookup => BTreeMap::new(),
    }
}

/// A hold keeps its seats, and can be confirmed, until it expires or its owner ends it.
pub(super) fn living_holds_keep_their_seats(single: &Single<'_>) -> TestCaseResult {
    let before = single.before;
    let after = single.after;
    for hold in before.holds.values().filter(|hold| before.is_alive(hold, single.now)) {
        let names = |number: &SeatNumber| {
            after.seats[&(hold.id.schedule, *number)].state.names_hold(hold.id.uuid)
        };
        let ended_by_its_owner = match (&single.command.action, single.outcome) {
            (Action::Release { hold: id }, Outcome::Done(_)) => *id == hold.id,
            (Action::Change { hold: id, .. }, Outcome::Done(Effect::Released(_))) => *id == hold.id,
            (Action::Confirm { hold: id, customer, .. }, outcome) if *id == hold.id => {
                // Another customer, or one whose limit a hold of a browser session would exceed.
                let named = customer.iter().chain(&single.command.owner);
                let is_other = named.into_iter().any(|customer| *customer != hold.customer);
                let answered = single.key_has_an_answer();
                prop_assert!(is_other || answered || matches!(outcome, Outcome::Done(_)));
                matches!(outcome, Outcome::Done(_))
            }
            _ => false,
        };
        if !ended_by_its_owner {
            let hold_after = &after.holds[&hold.id];
            let removed = removed_seats(single, hold.id);
            prop_assert!(
                hold.seats.iter().filter(|seat| !removed.contains(seat)).all(names),
                "{hold:?} lost seats to {:?}",
                single.command
            );
            prop_assert!(hold_after.status == HoldStatus::Held && hold_after.until >= hold.until);
            let cap = hold.created_at.plus(after.policy.hold_ttl_max);
            prop_assert!(hold_after.until <= cap, "{hold_after:?} exceeds the longest life");
        }
    }
    Ok(())
}

/// The seats that the owner of a hold removes from it.
fn removed_seats<'a>(single: &'a Single<'_>, id: HoldId) -> &'a [SeatNumber] {
    match (&single.command.action, single.outcome) {
        (Action::Change { hold, remove, .. }, Outcome::Done(_)) if *hold == id => remove,
        _ => &[],
    }
}

/// An answer agrees with the tables after the command.
pub(super) fn answers_are_true(single: &Single<'_>) -> TestCaseResult {
    let (Outcome::Done(effect), after) = (single.outcome, single.after) else { return Ok(()) };
    match effect {
        Effect::Held(HoldView { row, seats, ends_at, now, .. })
        | Effect::Extended(HoldView { row, seats, ends_at, now, .. })
        | Effect::Changed(HoldView { row, seats, ends_at, now, .. }) => {
            prop_assert_eq!(Some(row), after.holds.get(&row.id));
            prop_assert_eq!(&numbers(seats), &row.seats);
            prop_assert_eq!(now, &single.now);
            let end = hold_end(row.until, &after.outages, after.policy.outage_grace);
            prop_assert_eq!(*ends_at, end);
        }
        Effect::Released(row) => prop_assert_eq!(Some(row), after.holds.get(&row.id)),
        Effect::Booked(view) | Effect::Confirmed(view) | Effect::Cancelled(view) => {
            booking_is_true(after, view)?;
        }
        Effect::Blocked(view) => {
            prop_assert_eq!(Some(&view.row), after.blocks.get(&view.row.id));
            prop_assert_eq!(view.labels.len(), view.row.seats.len());
        }
        Effect::Expired | Effect::Unblocked => {}
    }
    Ok(())
}

fn booking_is_true(after: &ModelDatabase, view: &BookingView) -> TestCaseResult {
    let id: BookingId = view.row.id;
    prop_assert_eq!(Some(&view.row), after.bookings.get(&id));
    let live = after.live_seats(id);
    prop_assert_eq!(&numbers(&view.seats), &live);
    let cancelled = view.row.seats.iter().filter(|seat| !live.contains(seat)).copied();
    prop_assert_eq!(numbers(&view.cancelled_seats), cancelled.collect::<Vec<_>>());
    Ok(())
}

fn numbers(seats: &[PricedSeat]) -> Vec<SeatNumber> {
    seats.iter().map(|seat| seat.number).collect()
}

impl Single<'_> {
    /// Whether the command's key has the answer of an earlier effect.
    pub(super) fn key_has_an_answer(&self) -> bool {
        let request = self.command.keyed.as_ref().map(|keyed| &keyed.request);
        let stored = request.and_then(|request| self.before.answers.get(request));
        stored.is_some_and(|stored| self.now < stored.expires_at)
    }
}

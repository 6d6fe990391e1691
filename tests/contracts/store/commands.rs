//! Commands for the tests, and their outcomes.

use seatlock::domain::command::{Action, Command, Keyed, RequestKey};
use seatlock::domain::effect::{BlockView, BookingView, Effect, HoldView, Outcome};
use seatlock::domain::ids::{BlockId, BookingId, CustomerId, HoldId, ScheduleId, SeatNumber};
use seatlock::domain::rejection::{Conflict, ConflictReason, Rejection};
use uuid::Uuid;

use super::stage::CommandResult;

pub(crate) fn command(schedule: ScheduleId, action: Action) -> Command {
    Command::new(schedule, action)
}

pub(crate) fn book(schedule: ScheduleId, seats: &[u32], by: &str) -> Command {
    let id = BookingId { schedule, uuid: Uuid::now_v7() };
    command(schedule, Action::Book { id, seats: numbers(seats), customer: customer(by) })
}

pub(crate) fn hold(schedule: ScheduleId, seats: &[u32], by: &str) -> Command {
    let id = HoldId { schedule, uuid: Uuid::now_v7() };
    command(schedule, Action::Hold { id, seats: numbers(seats), customer: customer(by), ttl: None })
}

pub(crate) fn confirm(hold: HoldId) -> Command {
    let booking = BookingId { schedule: hold.schedule, uuid: Uuid::now_v7() };
    command(hold.schedule, Action::Confirm { hold, booking, customer: None })
}

pub(crate) fn cancel(booking: BookingId, seats: Option<&[u32]>) -> Command {
    command(booking.schedule, Action::Cancel { booking, seats: seats.map(numbers) })
}

pub(crate) fn block(schedule: ScheduleId, seats: &[u32]) -> Command {
    let id = BlockId { schedule, uuid: Uuid::now_v7() };
    let reason = "camera position".to_owned();
    command(schedule, Action::Block { id, seats: numbers(seats), reason })
}

/// The same command under a key.
pub(crate) fn keyed(command: Command, key: &str) -> Command {
    Command { keyed: Some(under(key)), ..command }
}

/// A key with the fingerprint that tests use by default.
pub(crate) fn under(key: &str) -> Keyed {
    let request = RequestKey { caller: "shop".to_owned(), key: key.to_owned() };
    Keyed { request, fingerprint: "the same body".to_owned() }
}

pub(crate) fn numbers(seats: &[u32]) -> Vec<SeatNumber> {
    seats.iter().copied().map(SeatNumber).collect()
}

fn customer(name: &str) -> CustomerId {
    CustomerId::parse(name).unwrap()
}

pub(crate) fn done(result: &CommandResult) -> &Effect {
    match result {
        Ok(Outcome::Done(effect)) => effect,
        other => panic!("not done: {other:?}"),
    }
}

pub(crate) fn booked(result: &CommandResult) -> BookingView {
    match done(result) {
        Effect::Booked(booking) | Effect::Confirmed(booking) | Effect::Cancelled(booking) => {
            booking.clone()
        }
        other => panic!("no booking: {other:?}"),
    }
}

pub(crate) fn held(result: &CommandResult) -> HoldView {
    match done(result) {
        Effect::Held(hold) | Effect::Extended(hold) => hold.clone(),
        other => panic!("no hold: {other:?}"),
    }
}

pub(crate) fn blocked(result: &CommandResult) -> BlockView {
    match done(result) {
        Effect::Blocked(block) => block.clone(),
        other => panic!("no block: {other:?}"),
    }
}

pub(crate) fn is_done(result: &CommandResult) -> bool {
    matches!(result, Ok(Outcome::Done(_)))
}

/// A refusal because of these seats.
pub(crate) fn unavailable(conflicts: &[(&str, ConflictReason)]) -> CommandResult {
    let conflict = |(label, reason): &(&str, ConflictReason)| Conflict {
        label: (*label).to_owned(),
        reason: *reason,
        hold: None,
    };
    let conflicts = conflicts.iter().map(conflict).collect();
    Ok(Outcome::Refused(Rejection::SeatsUnavailable(conflicts)))
}

//! Tests of the outcome of each command, one rule per test, with a small database in which the commands are run.

use std::time::Duration;

use uuid::Uuid;

mod batches;
mod bookings;
mod changes;
mod confirm;
mod holds;
mod keys;
mod queued;
mod rules;

use super::properties::checks::tables_agree;
use super::properties::database::ModelDatabase;
use crate::domain::claims::{BookingRow, HoldRow};
use crate::domain::clock::{EpochMs, Outage};
use crate::domain::command::{Action, Command, Keyed, Queued, RequestKey};
use crate::domain::decide::Decision;
use crate::domain::effect::{BookingView, Effect, HoldView, Outcome, PricedSeat};
use crate::domain::ids::{
    BlockId, BookingId, CustomerId, HoldId, RequestId, ScheduleId, SeatNumber,
};
use crate::domain::rejection::{Conflict, ConflictReason, Rejection};
use crate::domain::rules::{Policy, ScheduleRules};
use crate::domain::seat::SeatState;

/// Two schedules of ten seats, the defaults of an installation, and a clock that the tests set.
struct World {
    database: ModelDatabase,
    now: EpochMs,
}

impl World {
    fn new() -> Self {
        let seconds = Duration::from_secs;
        let policy = Policy {
            hold_ttl_max: seconds(3600),
            outage_grace: seconds(60),
            idempotency_ttl: seconds(86_400),
        };
        let rules = ScheduleRules {
            sales_open_at: None,
            sales_close_at: None,
            max_seats_per_booking: 4,
            max_seats_per_customer: None,
            hold_ttl: seconds(600),
            currency: "EUR".to_owned(),
        };
        let database = ModelDatabase::new(policy, vec![rules.clone(), rules], 10);
        Self { database, now: at(0) }
    }

    /// Sets the clock, in seconds since the world began.
    fn clock(&mut self, seconds: i64) {
        self.now = at(seconds);
    }

    /// Runs one batch.
    fn batch(&mut self, commands: &[Command]) -> Decision {
        let decision = self.database.run(self.now, commands).unwrap();
        tables_agree(&self.database).unwrap();
        decision
    }

    /// Runs a batch of one command.
    fn outcome(&mut self, command: Command) -> Outcome {
        self.batch(&[command]).outcomes.remove(0)
    }

    /// Runs a batch of one command that must succeed.
    fn done(&mut self, command: Command) -> Effect {
        match self.outcome(command) {
            Outcome::Done(effect) => effect,
            other => panic!("the command had no effect: {other:?}"),
        }
    }

    /// Runs a batch of one command that must be refused and change nothing.
    fn refused(&mut self, command: Command) -> Rejection {
        let before = self.database.clone();
        let outcome = self.outcome(command);
        assert_eq!(before, self.database);
        rejection(&outcome).clone()
    }

    /// The rules of schedule 1.
    fn rules(&mut self) -> &mut ScheduleRules {
        &mut self.database.schedules.get_mut(&ScheduleId(1)).unwrap().rules
    }

    fn state(&self, number: u32) -> SeatState {
        self.database.seats[&(ScheduleId(1), SeatNumber(number))].state
    }

    fn hold(&self, number: u128) -> &HoldRow {
        &self.database.holds[&hold_id(number)]
    }

    fn booking(&self, number: u128) -> &BookingRow {
        &self.database.bookings[&booking_id(number)]
    }

    fn outage(&mut self, began: i64, ended: i64) {
        self.database.outages.push(Outage { began: at(began), ended: at(ended) });
    }
}

/// The world's time, from seconds since it began.
fn at(seconds: i64) -> EpochMs {
    EpochMs(1_700_000_000_000 + 1000 * seconds)
}

fn hold_id(number: u128) -> HoldId {
    HoldId { schedule: ScheduleId(1), uuid: Uuid::from_u128(number) }
}

fn booking_id(number: u128) -> BookingId {
    BookingId { schedule: ScheduleId(1), uuid: Uuid::from_u128(number) }
}

fn block_id(number: u128) -> BlockId {
    BlockId { schedule: ScheduleId(1), uuid: Uuid::from_u128(number) }
}

fn customer(name: &str) -> CustomerId {
    CustomerId::parse(name).unwrap()
}

fn numbers(seats: &[u32]) -> Vec<SeatNumber> {
    seats.iter().copied().map(SeatNumber).collect()
}

fn command(action: Action) -> Command {
    Command::new(ScheduleId(1), action)
}

fn hold(id: u128, name: &str, seats: &[u32]) -> Command {
    let id = hold_id(id);
    let seats = numbers(seats);
    let customer = customer(name);
    command(Action::Hold { id, seats, customer, ttl: None })
}

fn hold_for(seconds: u64, id: u128, name: &str, seats: &[u32]) -> Command {
    let id = hold_id(id);
    let seats = numbers(seats);
    let customer = customer(name);
    command(Action::Hold { id, seats, customer, ttl: Some(Duration::from_secs(seconds)) })
}

fn extend(hold: u128, seconds: u64) -> Command {
    let ttl = Some(Duration::from_secs(seconds));
    command(Action::Extend { hold: hold_id(hold), ttl })
}

fn change(hold: u128, add: &[u32], remove: &[u32]) -> Command {
    let (add, remove) = (numbers(add), numbers(remove));
    command(Action::Change { hold: hold_id(hold), add, remove, version: None })
}

fn release(hold: u128) -> Command {
    command(Action::Release { hold: hold_id(hold) })
}

fn expire(hold: u128) -> Command {
    command(Action::Expire { hold: hold_id(hold) })
}

fn confirm(hold: u128, booking: u128) -> Command {
    let hold = hold_id(hold);
    let booking = booking_id(booking);
    command(Action::Confirm { hold, booking, customer: None })
}

fn confirm_as(name: &str, hold: u128, booking: u128) -> Command {
    let hold = hold_id(hold);
    let booking = booking_id(booking);
    command(Action::Confirm { hold, booking, customer: Some(customer(name)) })
}

fn book(id: u128, name: &str, seats: &[u32]) -> Command {
    let id = booking_id(id);
    let seats = numbers(seats);
    let customer = customer(name);
    command(Action::Book { id, seats, customer })
}

fn cancel(booking: u128) -> Command {
    command(Action::Cancel { booking: booking_id(booking), seats: None })
}

fn cancel_seats(booking: u128, seats: &[u32]) -> Command {
    command(Action::Cancel { booking: booking_id(booking), seats: Some(numbers(seats)) })
}

fn block(id: u128, seats: &[u32]) -> Command {
    let reason = "camera".to_owned();
    command(Action::Block { id: block_id(id), seats: numbers(seats), reason })
}

fn unblock(block: u128) -> Command {
    command(Action::Unblock { block: block_id(block) })
}

fn lookup() -> Command {
    command(Action::Lookup)
}

/// The same command with an Idempotency-Key. `fingerprint` identifies its request.
fn keyed(key: &str, fingerprint: &str, command: Command) -> Command {
    let request = RequestKey { caller: "shop".to_owned(), key: key.to_owned() };
    Command { keyed: Some(Keyed { request, fingerprint: fingerprint.to_owned() }), ..command }
}

/// The same command as a request of the queue, with its deadline in seconds of the world's time.
fn queued(request: u128, seconds: i64, command: Command) -> Command {
    let id = RequestId { schedule: command.schedule, uuid: Uuid::from_u128(request) };
    Command { queued: Some(Queued { id, not_after: at(seconds) }), ..command }
}

fn locked(command: Command) -> Command {
    Command { locked: true, ..command }
}

/// The same command for schedule 2.
fn elsewhere(mut command: Command) -> Command {
    let schedule = ScheduleId(2);
    command.schedule = schedule;
    match &mut command.action {
        Action::Hold { id, .. } => id.schedule = schedule,
        Action::Book { id, .. } => id.schedule = schedule,
        other => panic!("neither a hold nor a booking: {other:?}"),
    }
    command
}

fn rejection(outcome: &Outcome) -> &Rejection {
    match outcome {
        Outcome::Refused(rejection) => rejection,
        other => panic!("not refused: {other:?}"),
    }
}

fn held_view(effect: Effect) -> HoldView {
    match effect {
        Effect::Held(view) | Effect::Extended(view) | Effect::Changed(view) => view,
        other => panic!("not a hold: {other:?}"),
    }
}

fn booking_view(effect: Effect) -> BookingView {
    match effect {
        Effect::Booked(view) | Effect::Confirmed(view) | Effect::Cancelled(view) => view,
        other => panic!("not a booking: {other:?}"),
    }
}

fn conflicts(pairs: &[(&str, ConflictReason)]) -> Vec<Conflict> {
    let conflict = |(label, reason): &(&str, ConflictReason)| Conflict {
        label: (*label).to_owned(),
        reason: *reason,
        hold: None,
    };
    pairs.iter().map(conflict).collect()
}

fn unavailable(pairs: &[(&str, ConflictReason)]) -> Rejection {
    Rejection::SeatsUnavailable(conflicts(pairs))
}

fn hold_expired(pairs: &[(&str, ConflictReason)]) -> Rejection {
    Rejection::HoldExpired(conflicts(pairs))
}

fn labels(seats: &[PricedSeat]) -> Vec<&str> {
    seats.iter().map(|seat| seat.label.as_str()).collect()
}

fn held(hold: u128, until: i64) -> SeatState {
    SeatState::Held { hold: Uuid::from_u128(hold), until: at(until) }
}

fn booked(booking: u128) -> SeatState {
    SeatState::Booked { booking: Uuid::from_u128(booking) }
}

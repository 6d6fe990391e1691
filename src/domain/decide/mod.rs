//! `decide()`: the outcomes of a batch of commands, given the rows that they touch.
//!
//! First come, first served: each command sees the changes of the commands before it, so a batch decides
//! exactly as the same commands one after another would. A refused command changes nothing.

mod change;
mod end;
mod state;
mod take;

use std::collections::BTreeMap;

use super::claim_event::ClaimEvent;
use super::clock::EpochMs;
use super::command::{Action, Command, Keyed, Queued};
use super::effect::{Answer, Effect, Outcome};
use super::ids::ScheduleId;
use super::rejection::Rejection;
use super::rows::{Changes, JournalEntry, KnownAnswer, NewAnswer, Rows};
use super::rules::Policy;
use state::DecisionState;

/// The result of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One outcome per command, in order.
    pub outcomes: Vec<Outcome>,
    /// The rows to write.
    pub changes: Changes,
    /// One entry per schedule whose seats were written, ascending by schedule.
    pub journal: Vec<JournalEntry>,
    /// The changes of claims that wrote these seats, by schedule, in the order of the commands.
    pub events: BTreeMap<ScheduleId, Vec<ClaimEvent>>,
    /// The schedules in which a command freed seats, in this batch or before, ascending; each with a version at which
    /// those seats are free.
    pub freed: Vec<(ScheduleId, i64)>,
    /// The number of seats that two commands of this batch both had locked: the seat locks failed, and the row locks
    /// prevented a double sale.
    pub row_lock_saves: u64,
}

/// Decides a batch. `now` is the database's clock, read after the rows were locked. `rows` must have every row that
/// the commands name.
#[must_use]
pub fn decide(now: EpochMs, policy: &Policy, rows: Rows, commands: &[Command]) -> Decision {
    let mut batch = DecisionState::new(now, *policy, rows);
    let outcomes: Vec<Outcome> =
        commands.iter().map(|command| decide_one(&mut batch, command)).collect();
    let freed_schedules = commands
        .iter()
        .zip(&outcomes)
        .filter(|(command, outcome)| command.action.gives_back() && outcome.has_effect())
        .map(|(command, _)| command.schedule)
        .collect();
    batch.finish(outcomes, freed_schedules)
}

/// Decides one command. A request that came through the queue is decided once: its outcome, refusals
/// included, is recorded with the batch, and a second delivery gets the recorded outcome.
fn decide_one(batch: &mut DecisionState, command: &Command) -> Outcome {
    let Some(queued) = &command.queued else { return decide_unless_answered(batch, command) };
    let key = Queued::key(queued.id);
    if let Some((_, answer)) = batch.rows.answers.get(&key) {
        return outcome_of(answer);
    }
    let outcome = decide_unless_answered(batch, command);
    let answer = match &outcome {
        Outcome::Done(effect) | Outcome::Repeated(effect) => Answer::Effect(effect.clone()),
        Outcome::Replayed(answer) => Answer::Recorded(answer.clone()),
        Outcome::Refused(rejection) => Answer::Rejection(rejection.clone()),
        Outcome::NotRecorded => return outcome,
    };
    record(batch, command.schedule, &Keyed { request: key, fingerprint: String::new() }, answer);
    outcome
}

/// Executes a command. If its key has an answer already, repeats that answer instead.
fn decide_unless_answered(batch: &mut DecisionState, command: &Command) -> Outcome {
    if let Some(keyed) = &command.keyed
        && let Some((fingerprint, answer)) = batch.rows.answers.get(&keyed.request)
    {
        if *fingerprint != keyed.fingerprint {
            return Outcome::Refused(Rejection::KeyReused);
        }
        return outcome_of(answer);
    }
    if matches!(command.action, Action::Lookup) {
        return Outcome::NotRecorded;
    }
    match execute(batch, command) {
        Ok(effect) => {
            batch.record_event(command, &effect);
            // Only effects are recorded under a caller's key: after a refusal, the same key is decided again.
            if let Some(keyed) = &command.keyed {
                record(batch, command.schedule, keyed, Answer::Effect(effect.clone()));
            }
            Outcome::Done(effect)
        }
        Err(rejection) => Outcome::Refused(rejection),
    }
}

fn outcome_of(answer: &KnownAnswer) -> Outcome {
    match answer {
        KnownAnswer::Recorded(answer) => Outcome::Replayed(answer.clone()),
        KnownAnswer::Given(effect) => Outcome::Repeated((**effect).clone()),
        KnownAnswer::Refused(rejection) => Outcome::Refused(rejection.clone()),
    }
}

fn execute(batch: &mut DecisionState, command: &Command) -> Result<Effect, Rejection> {
    if !batch.rows.schedules.contains_key(&command.schedule) {
        return Err(Rejection::NotFound("schedule"));
    }
    if command.queued.is_some_and(|queued| queued.not_after <= batch.now) {
        return Err(Rejection::TooLate);
    }
    check_owner(batch, command)?;
    match &command.action {
        Action::Hold { id, seats, customer, ttl } => {
            take::hold(batch, command, *id, seats, customer, *ttl)
        }
        Action::Book { id, seats, customer } => take::book(batch, command, *id, seats, customer),
        Action::Block { id, seats, reason } => take::block(batch, command, *id, seats, reason),
        Action::Confirm { hold, booking, customer } => {
            take::confirm(batch, *hold, *booking, customer.as_ref())
        }
        Action::Extend { hold, ttl } => end::extend(batch, *hold, *ttl),
        Action::Change { hold, add, remove, version } => {
            change::change(batch, command, *hold, (add, remove), *version)
        }
        Action::Release { hold } => end::release(batch, *hold),
        Action::Expire { hold } => end::expire(batch, *hold),
        Action::Cancel { booking, seats } => end::cancel(batch, *booking, seats.as_deref()),
        Action::Unblock { block } => end::unblock(batch, *block),
        Action::Lookup => Err(Rejection::NotFound("key")),
    }
}

/// Refuses a command that touches another customer's claim than its owner's, as if the claim did not exist.
fn check_owner(batch: &DecisionState, command: &Command) -> Result<(), Rejection> {
    let Some(owner) = &command.owner else { return Ok(()) };
    let (what, customer) = match &command.action {
        Action::Hold { customer, .. } | Action::Book { customer, .. } => {
            ("customer", Some(customer.clone()))
        }
        Action::Extend { hold, .. }
        | Action::Change { hold, .. }
        | Action::Release { hold }
        | Action::Confirm { hold, .. }
        | Action::Expire { hold } => ("hold", Some(batch.find_hold(*hold)?.customer)),
        Action::Cancel { booking, .. } => ("booking", Some(batch.find_booking(*booking)?.customer)),
        Action::Block { .. } | Action::Unblock { .. } => ("block", None),
        Action::Lookup => return Ok(()),
    };
    if customer.as_ref() == Some(owner) { Ok(()) } else { Err(Rejection::NotFound(what)) }
}

/// Records an answer, for later commands of the batch and to be written with it.
fn record(batch: &mut DecisionState, schedule: ScheduleId, keyed: &Keyed, answer: Answer) {
    let recorded = match &answer {
        Answer::Effect(effect) => KnownAnswer::Given(Box::new(effect.clone())),
        Answer::Recorded(answer) => KnownAnswer::Recorded(answer.clone()),
        Answer::Rejection(rejection) => KnownAnswer::Refused(rejection.clone()),
    };
    let fingerprint = keyed.fingerprint.clone();
    batch.rows.answers.insert(keyed.request.clone(), (fingerprint, recorded));
    let expires_at = batch.now.plus(batch.policy.idempotency_ttl);
    let answer = NewAnswer { schedule, keyed: keyed.clone(), answer, expires_at };
    batch.changes.answers.insert(keyed.request.clone(), answer);
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

//! `decide()`: what becomes of a batch of commands, given the rows they touch.
//!
//! First come, first served: each command sees what the ones before it did, so a batch decides exactly as
//! the same commands one after another would. A refused command changes nothing.

mod end;
mod take;
mod working;

use super::clock::EpochMs;
use super::command::{Action, Command};
use super::effect::{Effect, Outcome};
use super::refusal::Refusal;
use super::rows::{Changes, JournalEntry, KnownAnswer, NewAnswer, Rows};
use super::rules::Policy;
use working::Working;

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One outcome per command, in order.
    pub outcomes: Vec<Outcome>,
    /// What to write.
    pub changes: Changes,
    /// One entry per schedule whose seats were written, ascending by schedule.
    pub journal: Vec<JournalEntry>,
    /// Seats that two commands of this batch both held locked: the seat locks failed, the rows did not.
    pub row_lock_saves: u64,
}

/// Decides a batch. `now` is the database's clock, read behind the locks; `rows` must hold every row that
/// the commands name.
#[must_use]
pub fn decide(now: EpochMs, policy: &Policy, rows: Rows, commands: &[Command]) -> Decision {
    let mut working = Working::new(now, *policy, rows);
    let outcomes = commands.iter().map(|command| one(&mut working, command)).collect();
    working.finish(outcomes)
}

/// Decides one command: its key first, since a key that has had its effect answers for ever the same.
fn one(working: &mut Working, command: &Command) -> Outcome {
    if let Some(keyed) = &command.keyed
        && let Some((fingerprint, answer)) = working.rows.answers.get(&keyed.request)
    {
        if *fingerprint != keyed.fingerprint {
            return Outcome::Refused(Refusal::KeyReused);
        }
        return match answer {
            KnownAnswer::Recorded(answer) => Outcome::Replayed(answer.clone()),
            KnownAnswer::Given(effect) => Outcome::Repeated((**effect).clone()),
        };
    }
    if matches!(command.action, Action::Lookup) {
        return Outcome::NotRecorded;
    }
    match act(working, command) {
        Ok(effect) => {
            record(working, command, &effect);
            Outcome::Done(effect)
        }
        Err(refusal) => Outcome::Refused(refusal),
    }
}

fn act(working: &mut Working, command: &Command) -> Result<Effect, Refusal> {
    if !working.rows.schedules.contains_key(&command.schedule) {
        return Err(Refusal::NotFound("schedule"));
    }
    match &command.action {
        Action::Hold { id, seats, customer, ttl } => {
            take::hold(working, command, *id, seats, customer, *ttl)
        }
        Action::Book { id, seats, customer } => take::book(working, command, *id, seats, customer),
        Action::Block { id, seats, reason } => take::block(working, command, *id, seats, reason),
        Action::Confirm { hold, booking, customer } => {
            take::confirm(working, *hold, *booking, customer.as_ref())
        }
        Action::Extend { hold, ttl } => end::extend(working, *hold, *ttl),
        Action::Release { hold } => end::release(working, *hold),
        Action::Expire { hold } => end::expire(working, *hold),
        Action::Cancel { booking, seats } => end::cancel(working, *booking, seats.as_deref()),
        Action::Unblock { block } => end::unblock(working, *block),
        Action::Lookup => Err(Refusal::NotFound("key")),
    }
}

/// Only effects are recorded: a refusal speaks of its attempt, and repeating the key decides anew.
fn record(working: &mut Working, command: &Command, effect: &Effect) {
    let Some(keyed) = &command.keyed else { return };
    let given = KnownAnswer::Given(Box::new(effect.clone()));
    working.rows.answers.insert(keyed.request.clone(), (keyed.fingerprint.clone(), given));
    let expires_at = working.now.plus(working.policy.idempotency_ttl);
    let answer = NewAnswer { keyed: keyed.clone(), effect: effect.clone(), expires_at };
    working.changes.answers.insert(keyed.request.clone(), answer);
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

//! `decide()`: what becomes of a batch of commands, given the rows they touch.
//!
//! First come, first served: each command sees what the ones before it did, so a batch decides exactly as
//! the same commands one after another would. A refused command changes nothing.

mod end;
mod state;
mod take;

use super::clock::EpochMs;
use super::command::{Action, Command, Keyed, Queued};
use super::effect::{Answer, Effect, Outcome};
use super::ids::ScheduleId;
use super::rejection::Rejection;
use super::rows::{Changes, JournalEntry, KnownAnswer, NewAnswer, Rows};
use super::rules::Policy;
use state::DecisionState;

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// One outcome per command, in order.
    pub outcomes: Vec<Outcome>,
    /// What to write.
    pub changes: Changes,
    /// One entry per schedule whose seats were written, ascending by schedule.
    pub journal: Vec<JournalEntry>,
    /// The schedules of which an outcome says that seats were given back, now or before, ascending; each with
    /// a version at which those seats are free.
    pub freed: Vec<(ScheduleId, i64)>,
    /// Seats that two commands of this batch both held locked: the seat locks failed, the rows did not.
    pub row_lock_saves: u64,
}

/// Decides a batch. `now` is the database's clock, read behind the locks; `rows` must hold every row that
/// the commands name.
#[must_use]
pub fn decide(now: EpochMs, policy: &Policy, rows: Rows, commands: &[Command]) -> Decision {
    let mut working = DecisionState::new(now, *policy, rows);
    let outcomes: Vec<Outcome> =
        commands.iter().map(|command| one(&mut working, command)).collect();
    let given_back = commands
        .iter()
        .zip(&outcomes)
        .filter(|(command, outcome)| command.action.gives_back() && outcome.has_effect())
        .map(|(command, _)| command.schedule)
        .collect();
    working.finish(outcomes, given_back)
}

/// Decides one command. A request that came through the queue is decided once: its outcome, whatever it is,
/// is recorded with the batch, and a second delivery is given that.
fn one(working: &mut DecisionState, command: &Command) -> Outcome {
    let Some(queued) = &command.queued else { return unless_known(working, command) };
    let key = Queued::key(queued.id);
    if let Some((_, answer)) = working.rows.answers.get(&key) {
        return answered(answer);
    }
    let outcome = unless_known(working, command);
    let answer = match &outcome {
        Outcome::Done(effect) | Outcome::Repeated(effect) => Answer::Effect(effect.clone()),
        Outcome::Replayed(answer) => Answer::Recorded(answer.clone()),
        Outcome::Refused(refusal) => Answer::Rejection(refusal.clone()),
        Outcome::NotRecorded => return outcome,
    };
    record(working, &Keyed { request: key, fingerprint: String::new() }, answer);
    outcome
}

/// Looks at the command's key first, since a key that has had its effect answers for ever the same.
fn unless_known(working: &mut DecisionState, command: &Command) -> Outcome {
    if let Some(keyed) = &command.keyed
        && let Some((fingerprint, answer)) = working.rows.answers.get(&keyed.request)
    {
        if *fingerprint != keyed.fingerprint {
            return Outcome::Refused(Rejection::KeyReused);
        }
        return answered(answer);
    }
    if matches!(command.action, Action::Lookup) {
        return Outcome::NotRecorded;
    }
    match act(working, command) {
        Ok(effect) => {
            // Only effects are recorded under a caller's key: a refusal speaks of its attempt, and repeating
            // the key decides anew.
            if let Some(keyed) = &command.keyed {
                record(working, keyed, Answer::Effect(effect.clone()));
            }
            Outcome::Done(effect)
        }
        Err(refusal) => Outcome::Refused(refusal),
    }
}

fn answered(answer: &KnownAnswer) -> Outcome {
    match answer {
        KnownAnswer::Recorded(answer) => Outcome::Replayed(answer.clone()),
        KnownAnswer::Given(effect) => Outcome::Repeated((**effect).clone()),
        KnownAnswer::Refused(refusal) => Outcome::Refused(refusal.clone()),
    }
}

fn act(working: &mut DecisionState, command: &Command) -> Result<Effect, Rejection> {
    if !working.rows.schedules.contains_key(&command.schedule) {
        return Err(Rejection::NotFound("schedule"));
    }
    if command.queued.is_some_and(|queued| queued.not_after <= working.now) {
        return Err(Rejection::TooLate);
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
        Action::Lookup => Err(Rejection::NotFound("key")),
    }
}

/// Notes an answer, for later commands of the batch and to be written with it.
fn record(working: &mut DecisionState, keyed: &Keyed, answer: Answer) {
    let known = match &answer {
        Answer::Effect(effect) => KnownAnswer::Given(Box::new(effect.clone())),
        Answer::Recorded(answer) => KnownAnswer::Recorded(answer.clone()),
        Answer::Rejection(refusal) => KnownAnswer::Refused(refusal.clone()),
    };
    let fingerprint = keyed.fingerprint.clone();
    working.rows.answers.insert(keyed.request.clone(), (fingerprint, known));
    let expires_at = working.now.plus(working.policy.idempotency_ttl);
    let answer = NewAnswer { keyed: keyed.clone(), answer, expires_at };
    working.changes.answers.insert(keyed.request.clone(), answer);
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

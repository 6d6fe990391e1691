//! What follows a failed run of a batch: one pure decision.

use std::time::Duration;

use crate::domain::failure::Failure;
use crate::store::connection::errors::{Meaning, answered_by_server, meaning};

use super::attempt::AttemptError;

/// How often each remedy was tried on a batch.
#[derive(Debug, Default)]
pub(crate) struct Tries {
    pub(crate) again: u32,
    pub(crate) unique: u32,
    pub(crate) renewed: u32,
    pub(crate) resolved: u32,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Run it again after a pause of up to this, drawn at random.
    Again(Duration),
    /// Run it again on a new connection.
    Renew,
    /// Ask a new connection whether the batch is durable; if not, run it again under the same identifier.
    Resolve,
    /// Split it.
    Halve,
    /// Give up.
    Fail(Failure),
}

const AGAIN_MAX: u32 = 4;
const RESOLVE_MAX: u32 = 20;

/// Decides. `uncertain` says that an earlier run of this batch may still turn out to be durable: then it
/// must keep its identifier and its commands, and giving up means not knowing.
pub(crate) fn next_step(
    error: &AttemptError,
    tries: &mut Tries,
    commands: usize,
    uncertain: bool,
) -> Step {
    let pause = Duration::from_millis(20);
    let step = match error {
        AttemptError::Uncertain => resolve(tries),
        AttemptError::Deadline => Step::Fail(Failure::Unavailable("it took too long".to_owned())),
        AttemptError::RowCount(table) => {
            halve(commands, format!("the rows of {table} changed under their locks"))
        }
        AttemptError::KeyTaken => again(&mut tries.unique, pause),
        AttemptError::Database(error) => match meaning(error) {
            Meaning::Again => again(&mut tries.again, pause),
            Meaning::Unique if tries.unique == 0 => again(&mut tries.unique, Duration::ZERO),
            Meaning::Unique | Meaning::Data | Meaning::Refused => {
                halve(commands, error.to_string())
            }
            Meaning::Stale if tries.renewed == 0 => {
                tries.renewed += 1;
                Step::Renew
            }
            // The connection was dead, perhaps since an outage, and nothing can have been committed.
            Meaning::Unavailable if tries.renewed == 0 && !answered_by_server(error) => {
                tries.renewed += 1;
                Step::Renew
            }
            Meaning::ReadOnly => Step::Fail(Failure::ReadOnly),
            Meaning::Stale | Meaning::Unavailable => {
                Step::Fail(Failure::Unavailable(error.to_string()))
            }
        },
    };
    match step {
        Step::Halve | Step::Fail(_) if uncertain => resolve(tries),
        step => step,
    }
}

fn again(tries: &mut u32, pause: Duration) -> Step {
    *tries += 1;
    if *tries <= AGAIN_MAX {
        return Step::Again(pause * *tries);
    }
    Step::Fail(Failure::Unavailable("the rows are too contended".to_owned()))
}

fn halve(commands: usize, reason: String) -> Step {
    if commands > 1 { Step::Halve } else { Step::Fail(Failure::Impossible(reason)) }
}

fn resolve(tries: &mut Tries) -> Step {
    tries.resolved += 1;
    if tries.resolved <= RESOLVE_MAX { Step::Resolve } else { Step::Fail(Failure::Unknown) }
}

#[cfg(test)]
mod tests {
    use sea_orm::DbErr;

    use super::*;

    fn away() -> AttemptError {
        AttemptError::Database(DbErr::Custom("away".to_owned()))
    }

    #[test]
    fn a_failure_before_commit_has_no_effect() {
        let mut tries = Tries::default();
        assert_eq!(next_step(&away(), &mut tries, 9, false), Step::Renew, "once");
        let step = next_step(&away(), &mut tries, 9, false);
        assert!(matches!(step, Step::Fail(Failure::Unavailable(_))));
        let step = next_step(&AttemptError::Deadline, &mut Tries::default(), 9, false);
        assert!(matches!(step, Step::Fail(Failure::Unavailable(_))));
    }

    #[test]
    fn a_batch_whose_commit_got_no_answer_is_never_split_and_never_said_to_have_failed() {
        let mut tries = Tries::default();
        let lost = AttemptError::Uncertain;
        assert_eq!(next_step(&lost, &mut tries, 9, false), Step::Resolve);
        let count = AttemptError::RowCount("seat");
        tries.renewed = 1;
        for error in [&away(), &count, &AttemptError::Deadline] {
            assert_eq!(next_step(error, &mut tries, 9, true), Step::Resolve);
        }
        tries.resolved = RESOLVE_MAX;
        assert_eq!(next_step(&away(), &mut tries, 9, true), Step::Fail(Failure::Unknown));
    }

    #[test]
    fn a_batch_that_cannot_be_stored_is_split_until_one_command_is_to_blame() {
        let count = AttemptError::RowCount("seat");
        assert_eq!(next_step(&count, &mut Tries::default(), 2, false), Step::Halve);
        let step = next_step(&count, &mut Tries::default(), 1, false);
        assert!(matches!(step, Step::Fail(Failure::Impossible(_))));
    }

    #[test]
    fn a_key_that_another_batch_recorded_is_looked_at_again_a_few_times() {
        let mut tries = Tries::default();
        for _ in 0..AGAIN_MAX {
            let step = next_step(&AttemptError::KeyTaken, &mut tries, 1, false);
            assert!(matches!(step, Step::Again(_)));
        }
        let step = next_step(&AttemptError::KeyTaken, &mut tries, 1, false);
        assert!(matches!(step, Step::Fail(Failure::Unavailable(_))));
    }
}

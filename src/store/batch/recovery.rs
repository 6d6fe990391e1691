//! What follows a failed run of a batch: one pure decision.

use std::time::Duration;

use crate::domain::execution_error::ExecutionError;
use crate::store::connection::errors::{ErrorClass, answered_by_server, meaning};

use super::attempt::AttemptError;

/// How often each remedy was tried on a batch.
#[derive(Debug, Default)]
pub(crate) struct RecoveryAttempts {
    pub(crate) again: u32,
    pub(crate) unique: u32,
    pub(crate) renewed: u32,
    pub(crate) resolved: u32,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecoveryAction {
    /// Run it again after a pause of up to this, drawn at random.
    Again(Duration),
    /// Run it again on a new connection.
    Renew,
    /// Ask a new connection whether the batch is durable; if not, run it again under the same identifier.
    Resolve,
    /// Split it.
    Halve,
    /// Give up.
    Fail(ExecutionError),
}

const AGAIN_MAX: u32 = 4;
const RESOLVE_MAX: u32 = 20;

/// Decides. `uncertain` says that an earlier run of this batch may still turn out to be durable: then it
/// must keep its identifier and its commands, and giving up means not knowing.
pub(crate) fn next_step(
    error: &AttemptError,
    tries: &mut RecoveryAttempts,
    commands: usize,
    uncertain: bool,
) -> RecoveryAction {
    let pause = Duration::from_millis(20);
    let step = match error {
        AttemptError::Uncertain => resolve(tries),
        AttemptError::Deadline => {
            RecoveryAction::Fail(ExecutionError::Unavailable("it took too long".to_owned()))
        }
        AttemptError::RowCount(table) => {
            halve(commands, format!("the rows of {table} changed under their locks"))
        }
        AttemptError::KeyTaken => again(&mut tries.unique, pause),
        AttemptError::Database(error) => match meaning(error) {
            ErrorClass::Again => again(&mut tries.again, pause),
            ErrorClass::Unique if tries.unique == 0 => again(&mut tries.unique, Duration::ZERO),
            ErrorClass::Unique | ErrorClass::Data | ErrorClass::Refused => {
                halve(commands, error.to_string())
            }
            ErrorClass::Stale if tries.renewed == 0 => {
                tries.renewed += 1;
                RecoveryAction::Renew
            }
            // The connection was dead, perhaps since an outage, and nothing can have been committed.
            ErrorClass::Unavailable if tries.renewed == 0 && !answered_by_server(error) => {
                tries.renewed += 1;
                RecoveryAction::Renew
            }
            ErrorClass::ReadOnly => RecoveryAction::Fail(ExecutionError::ReadOnly),
            ErrorClass::Stale | ErrorClass::Unavailable => {
                RecoveryAction::Fail(ExecutionError::Unavailable(error.to_string()))
            }
        },
    };
    match step {
        RecoveryAction::Halve | RecoveryAction::Fail(_) if uncertain => resolve(tries),
        step => step,
    }
}

fn again(tries: &mut u32, pause: Duration) -> RecoveryAction {
    *tries += 1;
    if *tries <= AGAIN_MAX {
        return RecoveryAction::Again(pause * *tries);
    }
    RecoveryAction::Fail(ExecutionError::Unavailable("the rows are too contended".to_owned()))
}

fn halve(commands: usize, reason: String) -> RecoveryAction {
    if commands > 1 {
        RecoveryAction::Halve
    } else {
        RecoveryAction::Fail(ExecutionError::Impossible(reason))
    }
}

fn resolve(tries: &mut RecoveryAttempts) -> RecoveryAction {
    tries.resolved += 1;
    if tries.resolved <= RESOLVE_MAX {
        RecoveryAction::Resolve
    } else {
        RecoveryAction::Fail(ExecutionError::Unknown)
    }
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
        let mut tries = RecoveryAttempts::default();
        assert_eq!(next_step(&away(), &mut tries, 9, false), RecoveryAction::Renew, "once");
        let step = next_step(&away(), &mut tries, 9, false);
        assert!(matches!(step, RecoveryAction::Fail(ExecutionError::Unavailable(_))));
        let step = next_step(&AttemptError::Deadline, &mut RecoveryAttempts::default(), 9, false);
        assert!(matches!(step, RecoveryAction::Fail(ExecutionError::Unavailable(_))));
    }

    #[test]
    fn a_batch_whose_commit_got_no_answer_is_never_split_and_never_said_to_have_failed() {
        let mut tries = RecoveryAttempts::default();
        let lost = AttemptError::Uncertain;
        assert_eq!(next_step(&lost, &mut tries, 9, false), RecoveryAction::Resolve);
        let count = AttemptError::RowCount("seat");
        tries.renewed = 1;
        for error in [&away(), &count, &AttemptError::Deadline] {
            assert_eq!(next_step(error, &mut tries, 9, true), RecoveryAction::Resolve);
        }
        tries.resolved = RESOLVE_MAX;
        assert_eq!(
            next_step(&away(), &mut tries, 9, true),
            RecoveryAction::Fail(ExecutionError::Unknown)
        );
    }

    #[test]
    fn a_batch_that_cannot_be_stored_is_split_until_one_command_is_to_blame() {
        let count = AttemptError::RowCount("seat");
        assert_eq!(
            next_step(&count, &mut RecoveryAttempts::default(), 2, false),
            RecoveryAction::Halve
        );
        let step = next_step(&count, &mut RecoveryAttempts::default(), 1, false);
        assert!(matches!(step, RecoveryAction::Fail(ExecutionError::Impossible(_))));
    }

    #[test]
    fn a_key_that_another_batch_recorded_is_looked_at_again_a_few_times() {
        let mut tries = RecoveryAttempts::default();
        for _ in 0..AGAIN_MAX {
            let step = next_step(&AttemptError::KeyTaken, &mut tries, 1, false);
            assert!(matches!(step, RecoveryAction::Again(_)));
        }
        let step = next_step(&AttemptError::KeyTaken, &mut tries, 1, false);
        assert!(matches!(step, RecoveryAction::Fail(ExecutionError::Unavailable(_))));
    }
}

//! Decides what follows a failed run of a batch.

use std::time::Duration;

use sea_orm::DbErr;

use crate::domain::execution_error::ExecutionError;
use crate::store::connection::errors::answered_by_server;
use crate::store::connection::{ErrorClass, classify};

/// The reason why a run failed. Only with [`Uncertain`](Self::Uncertain) the run may have had an effect.
#[derive(Debug)]
pub(crate) enum AttemptError {
    /// The database returned an error, and nothing was committed.
    Database(DbErr),
    /// An earlier batch has recorded one of the keys.
    KeyTaken,
    /// A statement wrote another number of rows of this table than was decided.
    RowCount(&'static str),
    /// The time limit passed before COMMIT was sent.
    Deadline,
    /// COMMIT was sent, and its answer was lost.
    Uncertain,
}

impl From<DbErr> for AttemptError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

/// How often each kind of recovery was tried for a batch.
#[derive(Debug, Default)]
pub(crate) struct RecoveryAttempts {
    pub(crate) retried: u32,
    pub(crate) unique: u32,
    pub(crate) reconnected: u32,
    pub(crate) resolved: u32,
}

/// The action after a failed run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RecoveryAction {
    /// Run the batch again after a random pause of at most this time.
    Retry(Duration),
    /// Run the batch again on a new connection.
    Reconnect,
    /// Read on a new connection whether the batch is durable. If not, run it again with the same identifier.
    ResolveCommit,
    /// Split the batch into halves.
    Bisect,
    /// Report this error for every command.
    Fail(ExecutionError),
}

const RETRIES_MAX: u32 = 4;

/// The unit of the pauses in which a cluster opens new connections between its servers.
const INTERRUPTED_PAUSE: Duration = Duration::from_millis(100);

const RESOLVE_MAX: u32 = 20;

/// The action after a failed run. With `uncertain`, an earlier run of this batch may be durable: the batch then keeps
/// its identifier and its commands, and the error to report is [`ExecutionError::Unknown`].
pub(crate) fn recovery_action(
    error: &AttemptError,
    attempts: &mut RecoveryAttempts,
    commands: usize,
    uncertain: bool,
) -> RecoveryAction {
    let pause = Duration::from_millis(20);
    let action = match error {
        AttemptError::Uncertain => resolve(attempts),
        AttemptError::Deadline => {
            RecoveryAction::Fail(ExecutionError::Unavailable("it took too long".to_owned()))
        }
        AttemptError::RowCount(table) => {
            bisect(commands, format!("the rows of {table} changed under their locks"))
        }
        // The first run did not read the keys.
        AttemptError::KeyTaken if attempts.unique == 0 => {
            retry(&mut attempts.unique, Duration::ZERO)
        }
        AttemptError::KeyTaken => retry(&mut attempts.unique, pause),
        AttemptError::Database(error) => match classify(error) {
            ErrorClass::Retry => retry(&mut attempts.retried, pause),
            ErrorClass::Interrupted if attempts.retried < RETRIES_MAX => {
                retry(&mut attempts.retried, INTERRUPTED_PAUSE)
            }
            ErrorClass::Unique if attempts.unique == 0 => {
                retry(&mut attempts.unique, Duration::ZERO)
            }
            ErrorClass::Unique | ErrorClass::Data | ErrorClass::Refused => {
                bisect(commands, error.to_string())
            }
            ErrorClass::Stale if attempts.reconnected == 0 => {
                attempts.reconnected += 1;
                RecoveryAction::Reconnect
            }
            // The connection was lost before the run, and nothing can have been committed.
            ErrorClass::Unavailable if attempts.reconnected == 0 && !answered_by_server(error) => {
                attempts.reconnected += 1;
                RecoveryAction::Reconnect
            }
            ErrorClass::ReadOnly => RecoveryAction::Fail(ExecutionError::ReadOnly),
            ErrorClass::Stale | ErrorClass::Interrupted | ErrorClass::Unavailable => {
                RecoveryAction::Fail(ExecutionError::Unavailable(error.to_string()))
            }
        },
    };
    match action {
        RecoveryAction::Bisect | RecoveryAction::Fail(_) if uncertain => resolve(attempts),
        action => action,
    }
}

fn retry(count: &mut u32, pause: Duration) -> RecoveryAction {
    *count += 1;
    if *count <= RETRIES_MAX {
        return RecoveryAction::Retry(pause * *count);
    }
    RecoveryAction::Fail(ExecutionError::Unavailable("the rows are too contended".to_owned()))
}

fn bisect(commands: usize, reason: String) -> RecoveryAction {
    if commands > 1 {
        RecoveryAction::Bisect
    } else {
        RecoveryAction::Fail(ExecutionError::Impossible(reason))
    }
}

fn resolve(attempts: &mut RecoveryAttempts) -> RecoveryAction {
    attempts.resolved += 1;
    if attempts.resolved <= RESOLVE_MAX {
        RecoveryAction::ResolveCommit
    } else {
        RecoveryAction::Fail(ExecutionError::Unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable() -> AttemptError {
        AttemptError::Database(DbErr::Custom("unavailable".to_owned()))
    }

    #[test]
    fn a_failure_before_commit_has_no_effect() {
        let mut attempts = RecoveryAttempts::default();
        assert_eq!(
            recovery_action(&unavailable(), &mut attempts, 9, false),
            RecoveryAction::Reconnect,
            "once"
        );
        let action = recovery_action(&unavailable(), &mut attempts, 9, false);
        assert!(matches!(action, RecoveryAction::Fail(ExecutionError::Unavailable(_))));
        let action =
            recovery_action(&AttemptError::Deadline, &mut RecoveryAttempts::default(), 9, false);
        assert!(matches!(action, RecoveryAction::Fail(ExecutionError::Unavailable(_))));
    }

    #[test]
    fn a_batch_whose_commit_got_no_answer_is_never_split_and_never_said_to_have_failed() {
        let mut attempts = RecoveryAttempts::default();
        let lost = AttemptError::Uncertain;
        assert_eq!(recovery_action(&lost, &mut attempts, 9, false), RecoveryAction::ResolveCommit);
        let count = AttemptError::RowCount("seat");
        attempts.reconnected = 1;
        for error in [&unavailable(), &count, &AttemptError::Deadline] {
            assert_eq!(
                recovery_action(error, &mut attempts, 9, true),
                RecoveryAction::ResolveCommit
            );
        }
        attempts.resolved = RESOLVE_MAX;
        assert_eq!(
            recovery_action(&unavailable(), &mut attempts, 9, true),
            RecoveryAction::Fail(ExecutionError::Unknown)
        );
    }

    #[test]
    fn a_batch_that_cannot_be_stored_is_split_until_one_command_is_to_blame() {
        let count = AttemptError::RowCount("seat");
        assert_eq!(
            recovery_action(&count, &mut RecoveryAttempts::default(), 2, false),
            RecoveryAction::Bisect
        );
        let action = recovery_action(&count, &mut RecoveryAttempts::default(), 1, false);
        assert!(matches!(action, RecoveryAction::Fail(ExecutionError::Impossible(_))));
    }

    #[test]
    fn a_key_that_another_batch_recorded_is_retried_a_few_times() {
        let mut attempts = RecoveryAttempts::default();
        for _ in 0..RETRIES_MAX {
            let action = recovery_action(&AttemptError::KeyTaken, &mut attempts, 1, false);
            assert!(matches!(action, RecoveryAction::Retry(_)));
        }
        let action = recovery_action(&AttemptError::KeyTaken, &mut attempts, 1, false);
        assert!(matches!(action, RecoveryAction::Fail(ExecutionError::Unavailable(_))));
    }
}

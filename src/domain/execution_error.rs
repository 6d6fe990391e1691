//! Errors of the services that this one depends on, as opposed to refusals.

/// The reason why a command has no outcome. With every reason except [`Unknown`](Self::Unknown), the command had no
/// effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExecutionError {
    /// The deadline passed, or the caller cancelled the command, before it was executed.
    #[error("the command was withdrawn before it was run")]
    Withdrawn,
    /// The database is unavailable, full or too slow.
    #[error("the database did not execute the command: {0}")]
    Unavailable(String),
    /// The database is read-only.
    #[error("the database is read-only")]
    ReadOnly,
    /// The command itself cannot be stored.
    #[error("the command cannot be stored: {0}")]
    Impossible(String),
    /// The command was sent to the database, and its outcome could not be determined.
    #[error("it is not known whether the command had its effect")]
    Unknown,
}

impl ExecutionError {
    /// Whether the same command can succeed later; false if the command itself is wrong.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Impossible(_))
    }
}

/// The reason why a call of the store failed. A write that timed out may still have its effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The database is unavailable, full or too slow.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// No answer in time; a write may have had its effect.
    #[error("the database did not answer in time")]
    Timeout,
    /// The database is read-only.
    #[error("the database is read-only")]
    ReadOnly,
    /// The database must not be used with its configuration; the text names the remedy.
    #[error("the database is not fit for bookings: {0}")]
    Unfit(String),
    /// A row or a statement is wrong: a bug of this program, or the database was changed by hand.
    #[error("a row or a statement is wrong: {0}")]
    Corrupt(String),
    /// The cursor was made in another history of the database.
    #[error("the cursor is of another history of the database")]
    OtherHistory,
}

/// The result of a call of the store.
pub type StoreResult<T> = Result<T, StoreError>;

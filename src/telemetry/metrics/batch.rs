//! Metrics of the booking engine: its transactions, their statements and the commands in them.

use strum::{AsRefStr, VariantNames};

use crate::domain::command::CommandKind;
use crate::telemetry::metrics::macros::metrics;
use crate::telemetry::metrics::{REQUEST_SECONDS, SIZES};

/// How a batch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum BatchOutcome {
    /// It changed something and was committed.
    Committed,
    /// It changed nothing: every command was refused or had its answer recorded before.
    ReadOnly,
    /// It was rolled back and not retried.
    Failed,
    /// It is not known whether it was committed.
    Unknown,
    /// It failed on data and was split to find the command that caused it.
    Halved,
    /// It was rolled back and run again.
    Retried,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum CommandOutcome {
    /// It had its effect.
    Done,
    /// It had its effect before, and the recorded answer was returned again.
    Replayed,
    /// A business rule refused it.
    Refused,
    /// It was not decided, because of an error.
    Failed,
}

/// What prevented a double sale after the seat locks had admitted both buyers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsRefStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Guard {
    /// The second buyer read, under the row lock, that the seat was not free.
    RowLock,
    /// The database refused a second live booking of the seat.
    UniqueIndex,
    /// A write touched fewer rows than were decided on.
    RowCount,
}

/// Bucket edges for the statements of one transaction.
pub const STATEMENTS: [f64; 8] = [2.0, 4.0, 8.0, 12.0, 16.0, 20.0, 30.0, 50.0];

metrics! {
    /// The booking engine's transactions and commands.
    pub struct BatchMetrics("seatlock_batch") {
        /// Batches by outcome; a batch that is retried or halved counts as such and once more at its end.
        batches_total as "seatlock_batches_total": IntCounterVec["outcome": BatchOutcome],
        /// Commands in one batch.
        size: Histogram[buckets SIZES],
        /// Time a command waited for its batch, in seconds.
        wait_seconds: Histogram[buckets REQUEST_SECONDS],
        /// Time of a batch from taking a connection to its answers, in seconds.
        duration_seconds: Histogram[buckets REQUEST_SECONDS],
        /// Time of the statements of a batch that lock rows, and of the wait for its turn, in seconds: nearly all of it
        /// is waiting for other transactions. On SQLite, which has one write lock, the time until it was acquired.
        row_lock_wait_seconds as "seatlock_row_lock_wait_seconds": Histogram[buckets REQUEST_SECONDS],
        /// Transactions of batches that exceeded DB_TRANSACTION_TIMEOUT, or a statement of which exceeded
        /// DB_STATEMENT_TIMEOUT or DB_LOCK_TIMEOUT.
        transaction_timeouts_total as "seatlock_transaction_timeouts_total": IntCounter,
        /// Statements sent by batches. Each is a round trip to the database.
        statements_total: IntCounter,
        /// Statements in one batch, BEGIN and COMMIT included; the number does not grow with the batch.
        statements: Histogram[buckets STATEMENTS],
        /// Commands by kind and outcome.
        commands_total as "seatlock_commands_total":
            IntCounterVec["kind": CommandKind, "outcome": CommandOutcome],
        /// Double sales prevented behind the seat locks, by what prevented them.
        guard_saves_total as "seatlock_guard_saves_total": IntCounterVec["guard": Guard],
    }
}

impl BatchMetrics {
    /// Counts a batch.
    pub fn batch(&self, outcome: BatchOutcome) {
        self.batches_total.with_label_values(&[outcome]).inc();
    }

    /// Counts a command.
    pub fn command(&self, kind: CommandKind, outcome: CommandOutcome) {
        self.commands_total.with_label_values(&[kind.as_ref(), outcome.as_ref()]).inc();
    }

    /// Counts a double sale that a guard prevented.
    pub fn saved_by(&self, guard: Guard) {
        self.guard_saves_total.with_label_values(&[guard]).inc();
    }
}

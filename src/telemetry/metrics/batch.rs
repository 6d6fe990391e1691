//! Metrics of the booking engine: its transactions, their statements and the commands in them.

use crate::telemetry::metrics::macros::{labels, metrics};
use crate::telemetry::metrics::{REQUEST_SECONDS, SIZES};

labels! {
    /// How a batch ended.
    pub enum BatchOutcome {
        /// It changed something and was committed.
        Committed = "committed",
        /// It changed nothing: every command was refused or answered from its record.
        ReadOnly = "read_only",
        /// It was rolled back for good.
        Failed = "failed",
        /// It is not known whether it was committed.
        Unknown = "unknown",
        /// It failed on data and was split to find the command to blame.
        Halved = "halved",
        /// It was rolled back and run again.
        Retried = "retried",
    }
}

labels! {
    /// What a command asks for.
    pub enum CommandKind {
        /// A new hold.
        Hold = "hold",
        /// A longer hold.
        Extend = "extend",
        /// The end of a hold by its owner.
        Release = "release",
        /// A booking of free seats.
        Book = "book",
        /// A booking of a hold's seats.
        Confirm = "confirm",
        /// The end of a booking, whole or in part.
        Cancel = "cancel",
        /// The end of a hold by time.
        Expire = "expire",
        /// Seats taken out of sale.
        Block = "block",
        /// Seats put back on sale.
        Unblock = "unblock",
        /// The recorded answer of an idempotency key.
        Lookup = "lookup",
    }
}

labels! {
    /// How a command ended.
    pub enum CommandOutcome {
        /// It had its effect.
        Done = "done",
        /// It had had its effect before; that answer was given again.
        Replayed = "replayed",
        /// A business no.
        Refused = "refused",
        /// It could not be decided.
        Failed = "failed",
    }
}

labels! {
    /// What kept a seat from being sold twice after the seat lock had let both buyers through.
    pub enum Guard {
        /// The second buyer found the seat taken under its row lock.
        RowLock = "row_lock",
        /// The database refused a second live booking of the seat.
        UniqueIndex = "unique_index",
        /// A write touched fewer rows than were decided on.
        RowCount = "row_count",
    }
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
        /// Time of the statements of a batch that lock rows, in seconds: nearly all of it is waiting for
        /// other transactions. On SQLite, which has one write lock, the time until it was had.
        row_lock_wait_seconds as "seatlock_row_lock_wait_seconds": Histogram[buckets REQUEST_SECONDS],
        /// Transactions of batches that ran into DB_TRANSACTION_TIMEOUT, or a statement of which ran into
        /// DB_STATEMENT_TIMEOUT or DB_LOCK_TIMEOUT.
        transaction_timeouts_total as "seatlock_transaction_timeouts_total": IntCounter,
        /// Statements sent by batches.
        statements_total: IntCounter,
        /// Statements in one batch; it does not grow with the batch.
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
        self.batches_total.with_label_values(&[outcome.as_str()]).inc();
    }

    /// Counts a command.
    pub fn command(&self, kind: CommandKind, outcome: CommandOutcome) {
        self.commands_total.with_label_values(&[kind.as_str(), outcome.as_str()]).inc();
    }

    /// Counts a double sale that a guard prevented.
    pub fn saved_by(&self, guard: Guard) {
        self.guard_saves_total.with_label_values(&[guard.as_str()]).inc();
    }
}

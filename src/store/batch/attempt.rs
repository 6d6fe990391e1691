//! One run of the booking transaction: BEGIN, lock, decide, write, COMMIT.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::load::{injected, load};
use super::recovery::AttemptError;
use super::rows_to_lock::RowsToLock;
use super::turn::Turn;
use super::write::{RenderedAnswers, write};
use crate::domain::clock::EpochMs;
use crate::domain::command::{Command, RequestKey};
use crate::domain::decide::{Decision, decide};
use crate::domain::ids::{BatchId, ScheduleId};
use crate::domain::rows::Rows;
use crate::faults::{self, FailPoint};
use crate::store::Settings;
use crate::store::connection::{Commit, Db, DbResult, Dialect, Transaction, errors};
use crate::store::queries::{heartbeat, idempotency};

/// A run of a batch.
pub(crate) struct Attempt<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) batch: BatchId,
    pub(crate) number: i16,
    pub(crate) commands: Vec<Command>,
    /// Whether a key of a batch was recorded lately: recorded answers are then read before the decision.
    pub(crate) repeated_keys: bool,
}

/// Where a run gets its transaction.
pub(crate) enum Begin {
    /// It begins one.
    On(Db),
    /// The transaction that has the turn.
    WithTurn(Turn),
}

/// How a run succeeded.
pub(crate) enum Attempted {
    /// Everything decided is durable.
    Committed,
    /// Nothing had to be written.
    ReadOnly,
    /// An earlier run of this batch is durable; this one was rolled back.
    Earlier(i16),
}

/// The result of a run, and its progress before it ended.
pub(crate) struct AttemptReport {
    pub(crate) result: Result<Attempted, AttemptError>,
    pub(crate) progress: Progress,
    /// Whether the run reached a time limit: its own, or the server's for a statement or lock.
    pub(crate) timed_out: bool,
}

/// The progress of a run. It is returned even if the answer to COMMIT is lost.
#[derive(Default)]
pub(crate) struct Progress {
    pub(crate) decision: Option<Decision>,
    pub(crate) answers: RenderedAnswers,
    pub(crate) statements: u32,
    /// How long the turn and the statements that lock rows took, if these were sent.
    pub(crate) lock_time: Option<Duration>,
}

impl Attempt<'_> {
    /// Runs the transaction within its time limit. After [`AttemptError::Deadline`] and
    /// [`AttemptError::Uncertain`] the connection is in an unknown state and must not be used again.
    pub(crate) async fn run(self, begin: Begin) -> AttemptReport {
        let committing = AtomicBool::new(false);
        let mut progress = Progress::default();
        let work = self.transact(begin, &committing, &mut progress);
        let limit = self.settings.limits.transaction_timeout;
        let (result, timed_out) = match tokio::time::timeout(limit, work).await {
            Ok(Err(AttemptError::Database(error))) => {
                let timed_out = errors::timed_out(&error);
                (Err(AttemptError::Database(error)), timed_out)
            }
            Ok(result) => (result, false),
            Err(_) if committing.load(Ordering::SeqCst) => (Err(AttemptError::Uncertain), true),
            Err(_) => (Err(AttemptError::Deadline), true),
        };
        AttemptReport { result, progress, timed_out }
    }

    async fn transact(
        &self,
        begin: Begin,
        committing: &AtomicBool,
        progress: &mut Progress,
    ) -> Result<Attempted, AttemptError> {
        let began = Instant::now();
        let (transaction, waited) = match begin {
            Begin::On(db) => (db.begin().await?, Duration::ZERO),
            Begin::WithTurn(turn) => (turn.transaction, turn.waited),
        };
        faults::reach(FailPoint::AfterBegin).await.map_err(injected)?;
        if transaction.dialect == Dialect::Sqlite {
            transaction.set_lock_time(began.elapsed());
        }
        let worked = self.work(&transaction, progress).await;
        progress.statements = transaction.statements() + 1;
        progress.lock_time = transaction.lock_time().map(|time| time + waited);
        match worked {
            Ok(Attempted::Committed) => {
                faults::reach(FailPoint::BeforeCommit).await.map_err(injected)?;
                committing.store(true, Ordering::SeqCst);
                match transaction.commit().await? {
                    Commit::Done => match faults::reach(FailPoint::AfterCommit).await {
                        Ok(()) => Ok(Attempted::Committed),
                        Err(_) => Err(AttemptError::Uncertain),
                    },
                    Commit::Uncertain => Err(AttemptError::Uncertain),
                }
            }
            Ok(other) => {
                transaction.rollback().await?;
                Ok(other)
            }
            Err(error) => {
                // A failed rollback on the same connection is less informative than the first error.
                drop(transaction.rollback().await);
                Err(error)
            }
        }
    }

    /// The schedule of all commands; [`ScheduleId::NONE`] if they have several.
    fn schedule(&self) -> ScheduleId {
        let mut schedules = self.commands.iter().map(|command| command.schedule);
        let first = schedules.next().unwrap_or(ScheduleId::NONE);
        if schedules.all(|schedule| schedule == first) { first } else { ScheduleId::NONE }
    }

    async fn work(
        &self,
        transaction: &Transaction,
        progress: &mut Progress,
    ) -> Result<Attempted, AttemptError> {
        let policy = &self.settings.policy;
        let mut rows_to_lock = RowsToLock::of(&self.commands);
        let (context, rows) = load(transaction, self.batch, policy, &mut rows_to_lock).await?;
        let schedule = self.schedule();
        let earlier = match transaction.dialect {
            // The context is read on the coordinator, and the batch is on the worker of its schedule.
            Dialect::Citus if self.number > 0 => {
                heartbeat::committed_attempt(transaction, self.batch, schedule).await?
            }
            _ => context.committed_attempt,
        };
        if let Some(earlier) = earlier {
            return Ok(Attempted::Earlier(earlier));
        }
        let decision = self.decide(transaction, context.now, rows, &rows_to_lock.keys).await?;
        let decision = progress.decision.insert(decision);
        if decision.changes.is_empty() {
            let recorded_gap = context.recorded_gap;
            return Ok(if recorded_gap { Attempted::Committed } else { Attempted::ReadOnly });
        }
        let codec = self.settings.codec;
        let at = (context.now, schedule);
        progress.answers = write(transaction, self.batch, self.number, at, decision, codec).await?;
        Ok(Attempted::Committed)
    }

    /// Decides the batch. Nearly all keys are new, so the first decision assumes that. If a command with a key has no
    /// effect, its key may be an old one: then the recorded answers are read and the batch is decided again. If all
    /// have effects, recording the answers proves that the keys are new, or fails with [`AttemptError::KeyTaken`].
    async fn decide(
        &self,
        transaction: &Transaction,
        now: EpochMs,
        mut rows: Rows,
        keys: &BTreeSet<RequestKey>,
    ) -> DbResult<Decision> {
        let policy = &self.settings.policy;
        if keys.is_empty() {
            return Ok(decide(now, policy, rows, &self.commands));
        }
        if !self.repeated_keys {
            let decision = decide(now, policy, rows.clone(), &self.commands);
            let mut outcomes = self.commands.iter().zip(&decision.outcomes);
            if outcomes.all(|(command, outcome)| !command.has_key() || outcome.has_effect()) {
                return Ok(decision);
            }
        }
        rows.answers = idempotency::find(transaction, now, self.schedule(), keys).await?;
        Ok(decide(now, policy, rows, &self.commands))
    }
}

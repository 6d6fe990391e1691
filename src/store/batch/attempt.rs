//! One run of the booking transaction: BEGIN, lock, decide, write, COMMIT.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sea_orm::{DatabaseConnection, DbErr, TransactionTrait as _};

use crate::domain::command::Command;
use crate::domain::decide::{Decision, decide};
use crate::domain::ids::BatchId;
use crate::domain::rules::Policy;
use crate::faults::{self, FailPoint};
use crate::store::connection::dialect::Dialect;
use crate::store::connection::errors;

use super::load::{injected, load};
use super::rows_to_lock::RowsToLock;
use super::write::{Renderer, WriteError, write};
use crate::store::connection::transaction::{Commit, Session, commit};

/// A batch about to be run.
pub(crate) struct Attempt {
    pub(crate) dialect: Dialect,
    pub(crate) policy: Policy,
    pub(crate) render: Renderer,
    pub(crate) limit: Duration,
    pub(crate) batch: BatchId,
    pub(crate) number: i16,
    pub(crate) commands: Vec<Command>,
}

/// How a run ended well.
pub(crate) enum Attempted {
    /// Everything decided is durable.
    Committed,
    /// Nothing had to be written.
    ReadOnly,
    /// An earlier run of this batch turned out to be durable; this one was undone.
    Earlier(i16),
}

/// Why a run failed. Only [`Uncertain`](Self::Uncertain) may have had an effect.
pub(crate) enum AttemptError {
    /// The database says no, and nothing was kept.
    Database(DbErr),
    /// Another batch has just recorded one of the keys.
    KeyTaken,
    /// This table did not have the rows that were decided on.
    RowCount(&'static str),
    /// Time ran out before COMMIT was sent.
    Deadline,
    /// COMMIT was sent and its answer did not come.
    Uncertain,
}

/// A run and what it decided, which is kept even if COMMIT's answer is lost.
pub(crate) struct AttemptReport {
    pub(crate) result: Result<Attempted, AttemptError>,
    pub(crate) decision: Option<Decision>,
    pub(crate) statements: u32,
    /// How long the statements that lock rows took, if it came to that.
    pub(crate) locking: Option<Duration>,
    /// Whether it ran into a limit of time: its own, or one that the server has for a statement or lock.
    pub(crate) timed_out: bool,
}

/// What is known of a run while it goes on.
#[derive(Default)]
struct Progress {
    decision: Option<Decision>,
    statements: u32,
    locking: Option<Duration>,
}

impl From<WriteError> for AttemptError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Database(error) => Self::Database(error),
            WriteError::KeyTaken => Self::KeyTaken,
            WriteError::RowCount(table) => Self::RowCount(table),
        }
    }
}

impl From<DbErr> for AttemptError {
    fn from(error: DbErr) -> Self {
        Self::Database(error)
    }
}

impl Attempt {
    /// Runs the transaction within its time limit. After a failure by time the connection is in an unknown
    /// state: the caller must throw it away.
    pub(crate) async fn run(self, connection: &DatabaseConnection) -> AttemptReport {
        let committing = Arc::new(AtomicBool::new(false));
        let mut course = Progress::default();
        let work = self.transact(connection, &committing, &mut course);
        let (result, timed_out) = match tokio::time::timeout(self.limit, work).await {
            Ok(Err(AttemptError::Database(error))) => {
                let timed_out = errors::timed_out(&error);
                (Err(AttemptError::Database(error)), timed_out)
            }
            Ok(result) => (result, false),
            Err(_) if committing.load(Ordering::SeqCst) => (Err(AttemptError::Uncertain), true),
            Err(_) => (Err(AttemptError::Deadline), true),
        };
        let Progress { decision, statements, locking } = course;
        AttemptReport { result, decision, statements, locking, timed_out }
    }

    async fn transact(
        &self,
        connection: &DatabaseConnection,
        committing: &AtomicBool,
        course: &mut Progress,
    ) -> Result<Attempted, AttemptError> {
        let began = Instant::now();
        let transaction = connection.begin_with_options(self.dialect.begin()).await?;
        faults::reach(FailPoint::AfterBegin).await.map_err(injected)?;
        let session = Session::new(&transaction, self.dialect);
        if self.dialect == Dialect::Sqlite {
            session.locked_after(began.elapsed());
        }
        let worked = self.work(&session, &mut course.decision).await;
        course.statements = session.statements() + 1;
        course.locking = session.locking();
        match worked {
            Ok(Attempted::Committed) => {
                faults::reach(FailPoint::BeforeCommit).await.map_err(injected)?;
                committing.store(true, Ordering::SeqCst);
                match commit(transaction).await? {
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
                // The first error tells more than a failed rollback on the same connection would.
                drop(transaction.rollback().await);
                Err(error)
            }
        }
    }

    async fn work(
        &self,
        session: &Session<'_>,
        kept: &mut Option<Decision>,
    ) -> Result<Attempted, AttemptError> {
        let wanted = RowsToLock::of(self.commands.iter());
        let loaded = load(session, self.batch, &self.policy, wanted).await?;
        if let Some(earlier) = loaded.committed_attempt {
            return Ok(Attempted::Earlier(earlier));
        }
        let decision = decide(loaded.now, &self.policy, loaded.rows, &self.commands);
        let decision = kept.insert(decision);
        if decision.changes.is_empty() {
            return Ok(if loaded.must_commit { Attempted::Committed } else { Attempted::ReadOnly });
        }
        write(session, (self.batch, self.number), loaded.now, decision, self.render).await?;
        Ok(Attempted::Committed)
    }
}

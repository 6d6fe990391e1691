//! One open transaction, counting the statements that it sends.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sea_orm::{
    ConnectionTrait as _, DatabaseTransaction, DbErr, EntityTrait, FromQueryResult, QueryResult,
    Statement, Value,
};

use crate::store::connection::dialect::{Dialect, RowSet};
use crate::store::connection::errors::refused_commit;

pub(crate) struct Session<'a> {
    pub(crate) transaction: &'a DatabaseTransaction,
    pub(crate) dialect: Dialect,
    statements: AtomicU32,
    locking: OnceLock<Duration>,
}

/// What is known once COMMIT was sent.
pub(crate) enum Commit {
    /// It is done.
    Done,
    /// Its answer did not come: it may be done.
    Uncertain,
}

/// Commits. An error means that nothing was committed.
pub(crate) async fn commit(transaction: DatabaseTransaction) -> Result<Commit, DbErr> {
    match transaction.commit().await {
        Ok(()) => Ok(Commit::Done),
        Err(error) if refused_commit(&error) => Err(error),
        Err(error) => {
            log::warn!("the answer to a COMMIT was lost: {error}");
            Ok(Commit::Uncertain)
        }
    }
}

impl<'a> Session<'a> {
    /// BEGIN was a statement, too.
    pub(crate) fn new(transaction: &'a DatabaseTransaction, dialect: Dialect) -> Self {
        let (statements, locking) = (AtomicU32::new(1), OnceLock::new());
        Self { transaction, dialect, statements, locking }
    }

    /// Notes how long the statements that lock rows took; the first word counts.
    pub(crate) fn locked_after(&self, time: Duration) {
        let _ = self.locking.set(time);
    }

    /// How long the statements that lock rows took, once they have ended.
    pub(crate) fn locking(&self) -> Option<Duration> {
        self.locking.get().copied()
    }

    /// Statements sent so far.
    pub(crate) fn statements(&self) -> u32 {
        self.statements.load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) async fn query(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.count();
        self.transaction.query_all_raw(statement).await
    }

    /// Whole rows of one table: `SELECT t.* FROM <rows> JOIN t …`.
    pub(crate) async fn rows<E>(
        &self,
        rows: &RowSet,
        before: &str,
        after: &str,
    ) -> Result<Vec<E::Model>, DbErr>
    where
        E: EntityTrait,
        E::Model: FromQueryResult,
    {
        let statement = rows.statement(self.dialect, Vec::new(), before, after);
        self.query(statement)
            .await?
            .iter()
            .map(|row| E::Model::from_query_result(row, ""))
            .collect()
    }

    /// Writes rows; says how many were written.
    pub(crate) async fn write(
        &self,
        rows: &RowSet,
        values: Vec<Value>,
        before: &str,
        after: &str,
    ) -> Result<u64, DbErr> {
        self.execute(rows.statement(self.dialect, values, before, after)).await
    }

    pub(crate) async fn execute(&self, statement: Statement) -> Result<u64, DbErr> {
        self.count();
        Ok(self.transaction.execute_raw(statement).await?.rows_affected())
    }
}

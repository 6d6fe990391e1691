//! A connection or an open transaction, with the dialect of its database and a count of the statements sent.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, FromQueryResult, QueryResult,
    Statement, TransactionTrait as _, TryGetableMany, Value,
};

use crate::store::connection::DbResult;
use crate::store::connection::dialect::Dialect;
use crate::store::connection::errors::refused_commit;
use crate::store::connection::row_set::RowSet;

/// A connection or transaction that counts its statements.
pub(crate) struct Session<C> {
    pub(crate) connection: C,
    pub(crate) dialect: Dialect,
    statements: AtomicU32,
    lock_time: OnceLock<Duration>,
}

/// A pool, of which each statement takes a connection.
pub(crate) type Db = Session<DatabaseConnection>;

/// An open transaction.
pub(crate) type Transaction = Session<DatabaseTransaction>;

/// The result of a COMMIT that was sent.
pub(crate) enum Commit {
    /// The transaction is committed.
    Done,
    /// The answer was lost: the transaction may be committed.
    Uncertain,
}

impl Db {
    pub(crate) fn new(connection: DatabaseConnection, dialect: Dialect) -> Self {
        let statements = AtomicU32::new(0);
        let lock_time = OnceLock::new();
        Self { connection, dialect, statements, lock_time }
    }

    /// Begins a transaction that writes. BEGIN counts as a statement.
    pub(crate) async fn begin(&self) -> DbResult<Transaction> {
        let connection = self.connection.begin_with_options(self.dialect.begin()).await?;
        Ok(Transaction::on(connection, self.dialect))
    }

    /// Begins a transaction that reads one snapshot.
    pub(crate) async fn begin_snapshot(&self) -> DbResult<Transaction> {
        let connection = self.connection.begin_with_options(self.dialect.snapshot()).await?;
        Ok(Transaction::on(connection, self.dialect))
    }
}

impl Transaction {
    fn on(connection: DatabaseTransaction, dialect: Dialect) -> Self {
        let statements = AtomicU32::new(1);
        let lock_time = OnceLock::new();
        Self { connection, dialect, statements, lock_time }
    }

    /// Commits. An error means that nothing was committed.
    pub(crate) async fn commit(self) -> DbResult<Commit> {
        match self.connection.commit().await {
            Ok(()) => Ok(Commit::Done),
            Err(error) if refused_commit(&error) => Err(error),
            Err(error) => {
                log::warn!("the answer to a COMMIT was lost: {error}");
                Ok(Commit::Uncertain)
            }
        }
    }

    pub(crate) async fn rollback(self) -> DbResult<()> {
        self.connection.rollback().await
    }

    /// Records how long the statements that lock rows took. Only the first call counts.
    pub(crate) fn set_lock_time(&self, time: Duration) {
        let _ = self.lock_time.set(time);
    }

    /// How long the statements that lock rows took; `None` before they have ended.
    pub(crate) fn lock_time(&self) -> Option<Duration> {
        self.lock_time.get().copied()
    }

    /// Statements sent so far, BEGIN included.
    pub(crate) fn statements(&self) -> u32 {
        self.statements.load(Ordering::Relaxed)
    }
}

impl<C: ConnectionTrait> Session<C> {
    /// Sends a statement and returns its rows.
    pub(crate) async fn query(&self, statement: Statement) -> DbResult<Vec<QueryResult>> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        self.connection.query_all_raw(statement).await
    }

    /// Sends a statement and returns its rows as values or tuples, column by column.
    pub(crate) async fn fetch<T: TryGetableMany>(
        &self,
        sql: impl Into<String>,
        values: Vec<Value>,
    ) -> DbResult<Vec<T>> {
        self.fetch_statement(self.dialect.statement(sql, values)).await
    }

    /// Sends a statement and returns its rows as tuples, column by column.
    pub(crate) async fn fetch_statement<T: TryGetableMany>(
        &self,
        statement: Statement,
    ) -> DbResult<Vec<T>> {
        let rows = self.query(statement).await?;
        rows.iter().map(QueryResult::try_get_many_by_index).collect()
    }

    /// The first row of a statement, if it has one.
    pub(crate) async fn fetch_one<T: TryGetableMany>(
        &self,
        sql: impl Into<String>,
        values: Vec<Value>,
    ) -> DbResult<Option<T>> {
        Ok(self.fetch(sql, values).await?.into_iter().next())
    }

    /// Joins a set of rows and returns the rows found as values or tuples.
    pub(crate) async fn fetch_set<T: TryGetableMany, R>(
        &self,
        set: RowSet<R>,
        values: Vec<Value>,
        before: &str,
        after: &str,
    ) -> DbResult<Vec<T>> {
        self.fetch_statement(set.statement(self.dialect, values, before, after)).await
    }

    /// Whole rows of one table.
    pub(crate) async fn models<M: FromQueryResult>(
        &self,
        sql: impl Into<String>,
        values: Vec<Value>,
    ) -> DbResult<Vec<M>> {
        let rows = self.query(self.dialect.statement(sql, values)).await?;
        rows.iter().map(|row| M::from_query_result(row, "")).collect()
    }

    /// Joins a set of rows with one table `t` and returns the whole rows found.
    pub(crate) async fn models_of_set<M: FromQueryResult, R>(
        &self,
        set: RowSet<R>,
        values: Vec<Value>,
        after: &str,
    ) -> DbResult<Vec<M>> {
        let rows =
            self.query(set.statement(self.dialect, values, "SELECT t.* FROM", after)).await?;
        rows.iter().map(|row| M::from_query_result(row, "")).collect()
    }

    /// Sends a statement that writes and returns the number of rows written.
    pub(crate) async fn execute(
        &self,
        sql: impl Into<String>,
        values: Vec<Value>,
    ) -> DbResult<u64> {
        self.execute_statement(self.dialect.statement(sql, values)).await
    }

    /// Writes a set of rows and returns the number of rows written.
    pub(crate) async fn write<R>(
        &self,
        set: RowSet<R>,
        values: Vec<Value>,
        before: &str,
        after: &str,
    ) -> DbResult<u64> {
        self.execute_statement(set.statement(self.dialect, values, before, after)).await
    }

    async fn execute_statement(&self, statement: Statement) -> DbResult<u64> {
        self.statements.fetch_add(1, Ordering::Relaxed);
        Ok(self.connection.execute_raw(statement).await?.rows_affected())
    }
}

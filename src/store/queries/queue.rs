//! The queue in the database: messages, numbered in the order of COMMIT, and the leases of their consumers.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbErr, QueryResult, TransactionTrait as _,
};
use uuid::Uuid;

use crate::domain::execution_error::StoreError;

use crate::store::Store;
use crate::store::connection::dialect::{Column, RowSet};
use crate::store::connection::rows;
use crate::store::connection::transaction::{Commit, Session, commit};

/// A message in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its partition.
    pub partition: u16,
    /// Its id.
    pub id: String,
    /// Its content.
    pub body: Vec<u8>,
}

/// The result of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// Messages with their numbers, ascending.
    Messages(Vec<(i64, StoredMessage)>),
    /// Another consumer has the lease.
    Leased,
}

/// The database form of a partition. The configuration bounds the number.
#[expect(clippy::expect_used, reason = "another number would be another partition")]
pub(crate) fn part(partition: u16) -> i16 {
    i16::try_from(partition).expect("the configuration bounds the number of partitions")
}

pub(crate) fn ms(life: Duration) -> i64 {
    i64::try_from(life.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn message(partition: i16, id: String, body: &str) -> Result<StoredMessage, DbErr> {
    let body = STANDARD.decode(body).map_err(|_| rows::corrupt("body"))?;
    let partition = u16::try_from(partition).map_err(|_| rows::corrupt("part"))?;
    Ok(StoredMessage { partition, id, body })
}

/// Appends messages within a transaction. Returns false, and writes nothing, if more than `max` would wait.
pub(crate) async fn append(
    session: &Session<'_>,
    messages: &[StoredMessage],
    max: u64,
) -> Result<bool, DbErr> {
    let count = i64::try_from(messages.len()).unwrap_or(i64::MAX);
    let sql = "UPDATE queue_counter SET last = last + $1, waiting = waiting + $1
         WHERE id = 1 AND waiting + $1 <= $2 RETURNING last";
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let statement = session.dialect.statement(sql, vec![count.into(), max.into()]);
    let Some(row) = session.query(statement).await?.into_iter().next() else {
        return Ok(false);
    };
    let last: i64 = row.try_get_by_index(0)?;
    let text = |f: fn(&StoredMessage) -> String| Column::Text(messages.iter().map(f).collect());
    let rows = RowSet::new()
        .with("part", Column::Small(messages.iter().map(|m| part(m.partition)).collect()))
        .with("number", Column::BigInt((last - count + 1..=last).collect()))
        .with("id", text(|message| message.id.clone()))
        .with("body", text(|message| STANDARD.encode(&message.body)));
    let before = "INSERT INTO queue_message (part, number, id, body)
         SELECT r.part, r.number, r.id, r.body FROM";
    session.write(&rows, Vec::new(), before, "WHERE true").await?;
    Ok(true)
}

impl Store {
    /// Appends all messages or none. Returns false if more than `max` would wait. After an error other than
    /// [`StoreError::Timeout`] none was appended.
    pub async fn queue_append(
        self: &Arc<Self>,
        messages: Vec<StoredMessage>,
        max: u64,
        limit: Duration,
    ) -> Result<bool, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.begin()).await?;
            let session = Session::new(&transaction, dialect);
            if !append(&session, &messages, max).await? {
                transaction.rollback().await?;
                return Ok(false);
            }
            match commit(transaction).await? {
                Commit::Done => Ok(true),
                Commit::Uncertain => Err(StoreError::Timeout),
            }
        };
        self.bounded(&self.write, limit, work).await
    }

    /// The highest number that a message has had.
    pub async fn queue_last(self: &Arc<Self>) -> Result<i64, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let statement =
                dialect.statement("SELECT last FROM queue_counter WHERE id = 1", vec![]);
            let row = db.query_one_raw(statement).await?;
            row.ok_or_else(|| rows::corrupt("queue_counter"))?.try_get_by_index::<i64>(0)
        };
        self.on_primary(work).await
    }

    /// Takes or renews the lease of a partition for `owner` and `life`, and reads at most `limit` messages with numbers
    /// above `after`.
    pub async fn queue_fetch(
        self: &Arc<Self>,
        (partition, owner): (u16, Uuid),
        life: Duration,
        after: i64,
        limit: usize,
    ) -> Result<Fetched, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let now = dialect.now();
            let sql = format!(
                "INSERT INTO queue_consumer (part, owner, until) VALUES ($1, $2, {now} + $3)
                 ON CONFLICT (part) DO UPDATE SET owner = excluded.owner, until = excluded.until
                 WHERE queue_consumer.owner = excluded.owner OR queue_consumer.until <= {now}"
            );
            let values = vec![part(partition).into(), owner.into(), ms(life).into()];
            if db.execute_raw(dialect.statement(sql, values)).await?.rows_affected() == 0 {
                return Ok(Fetched::Leased);
            }
            let sql = "SELECT number, id, body FROM queue_message
                 WHERE part = $1 AND number > $2 ORDER BY number LIMIT $3";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let values = vec![part(partition).into(), after.into(), limit.into()];
            let rows = db.query_all_raw(dialect.statement(sql, values)).await?;
            let one = |row: &QueryResult| {
                let (number, id, body) = row.try_get_many_by_index::<(i64, String, String)>()?;
                Ok((number, message(part(partition), id, &body)?))
            };
            rows.iter().map(one).collect::<Result<_, DbErr>>().map(Fetched::Messages)
        };
        self.on_primary(work).await
    }

    /// Ends the lease of `owner`.
    pub async fn queue_release_lease(
        self: &Arc<Self>,
        partition: u16,
        owner: Uuid,
    ) -> Result<(), StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let sql = "DELETE FROM queue_consumer WHERE part = $1 AND owner = $2";
            let values = vec![part(partition).into(), owner.into()];
            db.execute_raw(dialect.statement(sql, values)).await.map(drop)
        };
        self.on_primary(work).await
    }

    /// Deletes the messages of a partition up to the number `until`.
    pub async fn queue_settle(
        self: &Arc<Self>,
        partition: u16,
        until: i64,
    ) -> Result<(), StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.begin()).await?;
            let session = Session::new(&transaction, dialect);
            let sql = "DELETE FROM queue_message WHERE part = $1 AND number <= $2";
            let values = vec![part(partition).into(), until.into()];
            let deleted = session.execute(dialect.statement(sql, values)).await?;
            let sql = "UPDATE queue_counter SET waiting = waiting - $1 WHERE id = 1";
            let deleted = i64::try_from(deleted).unwrap_or(0);
            session.execute(dialect.statement(sql, vec![deleted.into()])).await?;
            transaction.commit().await
        };
        self.on_primary(work).await
    }
}

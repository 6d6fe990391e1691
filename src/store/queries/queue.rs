//! The admission queue in the database: messages numbered in the order of COMMIT, and the consumers of partitions.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::DbErr;
use uuid::Uuid;

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::Store;
use crate::store::connection::{Commit, Db, DbResult, RowSet, Transaction, rows};

/// A message in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its partition.
    pub partition: u16,
    /// The id that it was published with.
    pub id: String,
    /// The published body.
    pub body: Vec<u8>,
}

/// The result of a fetch from a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The consumer has the lease: messages with their numbers, ascending.
    Messages(Vec<(i64, StoredMessage)>),
    /// Another consumer has the lease.
    Leased,
}

/// The column value of a partition. The configuration bounds the number.
#[expect(clippy::expect_used, reason = "another number would be another partition")]
pub(crate) fn partition_column(partition: u16) -> i16 {
    i16::try_from(partition).expect("the configuration bounds the number of partitions")
}

pub(crate) fn ms(life: Duration) -> i64 {
    i64::try_from(life.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) fn message(partition: i16, id: String, body: &str) -> DbResult<StoredMessage> {
    let body = STANDARD.decode(body).map_err(|_| rows::corrupt("body"))?;
    let partition = u16::try_from(partition).map_err(|_| rows::corrupt("partition"))?;
    Ok(StoredMessage { partition, id, body })
}

/// Appends messages within a transaction. Returns false, and writes nothing, if more than `max` would wait.
pub(crate) async fn append(
    session: &Transaction,
    messages: &[StoredMessage],
    max: u64,
) -> DbResult<bool> {
    let count = i64::try_from(messages.len()).unwrap_or(i64::MAX);
    let sql = "UPDATE queue_counter SET last = last + $1, waiting = waiting + $1
         WHERE id = 1 AND waiting + $1 <= $2 RETURNING last";
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let last = session.fetch_one::<i64>(sql, vec![count.into(), max.into()]).await?;
    let Some(last) = last else { return Ok(false) };
    let rows = RowSet::of((last - count + 1..=last).zip(messages))
        .with("part", |(_, message)| partition_column(message.partition))
        .with("number", |(number, _)| *number)
        .with("id", |(_, message)| message.id.clone())
        .with("body", |(_, message)| STANDARD.encode(&message.body));
    let before = "INSERT INTO queue_message (part, number, id, body)
         SELECT r.part, r.number, r.id, r.body FROM";
    session.write(rows, Vec::new(), before, "WHERE true").await?;
    Ok(true)
}

impl Store {
    /// Appends all messages or none. Returns false if more than `max` would wait. After an error other than
    /// [`StoreError::Timeout`] none was appended.
    pub async fn queue_append(
        &self,
        messages: Vec<StoredMessage>,
        max: u64,
        limit: Duration,
    ) -> StoreResult<bool> {
        let work = move |db: Db| async move {
            let session = db.begin().await?;
            if !append(&session, &messages, max).await? {
                session.rollback().await?;
                return Ok(false);
            }
            match session.commit().await? {
                Commit::Done => Ok(true),
                Commit::Uncertain => Err(StoreError::Timeout),
            }
        };
        self.bounded(&self.write, limit, work).await
    }

    /// The number of the newest message that was ever appended.
    pub async fn queue_last(&self) -> StoreResult<i64> {
        self.on_primary(move |db| async move {
            let last = db.fetch_one("SELECT last FROM queue_counter WHERE id = 1", vec![]).await?;
            last.ok_or_else(|| rows::corrupt("queue_counter"))
        })
        .await
    }

    /// Leases a partition to `owner` for `life` from now, if no other consumer has the lease. Then reads at most
    /// `limit` messages after the number `after`.
    pub async fn queue_fetch(
        &self,
        (partition, owner): (u16, Uuid),
        life: Duration,
        after: i64,
        limit: usize,
    ) -> StoreResult<Fetched> {
        self.on_primary(move |db| async move {
            let sql = format!(
                "INSERT INTO queue_consumer (part, owner, until) VALUES ($1, $2, {now} + $3)
                 ON CONFLICT (part) DO UPDATE SET owner = excluded.owner, until = excluded.until
                 WHERE queue_consumer.owner = excluded.owner OR queue_consumer.until <= {now}",
                now = db.dialect.now()
            );
            let values = vec![partition_column(partition).into(), owner.into(), ms(life).into()];
            if db.execute(sql, values).await? == 0 {
                return Ok(Fetched::Leased);
            }
            let sql = "SELECT number, id, body FROM queue_message
                 WHERE part = $1 AND number > $2 ORDER BY number LIMIT $3";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let values = vec![partition_column(partition).into(), after.into(), limit.into()];
            let found = db.fetch::<(i64, String, String)>(sql, values).await?.into_iter();
            let messages = found.map(|(number, id, body)| {
                Ok((number, message(partition_column(partition), id, &body)?))
            });
            Ok::<_, DbErr>(Fetched::Messages(messages.collect::<DbResult<_>>()?))
        })
        .await
    }

    /// Ends `owner`'s lease of a partition.
    pub async fn queue_release_lease(&self, partition: u16, owner: Uuid) -> StoreResult<()> {
        self.on_primary(move |db| async move {
            let sql = "DELETE FROM queue_consumer WHERE part = $1 AND owner = $2";
            db.execute(sql, vec![partition_column(partition).into(), owner.into()]).await.map(drop)
        })
        .await
    }

    /// Deletes the messages of a partition up to a number.
    pub async fn queue_settle(&self, partition: u16, until: i64) -> StoreResult<()> {
        self.on_primary(move |db| async move {
            let session = db.begin().await?;
            let sql = "DELETE FROM queue_message WHERE part = $1 AND number <= $2";
            let deleted = session
                .execute(sql, vec![partition_column(partition).into(), until.into()])
                .await?;
            let sql = "UPDATE queue_counter SET waiting = waiting - $1 WHERE id = 1";
            session.execute(sql, vec![i64::try_from(deleted).unwrap_or(0).into()]).await?;
            session.connection.commit().await
        })
        .await
    }
}

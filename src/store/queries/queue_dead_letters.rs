//! The dead letters of the queue in the database.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbErr, QueryResult, TransactionTrait as _,
};

use crate::domain::execution_error::StoreError;

use crate::store::Store;
use crate::store::connection::dialect::{Column, RowSet};
use crate::store::connection::transaction::{Commit, Session, commit};
use crate::store::queries::queue::{StoredMessage, append, message, part};

/// A dead letter in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The message.
    pub message: StoredMessage,
    /// Why it could not be executed.
    pub reason: String,
    /// When it became one, in epoch milliseconds of the database's clock.
    pub dead_lettered_at: i64,
}

/// The result of removing dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLettersRemoved {
    /// The ids of those that existed and were removed.
    Removed(Vec<String>),
    /// The queue has no room for them; none was removed.
    Full,
}

/// Replaces NUL characters, which foreign messages may contain and PostgreSQL cannot store.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Store {
    /// Stores a message as a dead letter; replaces one with the same id.
    pub async fn queue_add_dead_letter(
        self: &Arc<Self>,
        message: StoredMessage,
        reason: String,
    ) -> Result<(), StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let sql = format!(
                "INSERT INTO queue_letter (id, part, body, reason, parked_at)
                 VALUES ($1, $2, $3, $4, {}) ON CONFLICT (id) DO UPDATE SET part = excluded.part,
                 body = excluded.body, reason = excluded.reason, parked_at = excluded.parked_at",
                dialect.now()
            );
            let body = STANDARD.encode(&message.body);
            let (id, reason) = (storable(&message.id), storable(&reason));
            let values =
                vec![id.into(), part(message.partition).into(), body.into(), reason.into()];
            db.execute_raw(dialect.statement(sql, values)).await.map(drop)
        };
        self.on_primary(work).await
    }

    /// The dead letters, oldest first, at most `limit`, after the time and id of `after`.
    pub async fn queue_dead_letters(
        self: &Arc<Self>,
        after: Option<(i64, String)>,
        limit: usize,
    ) -> Result<Vec<StoredDeadLetter>, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let sql = "SELECT part, id, body, reason, parked_at FROM queue_letter
                 WHERE (parked_at, id) > ($2, $3) ORDER BY parked_at, id LIMIT $1";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let (time, id) = after.unwrap_or((i64::MIN, String::new()));
            let values = vec![limit.into(), time.into(), id.into()];
            let rows = db.query_all_raw(dialect.statement(sql, values)).await?;
            let one = |row: &QueryResult| {
                type Columns = (i16, String, String, String, i64);
                let (part, id, body, reason, dead_lettered_at) =
                    row.try_get_many_by_index::<Columns>()?;
                let message = message(part, id, &body)?;
                Ok(StoredDeadLetter { message, reason, dead_lettered_at })
            };
            rows.iter().map(one).collect::<Result<_, DbErr>>()
        };
        self.on_primary(work).await
    }

    /// Deletes the dead letters with these ids in one transaction. With `append_within` it also appends them to their
    /// partitions, unless more messages than that would wait.
    pub async fn queue_remove_dead_letters(
        self: &Arc<Self>,
        ids: Vec<String>,
        append_within: Option<u64>,
    ) -> Result<DeadLettersRemoved, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.begin()).await?;
            let session = Session::new(&transaction, dialect);
            let ids = RowSet::new().with("id", Column::Text(ids));
            let before = "DELETE FROM queue_letter WHERE id IN (SELECT r.id FROM";
            let after = ") RETURNING part, id, body, parked_at";
            let statement = ids.statement(dialect, Vec::new(), before, after);
            let mut removed = Vec::new();
            for row in session.query(statement).await? {
                let (part, id, body, at) =
                    row.try_get_many_by_index::<(i16, String, String, i64)>()?;
                removed.push((at, message(part, id, &body)?));
            }
            removed.sort_by_cached_key(|(at, message)| (*at, message.id.clone()));
            let messages: Vec<StoredMessage> =
                removed.into_iter().map(|(_, message)| message).collect();
            if let (Some(max), false) = (append_within, messages.is_empty())
                && !append(&session, &messages, max).await?
            {
                transaction.rollback().await?;
                return Ok(DeadLettersRemoved::Full);
            }
            match commit(transaction).await? {
                Commit::Done => {
                    let ids = messages.into_iter().map(|message| message.id).collect();
                    Ok(DeadLettersRemoved::Removed(ids))
                }
                Commit::Uncertain => Err(StoreError::Timeout),
            }
        };
        self.on_primary(work).await
    }
}

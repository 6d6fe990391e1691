//! The dead letters of the queue in front, where the database keeps it.

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

/// A message that could not be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLetter {
    /// The message.
    pub message: StoredMessage,
    /// Why.
    pub reason: String,
    /// Epoch milliseconds, on the database's clock.
    pub parked_at: i64,
}

/// What became of dead letters that were to be taken away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LettersTaken {
    /// The ids of those that were there; they are gone.
    Gone(Vec<String>),
    /// The queue has no room for them; all are still there.
    Full,
}

/// PostgreSQL has no text with a NUL character, which a message of somebody else may contain.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Store {
    /// Keeps a message as a dead letter. One that is there already under the same id is replaced.
    pub async fn queue_park(
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

    /// The dead letters, oldest first, at most `limit`: those behind the time and id of `after`, if given.
    pub async fn queue_letters(
        self: &Arc<Self>,
        after: Option<(i64, String)>,
        limit: usize,
    ) -> Result<Vec<StoredLetter>, StoreError> {
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
                let (part, id, body, reason, parked_at) = row.try_get_many_by_index::<Columns>()?;
                Ok(StoredLetter { message: message(part, id, &body)?, reason, parked_at })
            };
            rows.iter().map(one).collect::<Result<_, DbErr>>()
        };
        self.on_primary(work).await
    }

    /// Deletes the dead letters of these ids, with one transaction. With `back_within` they are appended to
    /// their partitions in it, unless more messages than that would wait then.
    pub async fn queue_take_letters(
        self: &Arc<Self>,
        ids: Vec<String>,
        back_within: Option<u64>,
    ) -> Result<LettersTaken, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.begin()).await?;
            let session = Session::new(&transaction, dialect);
            let wanted = RowSet::new().with("id", Column::Text(ids));
            let before = "DELETE FROM queue_letter WHERE id IN (SELECT r.id FROM";
            let after = ") RETURNING part, id, body, parked_at";
            let statement = wanted.statement(dialect, Vec::new(), before, after);
            let mut gone = Vec::new();
            for row in session.query(statement).await? {
                let (part, id, body, at) =
                    row.try_get_many_by_index::<(i16, String, String, i64)>()?;
                gone.push((at, message(part, id, &body)?));
            }
            gone.sort_by(|(one, of_one), (next, of_next)| {
                (one, &of_one.id).cmp(&(next, &of_next.id))
            });
            let messages: Vec<StoredMessage> =
                gone.into_iter().map(|(_, message)| message).collect();
            if let (Some(max), false) = (back_within, messages.is_empty())
                && !append(&session, &messages, max).await?
            {
                transaction.rollback().await?;
                return Ok(LettersTaken::Full);
            }
            match commit(transaction).await? {
                Commit::Done => {
                    Ok(LettersTaken::Gone(messages.into_iter().map(|message| message.id).collect()))
                }
                Commit::Uncertain => Err(StoreError::Timeout),
            }
        };
        self.on_primary(work).await
    }
}

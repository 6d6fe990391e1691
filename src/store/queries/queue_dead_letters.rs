//! The dead letters of the admission queue in the database.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::Store;
use crate::store::connection::{Commit, DbResult, RowSet};
use crate::store::queries::queue::{StoredMessage, append, message, partition_column};

/// A dead letter in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredDeadLetter {
    /// The message.
    pub message: StoredMessage,
    /// Why the message could not be executed.
    pub reason: String,
    /// When the message became a dead letter, in epoch milliseconds of the database's clock.
    pub dead_lettered_at: i64,
}

/// The result of removing dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLettersRemoved {
    /// The ids of the dead letters that existed; they are deleted.
    Removed(Vec<String>),
    /// The queue has no room for their messages; none was removed.
    Full,
}

/// The text without NUL characters. PostgreSQL cannot store them, and a message of another program may contain them.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

impl Store {
    /// Stores a message as a dead letter. A dead letter with the same id is replaced.
    pub async fn queue_add_dead_letter(
        &self,
        message: StoredMessage,
        reason: String,
    ) -> StoreResult<()> {
        self.on_primary(move |db| async move {
            let sql = format!(
                "INSERT INTO queue_letter (id, part, body, reason, parked_at)
                 VALUES ($1, $2, $3, $4, {}) ON CONFLICT (id) DO UPDATE SET part = excluded.part,
                 body = excluded.body, reason = excluded.reason, parked_at = excluded.parked_at",
                db.dialect.now()
            );
            let body = STANDARD.encode(&message.body);
            let id = storable(&message.id);
            let reason = storable(&reason);
            let values = vec![
                id.into(),
                partition_column(message.partition).into(),
                body.into(),
                reason.into(),
            ];
            db.execute(sql, values).await.map(drop)
        })
        .await
    }

    /// At most `limit` dead letters, oldest first; with `after`, those after its time and id.
    pub async fn queue_dead_letters(
        &self,
        after: Option<(i64, String)>,
        limit: usize,
    ) -> StoreResult<Vec<StoredDeadLetter>> {
        self.on_primary(move |db| async move {
            let sql = "SELECT part, id, body, reason, parked_at FROM queue_letter
                 WHERE (parked_at, id || '') > ($2, $3) ORDER BY parked_at, id || '' LIMIT $1";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let (time, id) = after.unwrap_or((i64::MIN, String::new()));
            let values = vec![limit.into(), time.into(), id.into()];
            let found = db.fetch::<(i16, String, String, String, i64)>(sql, values).await?;
            let letter =
                |(part, id, body, reason, dead_lettered_at): (i16, String, String, String, i64)| {
                    Ok(StoredDeadLetter {
                        message: message(part, id, &body)?,
                        reason,
                        dead_lettered_at,
                    })
                };
            found.into_iter().map(letter).collect::<DbResult<_>>()
        })
        .await
    }

    /// Deletes the dead letters with these ids in one transaction. With `append_within` the same transaction appends
    /// their messages to their partitions, unless more than that number of messages would then wait.
    pub async fn queue_remove_dead_letters(
        &self,
        ids: Vec<String>,
        append_within: Option<u64>,
    ) -> StoreResult<DeadLettersRemoved> {
        self.on_primary(move |db| async move {
            let session = db.begin().await?;
            let set = RowSet::of(ids).with("id", String::clone);
            let mut values = Vec::new();
            let select = format!("SELECT r.id FROM {}", set.source(session.dialect, &mut values));
            let sql = format!(
                "DELETE FROM queue_letter WHERE {} RETURNING part, id, body, parked_at",
                session.dialect.one_of("id", &select)
            );
            let mut removed = session.fetch::<(i16, String, String, i64)>(sql, values).await?;
            removed.sort_by(|(_, id, _, at), (_, next_id, _, next_at)| {
                (at, id).cmp(&(next_at, next_id))
            });
            let messages = removed.into_iter().map(|(part, id, body, _)| message(part, id, &body));
            let messages: Vec<StoredMessage> = messages.collect::<DbResult<_>>()?;
            if let (Some(max), false) = (append_within, messages.is_empty())
                && !append(&session, &messages, max).await?
            {
                session.rollback().await?;
                return Ok(DeadLettersRemoved::Full);
            }
            match session.commit().await? {
                Commit::Done => {
                    let ids = messages.into_iter().map(|message| message.id).collect();
                    Ok(DeadLettersRemoved::Removed(ids))
                }
                Commit::Uncertain => Err(StoreError::Timeout),
            }
        })
        .await
    }
}

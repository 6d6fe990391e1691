//! Recorded answers under their Idempotency-Keys, and work outside the booking engine that is done once per key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use entity::idempotency;
use futures_util::future::BoxFuture;
use sea_orm::DbErr;

use crate::domain::clock::EpochMs;
use crate::domain::command::{Keyed, RequestKey};
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::rejection::Rejection;
use crate::domain::rows::KnownAnswer;
use crate::store::connection::{
    Commit, Db, DbResult, Dialect, ErrorClass, RowSet, Transaction, errors, rows,
};
use crate::store::{ReadFrom, Store};

/// An answer to record under a key.
pub(crate) struct NewRecord {
    pub(crate) keyed: Keyed,
    pub(crate) answer: RecordedAnswer,
    pub(crate) expires_at: EpochMs,
}

/// Joins the rows of keys with the answers under them.
fn join(dialect: Dialect) -> String {
    dialect.join_by_key("idempotency", "t", &["caller", "key"])
}

fn key_rows<'a>(keys: impl IntoIterator<Item = &'a RequestKey>) -> RowSet<&'a RequestKey> {
    RowSet::of(keys).with("caller", |key| key.caller.clone()).with("key", |key| key.key.clone())
}

/// The unexpired answers under the keys, with their fingerprints.
pub(crate) async fn find<'a>(
    session: &Transaction,
    now: EpochMs,
    keys: impl IntoIterator<Item = &'a RequestKey>,
) -> DbResult<HashMap<RequestKey, (String, KnownAnswer)>> {
    let set = key_rows(keys);
    if set.len() == 0 {
        return Ok(HashMap::new());
    }
    let found = session
        .models_of_set::<idempotency::Model, _>(set, Vec::new(), &join(session.dialect))
        .await?;
    let live = found.into_iter().filter(|row| row.expires_at > now.0);
    live.map(|row| {
        let fingerprint = row.fingerprint.clone();
        let (key, answer) = rows::answer(row)?;
        Ok((key, (fingerprint, KnownAnswer::Recorded(answer))))
    })
    .collect()
}

/// The statement that records answers, before and after its rows. `$1` is the time now. A key that has an unexpired
/// answer, which another transaction has just recorded, is not written.
pub(crate) const RECORD: (&str, &str) = (
    "INSERT INTO idempotency (caller, key, fingerprint, status, body, expires_at,
         kind, resource_id, described_until)
     SELECT r.caller, r.key, r.fingerprint, r.status, r.body, r.expires_at,
         nullif(r.kind, 0), nullif(r.resource_id, ''), r.expires_at FROM",
    "WHERE true ON CONFLICT (caller, key) DO UPDATE SET
         fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
         expires_at = excluded.expires_at, kind = excluded.kind,
         resource_id = excluded.resource_id, described_until = excluded.described_until
         WHERE idempotency.expires_at <= $1",
);

/// Answers as rows to record, in the order of their keys.
pub(crate) fn record_rows(records: &[NewRecord]) -> RowSet<()> {
    let described =
        records.iter().map(|new| (new, rows::resource_columns(new.answer.resource.as_ref())));
    RowSet::of(described)
        .with("caller", |(new, _)| new.keyed.request.caller.clone())
        .with("key", |(new, _)| new.keyed.request.key.clone())
        .with("fingerprint", |(new, _)| new.keyed.fingerprint.clone())
        .with("status", |(new, _)| rows::status_column(new.answer.status))
        .with("body", |(new, _)| new.answer.body.clone())
        .with("expires_at", |(new, _)| new.expires_at.0)
        .with("kind", |(_, (kind, _))| *kind)
        .with("resource_id", |(_, (_, id))| id.clone())
        .without_source()
}

/// Records answers; false if one of the keys has an unexpired answer.
pub(crate) async fn insert(
    session: &Transaction,
    now: EpochMs,
    records: &[NewRecord],
) -> DbResult<bool> {
    let (before, after) = RECORD;
    let written = session.write(record_rows(records), vec![now.0.into()], before, after).await?;
    Ok(written == records.len() as u64)
}

/// The database's clock.
pub(crate) async fn now(session: &Transaction) -> DbResult<EpochMs> {
    let now = session.fetch_one(format!("SELECT {}", session.dialect.now()), Vec::new()).await?;
    now.map(EpochMs).ok_or_else(|| rows::corrupt("clock"))
}

/// The most attempts of work outside the booking engine, while other transactions write the same rows.
const ONCE_ATTEMPTS: u32 = 10;

/// The result of one attempt of work that is done once per key.
enum OnceAttempt<T> {
    Done(Once<T>),
    /// Another transaction has just recorded the key.
    Retry,
    /// COMMIT was sent, and its answer was lost.
    Uncertain,
}

/// Work in a transaction, given the database's clock.
pub(crate) trait OnceWork<T>:
    for<'t> Fn(&'t Transaction, EpochMs) -> BoxFuture<'t, DbResult<Result<T, Rejection>>>
    + Send
    + Sync
    + 'static
{
}

impl<T, W> OnceWork<T> for W where
    W: for<'t> Fn(&'t Transaction, EpochMs) -> BoxFuture<'t, DbResult<Result<T, Rejection>>>
        + Send
        + Sync
        + 'static
{
}

impl Store {
    /// The unexpired answers under these keys, read from the replica if there is one.
    pub async fn recorded_answers(
        &self,
        keys: &[RequestKey],
    ) -> StoreResult<HashMap<RequestKey, RecordedAnswer>> {
        let after = format!("{} WHERE t.expires_at > {}", join(self.dialect), self.dialect.now());
        let keys: Arc<[RequestKey]> = keys.into();
        self.read_from(ReadFrom::Anywhere, move |db| {
            let keys = Arc::clone(&keys);
            let after = after.clone();
            async move {
                let set = key_rows(&*keys);
                let found = db.models_of_set(set, Vec::new(), &after).await?;
                found.into_iter().map(rows::answer).collect()
            }
        })
        .await
    }

    /// Records an answer under a key that has none. An existing answer is not changed.
    pub async fn record_answer(
        &self,
        request: RequestKey,
        answer: RecordedAnswer,
    ) -> StoreResult<()> {
        let ttl = self.settings.policy.idempotency_ttl;
        self.on_primary(move |db| async move {
            let session = db.begin().await?;
            let now = now(&session).await?;
            insert(&session, now, &[record(request, answer, now.plus(ttl))]).await?;
            session.connection.commit().await
        })
        .await
    }

    /// Records each answer under its key, if the key has none and the time given with the answer has come on the
    /// database's clock. Returns the answers that the keys have afterwards.
    ///
    /// This waits for every transaction that is recording one of the keys, and later transactions find the record. So
    /// the returned answers are final.
    pub async fn record_overdue(
        &self,
        answers: BTreeMap<RequestKey, (RecordedAnswer, EpochMs)>,
    ) -> StoreResult<HashMap<RequestKey, RecordedAnswer>> {
        let ttl = self.settings.policy.idempotency_ttl;
        self.on_primary(move |db| async move {
            let session = db.begin().await?;
            let now = now(&session).await?;
            let keys: Vec<RequestKey> = answers.keys().cloned().collect();
            let due = answers.into_iter().filter(|(_, (_, from))| *from <= now);
            let records = due.map(|(request, (answer, _))| record(request, answer, now.plus(ttl)));
            insert(&session, now, &records.collect::<Vec<_>>()).await?;
            // A key that was not written has an answer that another transaction has recorded.
            let found = find(&session, now, &keys).await?;
            session.connection.commit().await?;
            let recorded = found.into_iter().filter_map(|(key, (_, answer))| match answer {
                KnownAnswer::Recorded(answer) => Some((key, answer)),
                KnownAnswer::Given(_) | KnownAnswer::Refused(_) => None,
            });
            Ok::<_, DbErr>(recorded.collect())
        })
        .await
    }

    /// Does `work` in one transaction, once per key. Its effect and the answer that `render` makes of its result are
    /// committed together or not at all. A refusal rolls the transaction back and is not recorded.
    pub(crate) async fn once<T: Send + 'static>(
        self: &Arc<Self>,
        keyed: Option<Keyed>,
        limit: Duration,
        render: fn(&T) -> RecordedAnswer,
        work: impl OnceWork<T>,
    ) -> StoreResult<Once<T>> {
        let store = Arc::clone(self);
        let run = move |db: Db| async move {
            // The next attempt sees what another transaction is writing now: the key, or a plan's next version.
            for _ in 0..ONCE_ATTEMPTS {
                match store.try_once(&db, keyed.as_ref(), limit, render, &work).await {
                    Ok(OnceAttempt::Done(once)) => return Ok(once),
                    Ok(OnceAttempt::Retry) => {}
                    // The transaction may be durable: the error must not claim that there was no effect.
                    Ok(OnceAttempt::Uncertain) => return Err(StoreError::Timeout),
                    Err(error) => match errors::classify(&error) {
                        ErrorClass::Retry | ErrorClass::Unique => {
                            log::debug!("a transaction of the admin API is retried: {error}");
                        }
                        _ => return Err(error.into()),
                    },
                }
            }
            Err(StoreError::Unavailable("the key or its rows are too contended".to_owned()))
        };
        self.bounded(&self.write, limit, run).await
    }

    async fn try_once<T>(
        &self,
        db: &Db,
        keyed: Option<&Keyed>,
        limit: Duration,
        render: fn(&T) -> RecordedAnswer,
        work: &impl OnceWork<T>,
    ) -> DbResult<OnceAttempt<T>> {
        let session = db.begin().await?;
        if session.dialect == Dialect::Postgres {
            let sql = format!("SET LOCAL statement_timeout = {}", limit.as_millis());
            session.execute(sql, Vec::new()).await?;
        }
        let now = now(&session).await?;
        if let Some(keyed) = keyed {
            let found = find(&session, now, [&keyed.request]).await?;
            if let Some((fingerprint, KnownAnswer::Recorded(answer))) = found.into_values().next() {
                session.rollback().await?;
                return Ok(OnceAttempt::Done(if fingerprint == keyed.fingerprint {
                    Once::Replayed(answer)
                } else {
                    Once::Refused(Rejection::KeyReused)
                }));
            }
        }
        let done = match work(&session, now).await? {
            Ok(done) => done,
            Err(refusal) => {
                session.rollback().await?;
                return Ok(OnceAttempt::Done(Once::Refused(refusal)));
            }
        };
        if let Some(keyed) = keyed.cloned() {
            let expires_at = now.plus(self.settings.policy.idempotency_ttl);
            let new = NewRecord { keyed, answer: render(&done), expires_at };
            if !insert(&session, now, &[new]).await? {
                session.rollback().await?;
                return Ok(OnceAttempt::Retry);
            }
        }
        Ok(match session.commit().await? {
            Commit::Done => OnceAttempt::Done(Once::Done(done)),
            Commit::Uncertain => OnceAttempt::Uncertain,
        })
    }
}

/// The record of a request that came through the queue, which has no fingerprint.
fn record(request: RequestKey, answer: RecordedAnswer, expires_at: EpochMs) -> NewRecord {
    NewRecord { keyed: Keyed { request, fingerprint: String::new() }, answer, expires_at }
}

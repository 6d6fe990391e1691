//! Recorded answers under their Idempotency-Keys, and work outside the booking engine that is done once per key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use entity::idempotency;
use futures_util::future::BoxFuture;
use sea_orm::DbErr;

use crate::domain::clock::EpochMs;
use crate::domain::command::{Keyed, Queued, RequestKey};
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::{RequestId, ScheduleId};
use crate::domain::rejection::Rejection;
use crate::domain::rows::KnownAnswer;
use crate::store::connection::{
    Commit, Db, DbResult, Dialect, ErrorClass, RowSet, Transaction, errors, rows,
};
use crate::store::{ReadFrom, Store};

/// An answer to record under a key.
pub(crate) struct NewRecord {
    /// The schedule of the request; [`ScheduleId::NONE`] for a request of the catalogue.
    pub(crate) schedule: ScheduleId,
    pub(crate) keyed: Keyed,
    pub(crate) answer: RecordedAnswer,
    pub(crate) expires_at: EpochMs,
}

/// The tables of answers. On Citus those of the catalogue are on the coordinator, as their effects are.
pub(crate) fn tables(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Citus => &["idempotency", "catalogue_idempotency"],
        Dialect::Postgres | Dialect::Sqlite => &["idempotency"],
    }
}

/// The table with the answers of a schedule.
fn table_of(dialect: Dialect, schedule: ScheduleId) -> &'static str {
    match (dialect, schedule) {
        (Dialect::Citus, ScheduleId::NONE) => "catalogue_idempotency",
        _ => "idempotency",
    }
}

/// The columns of a key. On Citus a key belongs to a schedule: another schedule may be on another worker.
fn key_columns(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Citus => &["schedule_id", "caller", "key"],
        Dialect::Postgres | Dialect::Sqlite => &["caller", "key"],
    }
}

/// Keys as rows to join with, and the join with the answers under them.
fn keyed_answers<'a>(
    dialect: Dialect,
    table: &str,
    keys: impl IntoIterator<Item = (ScheduleId, &'a RequestKey)>,
) -> (RowSet<(ScheduleId, &'a RequestKey)>, String) {
    let set = RowSet::of(keys)
        .with("caller", |(_, key)| key.caller.clone())
        .with("key", |(_, key)| key.key.clone());
    let join = dialect.join_by_key(table, "t", key_columns(dialect));
    match dialect {
        Dialect::Citus => (set.with("schedule_id", |(schedule, _)| *schedule), join),
        Dialect::Postgres | Dialect::Sqlite => (set, join),
    }
}

/// The unexpired answers under keys, with their fingerprints. The schedule matters only on Citus.
pub(crate) async fn find<'a>(
    session: &Transaction,
    now: EpochMs,
    schedule: ScheduleId,
    keys: impl IntoIterator<Item = &'a RequestKey>,
) -> DbResult<HashMap<RequestKey, (String, KnownAnswer)>> {
    let keys = keys.into_iter().map(|key| (schedule, key));
    let keys = keyed_answers(session.dialect, table_of(session.dialect, schedule), keys);
    find_in(session, now, keys).await
}

async fn find_in<R>(
    session: &Transaction,
    now: EpochMs,
    (set, join): (RowSet<R>, String),
) -> DbResult<HashMap<RequestKey, (String, KnownAnswer)>> {
    if set.len() == 0 {
        return Ok(HashMap::new());
    }
    let found = session.models_of_set::<idempotency::Model, _>(set, Vec::new(), &join).await?;
    let live = found.into_iter().filter(|row| row.expires_at > now.0);
    live.map(|row| {
        let fingerprint = row.fingerprint.clone();
        let (key, answer) = rows::answer(row)?;
        Ok((key, (fingerprint, KnownAnswer::Recorded(answer))))
    })
    .collect()
}

/// The statement that records answers of this table, before and after its rows, given the SQL for the time now. A key that
/// has an unexpired answer, which another transaction has just recorded, is not written.
fn record_in(dialect: Dialect, table: &str, now: &str) -> (String, String) {
    let key = key_columns(dialect).join(", ");
    let before = format!(
        "INSERT INTO {table} (schedule_id, caller, key, fingerprint, status, body, expires_at,
         kind, resource_id, described_until)
     SELECT r.schedule_id, r.caller, r.key, r.fingerprint, r.status, r.body, r.expires_at,
         nullif(r.kind, 0), nullif(r.resource_id, ''), r.expires_at FROM"
    );
    // Citus does not update the column by which it distributes.
    let is_citus = dialect == Dialect::Citus;
    let schedule = if is_citus { "" } else { "schedule_id = excluded.schedule_id," };
    let after = format!(
        "WHERE true ON CONFLICT ({key}) DO UPDATE SET {schedule}
         fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
         expires_at = excluded.expires_at, kind = excluded.kind,
         resource_id = excluded.resource_id, described_until = excluded.described_until
         WHERE {table}.expires_at <= {now}"
    );
    (before, after)
}

/// The statement that records the answers of a batch, before and after its rows. `$1` is the time now.
pub(crate) fn record(dialect: Dialect) -> (String, String) {
    record_in(dialect, "idempotency", "$1")
}

/// Answers as rows to record, in the order of their keys.
pub(crate) fn record_rows(records: &[NewRecord]) -> RowSet<()> {
    let columns = |new: &NewRecord| rows::resource_columns(new.answer.resource.as_ref());
    RowSet::of(records.iter().map(|new| (new, columns(new))))
        .with("schedule_id", |(new, _)| new.schedule)
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

/// Records answers, all of the catalogue or all of schedules; false if one of the keys has an unexpired answer.
pub(crate) async fn insert(
    session: &Transaction,
    now: EpochMs,
    records: &[NewRecord],
) -> DbResult<bool> {
    let Some(NewRecord { schedule, .. }) = records.first() else { return Ok(true) };
    let table = table_of(session.dialect, *schedule);
    // If the rows are for several workers, Citus does not send them the parameter of the conflict.
    let text = now.0.to_string();
    let is_citus = session.dialect == Dialect::Citus;
    let (sql, values) = if is_citus { (&*text, vec![]) } else { ("$1", vec![now.0.into()]) };
    let (before, after) = record_in(session.dialect, table, sql);
    let written = session.write(record_rows(records), values, &before, &after).await?;
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
    /// The unexpired outcomes of these queued requests, read from the replica if there is one.
    pub async fn recorded_answers(
        &self,
        requests: &[RequestId],
    ) -> StoreResult<HashMap<RequestKey, RecordedAnswer>> {
        let keys: Arc<[(ScheduleId, RequestKey)]> =
            requests.iter().map(|id| (id.schedule, Queued::key(*id))).collect();
        self.read_from(ReadFrom::Anywhere, move |db| {
            let keys = Arc::clone(&keys);
            async move {
                let keys = keys.iter().map(|(schedule, key)| (*schedule, key));
                let (set, join) = keyed_answers(db.dialect, "idempotency", keys);
                let after = format!("{join} WHERE t.expires_at > {}", db.dialect.now());
                let found = db.models_of_set(set, Vec::new(), &after).await?;
                found.into_iter().map(rows::answer).collect()
            }
        })
        .await
    }

    /// Records the outcome of a queued request that has none. An existing outcome is not changed.
    pub async fn record_answer(
        &self,
        request: RequestId,
        answer: RecordedAnswer,
    ) -> StoreResult<()> {
        let ttl = self.settings.policy.idempotency_ttl;
        self.on_primary(move |db| async move {
            let session = db.begin().await?;
            let now = now(&session).await?;
            insert(&session, now, &[of_request(request, answer, now.plus(ttl))]).await?;
            session.connection.commit().await
        })
        .await
    }

    /// Records each outcome of a queued request, if the request has none and the time given with the outcome has come on
    /// the database's clock. Returns the outcomes that the requests have afterwards.
    ///
    /// This waits for every transaction that is recording one of them, and later transactions find the record. So the
    /// returned outcomes are final.
    pub async fn record_overdue(
        &self,
        answers: BTreeMap<RequestId, (RecordedAnswer, EpochMs)>,
    ) -> StoreResult<HashMap<RequestKey, RecordedAnswer>> {
        let ttl = self.settings.policy.idempotency_ttl;
        self.on_primary(move |db| async move {
            let session = db.begin().await?;
            let now = now(&session).await?;
            let keys: Vec<(ScheduleId, RequestKey)> =
                answers.keys().map(|id| (id.schedule, Queued::key(*id))).collect();
            let due = answers.into_iter().filter(|(_, (_, from))| *from <= now);
            let records = due.map(|(id, (answer, _))| of_request(id, answer, now.plus(ttl)));
            insert(&session, now, &records.collect::<Vec<_>>()).await?;
            // A key that was not written has an answer that another transaction has recorded.
            let keys = keys.iter().map(|(schedule, key)| (*schedule, key));
            let keys = keyed_answers(session.dialect, "idempotency", keys);
            let found = find_in(&session, now, keys).await?;
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
        if session.dialect != Dialect::Sqlite {
            let sql = format!("SET LOCAL statement_timeout = {}", limit.as_millis());
            session.execute(sql, Vec::new()).await?;
        }
        let now = now(&session).await?;
        if let Some(keyed) = keyed {
            let found = find(&session, now, ScheduleId::NONE, [&keyed.request]).await?;
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
            let answer = render(&done);
            let new = NewRecord { schedule: ScheduleId::NONE, keyed, answer, expires_at };
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
fn of_request(id: RequestId, answer: RecordedAnswer, expires_at: EpochMs) -> NewRecord {
    let keyed = Keyed { request: Queued::key(id), fingerprint: String::new() };
    NewRecord { schedule: id.schedule, keyed, answer, expires_at }
}

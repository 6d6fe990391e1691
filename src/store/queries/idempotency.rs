//! Answers under their Idempotency-Keys, and work that is done once per key outside the booking engine.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DbErr, QueryResult, TransactionTrait as _,
};

use crate::domain::clock::EpochMs;
use crate::domain::command::{Keyed, RequestKey};
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::StoreError;
use crate::domain::rejection::Rejection;
use crate::domain::rows::KnownAnswer;

use crate::store::connection::dialect::{Column, RowSet};
use crate::store::connection::errors;
use crate::store::connection::errors::ErrorClass;
use crate::store::connection::rows;
use crate::store::connection::transaction::{Commit, Session, commit};
use crate::store::{ReadFrom, Store};

/// A key, the answer under it, and until when it is kept.
pub(crate) type StoredKey = (Keyed, RecordedAnswer, EpochMs);

/// What joins the rows of keys with the answers under them.
const JOIN: &str = "JOIN idempotency t ON t.caller = r.caller AND t.key = r.key";

fn rows_of<'a>(keys: impl Iterator<Item = &'a RequestKey> + Clone) -> RowSet {
    RowSet::new()
        .with("caller", Column::Text(keys.clone().map(|key| key.caller.clone()).collect()))
        .with("key", Column::Text(keys.map(|key| key.key.clone()).collect()))
}

/// The unexpired answers under the keys, with their fingerprints.
pub(crate) async fn find(
    session: &Session<'_>,
    now: EpochMs,
    keys: impl Iterator<Item = &RequestKey> + Clone,
) -> Result<HashMap<RequestKey, (String, KnownAnswer)>, DbErr> {
    if keys.clone().next().is_none() {
        return Ok(HashMap::new());
    }
    let set = rows_of(keys);
    let rows = session.rows::<entity::idempotency::Entity>(&set, "SELECT t.* FROM", JOIN).await?;
    let live = rows.into_iter().filter(|row| row.expires_at > now.0);
    live.map(|row| {
        let status = u16::try_from(row.status).map_err(|_| rows::corrupt("status"))?;
        let answer = KnownAnswer::Recorded(RecordedAnswer { status, body: row.body });
        let key = RequestKey { caller: row.caller, key: row.key };
        Ok((key, (row.fingerprint, answer)))
    })
    .collect()
}

/// Records answers, in the order of their keys; false if one of the keys has an unexpired answer, which
/// another transaction has just recorded.
pub(crate) async fn insert(
    session: &Session<'_>,
    now: EpochMs,
    rows: &[StoredKey],
) -> Result<bool, DbErr> {
    let text = |f: fn(&StoredKey) -> &String| {
        Column::Text(rows.iter().map(|row| f(row).clone()).collect())
    };
    let status = |row: &StoredKey| i16::try_from(row.1.status).unwrap_or(i16::MAX);
    let set = RowSet::new()
        .with("caller", text(|row| &row.0.request.caller))
        .with("key", text(|row| &row.0.request.key))
        .with("fingerprint", text(|row| &row.0.fingerprint))
        .with("status", Column::Small(rows.iter().map(status).collect()))
        .with("body", text(|row| &row.1.body))
        .with("expires_at", Column::BigInt(rows.iter().map(|row| row.2.0).collect()));
    let before = "INSERT INTO idempotency (caller, key, fingerprint, status, body, expires_at)
         SELECT r.caller, r.key, r.fingerprint, r.status, r.body, r.expires_at FROM";
    let after = "WHERE true ON CONFLICT (caller, key) DO UPDATE SET
         fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
         expires_at = excluded.expires_at WHERE idempotency.expires_at <= $1";
    let written = session.write(&set, vec![now.0.into()], before, after).await?;
    Ok(written == rows.len() as u64)
}

/// The database's clock.
pub(crate) async fn now(session: &Session<'_>) -> Result<EpochMs, DbErr> {
    let sql = format!("SELECT {}", session.dialect.now());
    let rows = session.query(session.dialect.statement(sql, Vec::new())).await?;
    let row = rows.first().ok_or_else(|| rows::corrupt("clock"))?;
    Ok(EpochMs(row.try_get_by_index(0)?))
}

/// How often work outside the booking engine is tried while others write the same rows.
const ONCE_TRIES: u32 = 10;

/// How one try ended.
enum Tried<T> {
    Done(Once<T>),
    /// Another transaction has just recorded the key.
    Again,
    /// COMMIT was sent, and its answer did not come.
    Uncertain,
}

fn lost_a_race(error: &DbErr) -> bool {
    matches!(errors::meaning(error), ErrorClass::Again | ErrorClass::Unique)
}

impl Store {
    /// The unexpired answers under these keys, as the database that is read has them.
    pub async fn recorded_answers(
        self: &Arc<Self>,
        keys: &[RequestKey],
    ) -> Result<HashMap<RequestKey, RecordedAnswer>, StoreError> {
        let dialect = self.dialect;
        let after = format!("{JOIN} WHERE t.expires_at > {}", dialect.now());
        let before = "SELECT t.caller, t.key, t.status, t.body FROM";
        let statement = rows_of(keys.iter()).statement(dialect, Vec::new(), before, &after);
        self.read_from(ReadFrom::Anywhere, move |db| {
            let statement = statement.clone();
            async move {
                let one = |row: QueryResult| {
                    let (caller, key, status, body) =
                        row.try_get_many_by_index::<(String, String, i16, String)>()?;
                    let status = u16::try_from(status).map_err(|_| rows::corrupt("status"))?;
                    Ok((RequestKey { caller, key }, RecordedAnswer { status, body }))
                };
                db.query_all_raw(statement).await?.into_iter().map(one).collect()
            }
        })
        .await
    }

    /// Records an answer under a key that has none; one that is there stays.
    pub async fn record_answer(
        self: &Arc<Self>,
        request: RequestKey,
        answer: RecordedAnswer,
    ) -> Result<(), StoreError> {
        let keyed = Keyed { request, fingerprint: String::new() };
        let (dialect, ttl) = (self.dialect, self.settings.policy.idempotency_ttl);
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.begin()).await?;
            let session = Session::new(&transaction, dialect);
            let now = now(&session).await?;
            insert(&session, now, &[(keyed, answer, now.plus(ttl))]).await?;
            transaction.commit().await
        };
        self.on_primary(work).await
    }

    /// Records these answers under the keys that have none, those whose time has come: it stands beside each
    /// answer, and is compared with the database's clock. Gives the answers that are under the keys then.
    ///
    /// A transaction that is recording one of the keys is waited for, and one that comes later finds it: so
    /// what is given here is final.
    pub async fn record_overdue(
        self: &Arc<Self>,
        answers: BTreeMap<RequestKey, (RecordedAnswer, EpochMs)>,
    ) -> Result<HashMap<RequestKey, RecordedAnswer>, StoreError> {
        let (dialect, ttl) = (self.dialect, self.settings.policy.idempotency_ttl);
        let work = move |db: DatabaseConnection| async move {
            let transaction = db.begin_with_options(dialect.begin()).await?;
            let session = Session::new(&transaction, dialect);
            let now = now(&session).await?;
            let keys: Vec<RequestKey> = answers.keys().cloned().collect();
            let due = answers.into_iter().filter(|(_, (_, from))| *from <= now);
            let row = |(request, (answer, _))| {
                (Keyed { request, fingerprint: String::new() }, answer, now.plus(ttl))
            };
            insert(&session, now, &due.map(row).collect::<Vec<StoredKey>>()).await?;
            // What stands in the way was recorded meanwhile.
            let found = find(&session, now, keys.iter()).await?;
            transaction.commit().await?;
            let recorded = found.into_iter().filter_map(|(key, (_, answer))| match answer {
                KnownAnswer::Recorded(answer) => Some((key, answer)),
                KnownAnswer::Given(_) | KnownAnswer::Refused(_) => None,
            });
            Ok::<_, DbErr>(recorded.collect())
        };
        self.on_primary(work).await
    }

    /// Does `work` in one transaction, once per key: its effect and the answer that `render` makes of it
    /// are kept together or not at all. A refusal undoes everything and is not recorded.
    pub(crate) async fn once<T, W>(
        self: &Arc<Self>,
        keyed: Option<Keyed>,
        limit: Duration,
        render: fn(&T) -> RecordedAnswer,
        work: W,
    ) -> Result<Once<T>, StoreError>
    where
        T: Send + 'static,
        W: for<'t> Fn(
                &'t Session<'t>,
                EpochMs,
            ) -> BoxFuture<'t, Result<Result<T, Rejection>, DbErr>>
            + Send
            + Sync
            + 'static,
    {
        let store = Arc::clone(self);
        let run = move |db: DatabaseConnection| async move {
            // What another transaction is writing right now (the key, a plan's next version) is there on
            // the next look.
            for _ in 0..ONCE_TRIES {
                match store.try_once(&db, keyed.as_ref(), limit, render, &work).await {
                    Ok(Tried::Done(once)) => return Ok(once),
                    Ok(Tried::Again) => {}
                    // It may be durable: the answer must not say that there was no effect.
                    Ok(Tried::Uncertain) => return Err(StoreError::Timeout),
                    Err(error) if lost_a_race(&error) => log::debug!("it is tried again: {error}"),
                    Err(error) => return Err(error.into()),
                }
            }
            let reason = "the key or its rows are too contended";
            Err(StoreError::Unavailable(reason.to_owned()))
        };
        self.bounded(&self.write, limit, run).await
    }

    async fn try_once<T, W>(
        &self,
        db: &DatabaseConnection,
        keyed: Option<&Keyed>,
        limit: Duration,
        render: fn(&T) -> RecordedAnswer,
        work: &W,
    ) -> Result<Tried<T>, DbErr>
    where
        W: for<'t> Fn(
            &'t Session<'t>,
            EpochMs,
        ) -> BoxFuture<'t, Result<Result<T, Rejection>, DbErr>>,
    {
        let transaction = db.begin_with_options(self.dialect.begin()).await?;
        let session = Session::new(&transaction, self.dialect);
        if let crate::store::connection::dialect::Dialect::Postgres = self.dialect {
            let sql = format!("SET LOCAL statement_timeout = {}", limit.as_millis());
            session.execute(self.dialect.statement(sql, Vec::new())).await?;
        }
        let now = now(&session).await?;
        if let Some(keyed) = keyed {
            let found = find(&session, now, std::iter::once(&keyed.request)).await?;
            if let Some((fingerprint, KnownAnswer::Recorded(answer))) = found.into_values().next() {
                transaction.rollback().await?;
                return Ok(Tried::Done(if fingerprint == keyed.fingerprint {
                    Once::Replayed(answer)
                } else {
                    Once::Refused(Rejection::KeyReused)
                }));
            }
        }
        let done = match work(&session, now).await? {
            Ok(done) => done,
            Err(refusal) => {
                transaction.rollback().await?;
                return Ok(Tried::Done(Once::Refused(refusal)));
            }
        };
        if let Some(keyed) = keyed {
            let expires_at = now.plus(self.settings.policy.idempotency_ttl);
            let row = (keyed.clone(), render(&done), expires_at);
            if !insert(&session, now, &[row]).await? {
                transaction.rollback().await?;
                return Ok(Tried::Again);
            }
        }
        Ok(match commit(transaction).await? {
            Commit::Done => Tried::Done(Once::Done(done)),
            Commit::Uncertain => Tried::Uncertain,
        })
    }
}

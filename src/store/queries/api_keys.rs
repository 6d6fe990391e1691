//! API keys. Every change also changes the revision, by which the processes notice that their copy is old.

use std::sync::Arc;
use std::time::Duration;

use entity::{api_key, api_key_secret};
use sea_orm::ConnectionTrait;

use crate::domain::api_key::origin::Origin;
use crate::domain::api_key::{
    ApiKey, HashedSecret, KeyFault, KeyRefusal, LIVE_KEYS_MAX, LiveSecret, NewApiKey, WhichSecret,
};
use crate::domain::catalogue::Page;
use crate::domain::clock::EpochMs;
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::{InHistory, KeyId};
use crate::store::connection::{Db, DbResult, HISTORY, RowSet, Session, Transaction, rows};
use crate::store::queries::idempotency::OnceWork;
use crate::store::queries::key_secrets::{live, with_secrets};
use crate::store::{ReadFrom, Store};

/// How long a revoked key is listed.
const REVOKED_KEPT: Duration = Duration::from_secs(365 * 24 * 3_600);

/// A use is not stored if that of another process is less old than this. The clocks of processes may differ a little.
const USE_INTERVAL_MS: i64 = 50_000;

/// Identifies a state of all keys: the history of the database, and the number of changes in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeysRevision {
    history: String,
    number: i64,
}

type Refusable<T> = Result<T, KeyRefusal>;

impl Store {
    /// Creates a key with its first secret.
    pub async fn create_api_key(
        self: &Arc<Self>,
        new: NewApiKey,
        secret: HashedSecret,
    ) -> StoreResult<Refusable<ApiKey>> {
        self.change_keys(move |session, now| {
            let (new, secret) = (new.clone(), secret.clone());
            Box::pin(async move { Ok(Ok(create(session, now, new, &secret).await?)) })
        })
        .await
    }

    /// Revokes a key and deletes its secrets; false if there is no such key. A key that was revoked stays as it is.
    pub async fn revoke_api_key(self: &Arc<Self>, id: KeyId) -> StoreResult<bool> {
        self.change_keys(move |session, now| {
            Box::pin(async move { Ok(Ok(revoke(session, now, id).await?)) })
        })
        .await
    }

    /// Adds a secret to a key. The one before works for `overlap` longer. If the key has two secrets already, `end`
    /// names the one that is deleted.
    pub async fn rotate_api_key(
        self: &Arc<Self>,
        id: KeyId,
        secret: HashedSecret,
        overlap: Duration,
        end: Option<WhichSecret>,
    ) -> StoreResult<Refusable<ApiKey>> {
        self.change_keys(move |session, now| {
            let secret = secret.clone();
            let until = now.plus(overlap);
            Box::pin(async move { Ok(Ok(rotate(session, now, id, &secret, until, end).await?)) })
        })
        .await
    }

    /// Runs `work` in a transaction, of which there is only one at a time.
    async fn change_keys<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl OnceWork<T>,
    ) -> StoreResult<T> {
        let work = Arc::new(work);
        let limit = self.settings.limits.statement_timeout;
        let changed = self.once(None, limit, unrecorded::<T>, move |session, now| {
            let work = Arc::clone(&work);
            Box::pin(async move {
                let lock = session.dialect.lock("FOR UPDATE");
                let sql = format!("SELECT revision FROM api_key_revision WHERE id = 1 {lock}");
                session.fetch_one::<i64>(sql, Vec::new()).await?;
                work(session, now).await
            })
        });
        match changed.await? {
            Once::Done(done) => Ok(done),
            Once::Replayed(_) | Once::Refused(_) => {
                Err(StoreError::Corrupt("a change of API keys was answered from a record".into()))
            }
        }
    }

    /// At most `limit` keys after `after`, in the order of their ids; those that were revoked, too.
    pub async fn api_keys(
        &self,
        after: Option<InHistory<KeyId>>,
        limit: usize,
    ) -> StoreResult<Page<ApiKey>> {
        let (history, _) = self.history_of_page(after.map(|after| after.history)).await?;
        let after = after.map_or(0, |after| after.at.0);
        let read = move |db: Db| async move {
            let sql = "SELECT * FROM api_key WHERE id > $1 ORDER BY id LIMIT $2";
            let values = vec![after.into(), rows::more_than(limit)];
            with_secrets(&db, db.models(sql, values).await?).await
        };
        let found = self.read_from(ReadFrom::Primary, read).await?;
        Ok(Page::of(history, found, limit, |key| key.id))
    }

    /// One key.
    pub async fn api_key(&self, id: KeyId) -> StoreResult<Option<ApiKey>> {
        self.read_from(ReadFrom::Primary, move |db| async move { find(&db, id).await }).await
    }

    /// The key with this name that is not revoked.
    pub async fn api_key_named(&self, name: String) -> StoreResult<Option<KeyId>> {
        self.read_from(ReadFrom::Primary, move |db| {
            let name = name.clone();
            async move { named(&db, name).await }
        })
        .await
    }

    /// The text from which the secrets of holds are made.
    pub async fn hold_key(&self) -> StoreResult<String> {
        self.on_primary(|db: Db| async move {
            let found = db.fetch_one("SELECT key FROM hold_key WHERE id = 1", Vec::new()).await?;
            found.ok_or_else(|| rows::corrupt("key of the secrets of holds"))
        })
        .await
    }

    /// The revision of the keys on the primary.
    pub async fn api_keys_revision(&self) -> StoreResult<KeysRevision> {
        self.on_primary(|db: Db| async move {
            let sql = format!("SELECT revision, {HISTORY} FROM api_key_revision WHERE id = 1");
            let found = db.fetch_one::<(i64, String)>(sql, Vec::new()).await?;
            let (number, history) = found.ok_or_else(|| rows::corrupt("revision of API keys"))?;
            Ok::<_, sea_orm::DbErr>(KeysRevision { history, number })
        })
        .await
    }

    /// All secrets that work, with their keys, from the primary.
    pub async fn live_api_keys(&self) -> StoreResult<Vec<LiveSecret>> {
        self.on_primary(|db: Db| async move {
            let keys: Vec<api_key::Model> =
                db.models("SELECT * FROM api_key WHERE revoked_at IS NULL", Vec::new()).await?;
            let sql = "SELECT * FROM api_key_secret ORDER BY key_id, number";
            let secrets: Vec<api_key_secret::Model> = db.models(sql, Vec::new()).await?;
            live(keys, secrets)
        })
        .await
    }

    /// Stores when keys were last used, at most once in a minute for each key.
    pub async fn record_key_uses(&self, uses: Vec<(KeyId, EpochMs)>) -> StoreResult<()> {
        self.on_primary(move |db: Db| async move {
            let uses = RowSet::of(uses)
                .with("id", |(id, _)| id.0)
                .with("used_at", |(_, used_at)| used_at.0);
            let by_key = db.dialect.key("api_key", &["id"]);
            let after = format!(
                "WHERE {by_key} AND coalesce(api_key.last_used_at, 0) + {USE_INTERVAL_MS} < r.used_at"
            );
            let before = "UPDATE api_key SET last_used_at = r.used_at FROM";
            db.write(uses, Vec::new(), before, &after).await.map(drop)
        })
        .await
    }
}

fn unrecorded<T>(_: &T) -> RecordedAnswer {
    RecordedAnswer { status: 200, body: String::new(), resource: None }
}

fn fault<T>(field: &str, code: &'static str, message: impl Into<String>) -> Refusable<T> {
    Err(KeyRefusal::Fault(KeyFault::new(field, code, message)))
}

async fn create(
    session: &Transaction,
    now: EpochMs,
    new: NewApiKey,
    secret: &HashedSecret,
) -> DbResult<Refusable<ApiKey>> {
    if new.expires_at.is_some_and(|end| end <= now) {
        return Ok(fault("expires_at", "in_the_past", "is in the past: name a later time"));
    }
    end_expired(session, now).await?;
    let live: i64 = session
        .fetch_one("SELECT count(*) FROM api_key WHERE revoked_at IS NULL", Vec::new())
        .await?
        .unwrap_or_default();
    if live >= LIVE_KEYS_MAX {
        let message = format!("there are {LIVE_KEYS_MAX} keys already: revoke one first");
        return Ok(fault("name", "too_many_keys", message));
    }
    if named(session, new.name.clone()).await?.is_some() {
        let message = "another key has this name: choose another one, or revoke that key first";
        return Ok(fault("name", "name_taken", message));
    }
    let origins: Vec<&str> = new.origins.iter().map(Origin::as_str).collect();
    let sql = "INSERT INTO api_key (name, kind, mode, scopes, origins, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id";
    let values = vec![
        new.name.into(),
        new.kind.as_ref().into(),
        new.mode.as_ref().into(),
        new.scopes.names().into(),
        origins.join(" ").into(),
        now.0.into(),
        new.expires_at.map(|end| end.0).into(),
    ];
    let id: Option<i64> = session.fetch_one(sql, values).await?;
    let id = KeyId(id.ok_or_else(|| rows::corrupt("new API key"))?);
    insert_secret(session, now, id, 1, secret).await?;
    created(session, id).await
}

async fn insert_secret(
    session: &Transaction,
    now: EpochMs,
    id: KeyId,
    number: i16,
    secret: &HashedSecret,
) -> DbResult<()> {
    let sql = "INSERT INTO api_key_secret (key_id, number, prefix, hash, created_at)
         VALUES ($1, $2, $3, $4, $5)";
    let hash: String = secret.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let prefix = secret.prefix.clone();
    let values = vec![id.0.into(), number.into(), prefix.into(), hash.into(), now.0.into()];
    session.execute(sql, values).await?;
    new_revision(session).await
}

async fn new_revision(session: &Transaction) -> DbResult<()> {
    let sql = "UPDATE api_key_revision SET revision = revision + 1 WHERE id = 1";
    session.execute(sql, Vec::new()).await.map(drop)
}

async fn created(session: &Transaction, id: KeyId) -> DbResult<Refusable<ApiKey>> {
    Ok(find(session, id).await?.ok_or(KeyRefusal::NotFound))
}

/// Ends the keys and secrets whose time is over, and deletes keys that were revoked long ago.
async fn end_expired(session: &Transaction, now: EpochMs) -> DbResult<()> {
    let sql = "UPDATE api_key SET revoked_at = expires_at
         WHERE revoked_at IS NULL AND expires_at <= $1";
    session.execute(sql, vec![now.0.into()]).await?;
    let sql = "DELETE FROM api_key_secret WHERE ends_at <= $1
         OR key_id IN (SELECT id FROM api_key WHERE revoked_at IS NOT NULL)";
    session.execute(sql, vec![now.0.into()]).await?;
    let kept_ms = i64::try_from(REVOKED_KEPT.as_millis()).unwrap_or(i64::MAX);
    let sql = "DELETE FROM api_key WHERE revoked_at < $1";
    session.execute(sql, vec![(now.0 - kept_ms).into()]).await.map(drop)
}

async fn revoke(session: &Transaction, now: EpochMs, id: KeyId) -> DbResult<bool> {
    let sql = "DELETE FROM api_key_secret WHERE key_id = $1";
    session.execute(sql, vec![id.0.into()]).await?;
    let sql = "UPDATE api_key SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1";
    let is_found = session.execute(sql, vec![id.0.into(), now.0.into()]).await? > 0;
    if is_found {
        new_revision(session).await?;
    }
    Ok(is_found)
}

async fn rotate(
    session: &Transaction,
    now: EpochMs,
    id: KeyId,
    secret: &HashedSecret,
    until: EpochMs,
    end: Option<WhichSecret>,
) -> DbResult<Refusable<ApiKey>> {
    end_expired(session, now).await?;
    let sql = "SELECT number FROM api_key_secret WHERE key_id = $1 ORDER BY number";
    let numbers: Vec<i16> = session.fetch(sql, vec![id.0.into()]).await?;
    let (Some(oldest), Some(newest)) = (numbers.first(), numbers.last()) else {
        return Ok(Err(KeyRefusal::NotFound));
    };
    let ended = match (oldest == newest, end) {
        (true, _) => None,
        (false, Some(WhichSecret::Older)) => Some(*oldest),
        (false, Some(WhichSecret::Newer)) => Some(*newest),
        (false, None) => {
            let message = "two secrets of the key work already: end the `older` or the `newer` one, or wait for \
                 the end of the older one";
            return Ok(fault("end", "two_secrets", message));
        }
    };
    let sql = "DELETE FROM api_key_secret WHERE key_id = $1 AND number = $2";
    if let Some(ended) = ended {
        session.execute(sql, vec![id.0.into(), ended.into()]).await?;
    }
    let sql = "UPDATE api_key_secret SET ends_at = $2 WHERE key_id = $1";
    session.execute(sql, vec![id.0.into(), until.0.into()]).await?;
    insert_secret(session, now, id, newest.saturating_add(1), secret).await?;
    created(session, id).await
}

async fn named<C: ConnectionTrait>(session: &Session<C>, name: String) -> DbResult<Option<KeyId>> {
    let sql = "SELECT id FROM api_key WHERE revoked_at IS NULL AND name = $1";
    Ok(session.fetch_one::<i64>(sql, vec![name.into()]).await?.map(KeyId))
}

async fn find<C: ConnectionTrait>(session: &Session<C>, id: KeyId) -> DbResult<Option<ApiKey>> {
    let found = session.models("SELECT * FROM api_key WHERE id = $1", vec![id.0.into()]).await?;
    Ok(with_secrets(session, found).await?.into_iter().next())
}

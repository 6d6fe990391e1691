//! The API keys of the database, of which each process keeps a copy in memory.
//!
//! A request is authenticated by the copy alone, so a flood of wrong keys sends no query. A background task
//! (`src/background/key_refresh.rs`) asks the primary once a second whether the keys have changed, so a revoked key
//! stops to work within about a second on every process. A key that is not in the copy may have been created a moment
//! ago on another process: the request waits for the next query, of which there are at most four in a second, whatever
//! the number of such requests.
//!
//! While the primary does not answer, the copy is used for `API_KEYS_MAX_AGE`. Afterwards all keys are refused.

pub mod hold_secret;
mod snapshot;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};

use crate::domain::api_key::caller::Caller;
use crate::domain::api_key::text::{self, KeyText};
use crate::domain::api_key::{
    ApiKey, HashedSecret, KeyKind, KeyMode, KeyRefusal, NewApiKey, WhichSecret,
};
use crate::domain::catalogue::Page;
use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::{InHistory, KeyId};
use crate::refreshes::Refreshes;
use crate::store::{KeysRevision, Store};

use hold_secret::HoldKey;
use snapshot::{Found, KeySnapshot};

/// The most requests that wait for a key that is not in the copy. More are refused immediately.
const WAITING_MAX: usize = 1_000;

/// How long a request waits for a key that is not in the copy.
const WAIT: Duration = Duration::from_secs(1);

/// Random bytes for a key: more than it has characters, because some bytes are not used.
const RANDOM_BYTES: usize = 64;

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedKey {
    /// There is no such key, or it was revoked.
    Unknown,
    /// The key has expired, or its secret was replaced.
    Ended,
    /// The copy is too old, and the database does not answer.
    Unavailable,
}

/// A key that was created or rotated. Its text is shown once.
#[derive(Debug, Clone)]
pub struct IssuedKey {
    /// The key as it is listed.
    pub key: ApiKey,
    /// The new secret.
    pub text: KeyText,
}

/// The keys of the database.
pub struct ApiKeys {
    store: Arc<Store>,
    max_age: Duration,
    copy: RwLock<Copy>,
    refreshes: Refreshes,
    hold_key: OnceLock<HoldKey>,
}

/// The copy of the keys.
#[derive(Default)]
struct Copy {
    snapshot: Arc<KeySnapshot>,
    revision: Option<KeysRevision>,
    /// When the primary was asked for the revision that the copy has.
    confirmed_at: Option<Instant>,
}

impl ApiKeys {
    /// Creates the service without a copy; see [`Self::refresh`].
    #[must_use]
    pub fn new(store: Arc<Store>, max_age: Duration) -> Self {
        Self {
            store,
            max_age,
            copy: RwLock::default(),
            refreshes: Refreshes::new(WAITING_MAX),
            hold_key: OnceLock::new(),
        }
    }

    fn snapshot(&self) -> Arc<KeySnapshot> {
        Arc::clone(&self.copy.read().snapshot)
    }

    /// Authenticates a caller by the text of a key and its SHA-256.
    ///
    /// # Errors
    /// Why the key is refused.
    pub async fn caller(&self, key: &str, hash: &[u8; 32]) -> Result<Arc<Caller>, RefusedKey> {
        let Some((prefix, _)) = text::parse(key) else { return Err(RefusedKey::Unknown) };
        if let Some(known) = self.look_up(prefix, hash)? {
            return Ok(known);
        }
        if self.refreshes.wait(WAIT).await {
            return self.look_up(prefix, hash)?.ok_or(RefusedKey::Unknown);
        }
        Err(RefusedKey::Unknown)
    }

    fn look_up(&self, prefix: &str, hash: &[u8; 32]) -> Result<Option<Arc<Caller>>, RefusedKey> {
        let snapshot = {
            let copy = self.copy.read();
            if copy.confirmed_at.is_none_or(|at| at.elapsed() > self.max_age) {
                return Err(RefusedKey::Unavailable);
            }
            Arc::clone(&copy.snapshot)
        };
        match snapshot.find(prefix, hash, self.store.clock()) {
            Found::Caller(caller) => Ok(Some(caller)),
            Found::Ended => Err(RefusedKey::Ended),
            Found::Nothing => Ok(None),
        }
    }

    /// Completes when a request waits for a refresh.
    pub async fn wanted(&self) {
        self.refreshes.wanted().await;
    }

    /// Asks the primary whether the keys have changed, and copies them if so.
    pub async fn refresh(&self) -> StoreResult<()> {
        self.refreshes.run(self.read()).await
    }

    async fn read(&self) -> StoreResult<()> {
        let asked_at = Instant::now();
        let revision = self.store.api_keys_revision().await?;
        let is_same = self.copy.read().revision.as_ref() == Some(&revision);
        if is_same {
            self.copy.write().confirmed_at = Some(asked_at);
            return Ok(());
        }
        if self.hold_key.get().is_none() {
            let key = HoldKey::new(&self.store.hold_key().await?);
            let corrupt = || StoreError::Corrupt("the key of the secrets of holds".to_owned());
            drop(self.hold_key.set(key.ok_or_else(corrupt)?));
        }
        let live = self.store.live_api_keys().await?;
        let snapshot = KeySnapshot::new(live, &self.snapshot());
        log::debug!("{} secrets of API keys were read from the database", snapshot.len());
        *self.copy.write() = Copy {
            snapshot: Arc::new(snapshot),
            revision: Some(revision),
            confirmed_at: Some(asked_at),
        };
        Ok(())
    }

    /// Whether there is a publishable key, so that answers depend on the origin of the page.
    #[must_use]
    pub fn has_origins(&self) -> bool {
        self.copy.read().snapshot.has_origins()
    }

    /// Whether pages of this origin may use any publishable key.
    #[must_use]
    pub fn allows_origin(&self, origin: &str) -> bool {
        self.snapshot().allows_origin(origin)
    }

    /// The key of the secrets of holds; there is one before any key of the database works.
    #[must_use]
    pub fn hold_key(&self) -> Option<&HoldKey> {
        self.hold_key.get()
    }

    /// Stores when keys were used, at most once in a minute for each.
    pub async fn record_uses(&self) -> StoreResult<()> {
        let uses = self.snapshot().take_uses();
        if uses.is_empty() { Ok(()) } else { self.store.record_key_uses(uses).await }
    }

    /// Creates a key.
    ///
    /// # Errors
    /// The refusal is in the value.
    pub async fn create(&self, new: NewApiKey) -> StoreResult<Result<IssuedKey, KeyRefusal>> {
        let text = new_text(new.kind, new.mode)?;
        let created = self.store.create_api_key(new, hashed(&text)).await?;
        self.changed().await;
        Ok(created.map(|key| IssuedKey { key, text }))
    }

    /// Adds a secret to a key. The one before works for `overlap` longer. If the key has two secrets already, `end`
    /// names the one that is deleted.
    pub async fn rotate(
        &self,
        id: KeyId,
        overlap: Duration,
        end: Option<WhichSecret>,
    ) -> StoreResult<Result<IssuedKey, KeyRefusal>> {
        let Some(key) = self.store.api_key(id).await? else { return Ok(Err(KeyRefusal::NotFound)) };
        let text = new_text(key.kind, key.mode)?;
        let rotated = self.store.rotate_api_key(id, hashed(&text), overlap, end).await?;
        self.changed().await;
        Ok(rotated.map(|key| IssuedKey { key, text }))
    }

    /// Revokes a key; false if there is no such key.
    pub async fn revoke(&self, id: KeyId) -> StoreResult<bool> {
        let revoked = self.store.revoke_api_key(id).await?;
        self.changed().await;
        Ok(revoked)
    }

    /// This process must use a change immediately. If the copy cannot be read now, the background task reads it.
    async fn changed(&self) {
        if let Err(error) = self.refresh().await {
            log::warn!("a change of API keys takes effect with the next refresh: {error}");
        }
    }

    /// At most `limit` keys after `after`, in the order of their ids; those that were revoked, too.
    pub async fn list(
        &self,
        after: Option<InHistory<KeyId>>,
        limit: usize,
    ) -> StoreResult<Page<ApiKey>> {
        self.store.api_keys(after, limit).await
    }

    /// One key.
    pub async fn find(&self, id: KeyId) -> StoreResult<Option<ApiKey>> {
        self.store.api_key(id).await
    }

    /// The key with this name that is not revoked.
    pub async fn named(&self, name: &str) -> StoreResult<Option<KeyId>> {
        self.store.api_key_named(name.to_owned()).await
    }
}

/// SHA-256 of the text of a key. The text has 178 random bits, so a slow hash would protect nothing more.
#[must_use]
pub fn hash(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

fn hashed(text: &KeyText) -> HashedSecret {
    HashedSecret { prefix: text.prefix().to_owned(), hash: hash(text.expose()) }
}

/// A new key, from the random numbers of the operating system.
fn new_text(kind: KeyKind, mode: KeyMode) -> StoreResult<KeyText> {
    let mut random = [0; RANDOM_BYTES];
    let no_randomness = |why: String| {
        StoreError::Unavailable(format!("the operating system gives no random numbers: {why}"))
    };
    getrandom::fill(&mut random).map_err(|error| no_randomness(error.to_string()))?;
    KeyText::from_random(kind, mode, &random).ok_or_else(|| no_randomness("too few".to_owned()))
}

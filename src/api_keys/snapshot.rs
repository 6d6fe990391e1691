//! An immutable copy of all API keys, in which a key is found without waiting.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use subtle::ConstantTimeEq as _;

use crate::domain::api_key::LiveSecret;
use crate::domain::api_key::caller::Caller;
use crate::domain::api_key::origin::Origin;
use crate::domain::clock::EpochMs;
use crate::domain::ids::KeyId;

/// The least time between two records of the use of a key, in milliseconds.
const USE_INTERVAL_MS: i64 = 60_000;

/// When a key was last used, and the last use that was stored; in epoch milliseconds, 0 for never.
#[derive(Debug, Default)]
struct LastUse {
    used_at: AtomicI64,
    recorded_at: AtomicI64,
}

impl LastUse {
    fn recorded(at: Option<EpochMs>) -> Arc<Self> {
        let recorded_at = at.map_or(0, |at| at.0).into();
        Arc::new(Self { used_at: AtomicI64::new(0), recorded_at })
    }

    /// The last use, if it is to be stored. It is returned once.
    fn take(&self) -> Option<EpochMs> {
        let used_at = self.used_at.load(Ordering::Relaxed);
        let is_due = used_at - self.recorded_at.load(Ordering::Relaxed) >= USE_INTERVAL_MS;
        is_due
            .then(|| self.recorded_at.store(used_at, Ordering::Relaxed))
            .map(|()| EpochMs(used_at))
    }
}

/// All keys at one revision.
#[derive(Debug, Default)]
pub(super) struct KeySnapshot {
    secrets: HashMap<String, Entry>,
    uses: HashMap<KeyId, Arc<LastUse>>,
    origins: BTreeSet<Origin>,
}

#[derive(Debug)]
struct Entry {
    hash: [u8; 32],
    ends_at: Option<EpochMs>,
    caller: Arc<Caller>,
    last_use: Arc<LastUse>,
}

/// The result of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    /// The key works.
    Caller(Arc<Caller>),
    /// The key is right, and its time is over.
    Ended,
    /// There is no such key.
    Nothing,
}

impl KeySnapshot {
    /// A copy of these keys. Uses that the snapshot before has not recorded yet are kept.
    pub(super) fn new(live: Vec<LiveSecret>, before: &Self) -> Self {
        let mut snapshot = Self::default();
        for LiveSecret { secret, ends_at, key } in live {
            let last_use = snapshot.uses.entry(key.id).or_insert_with(|| {
                let known = before.uses.get(&key.id).cloned();
                known.unwrap_or_else(|| LastUse::recorded(key.last_used_at))
            });
            let entry = Entry {
                hash: secret.hash,
                ends_at,
                caller: Arc::new(Caller::of_key(&key)),
                last_use: Arc::clone(last_use),
            };
            snapshot.origins.extend(key.origins);
            snapshot.secrets.insert(secret.prefix, entry);
        }
        snapshot
    }

    /// Looks up a key by its prefix, and compares its hash in constant time.
    pub(super) fn find(&self, prefix: &str, hash: &[u8; 32], now: EpochMs) -> Found {
        let Some(entry) = self.secrets.get(prefix) else { return Found::Nothing };
        if !bool::from(entry.hash.ct_eq(hash)) {
            return Found::Nothing;
        }
        if entry.ends_at.is_some_and(|end| end <= now) {
            return Found::Ended;
        }
        entry.last_use.used_at.store(now.0, Ordering::Relaxed);
        Found::Caller(Arc::clone(&entry.caller))
    }

    /// Whether a publishable key may be used by pages of this origin.
    pub(super) fn allows_origin(&self, origin: &str) -> bool {
        Origin::parse(origin).is_some_and(|origin| self.origins.contains(&origin))
    }

    /// Whether there is a publishable key.
    pub(super) fn has_origins(&self) -> bool {
        !self.origins.is_empty()
    }

    /// The number of secrets.
    pub(super) fn len(&self) -> usize {
        self.secrets.len()
    }

    /// The uses to be stored: each is returned once, and those of one key at most once in a minute.
    pub(super) fn take_uses(&self) -> Vec<(KeyId, EpochMs)> {
        self.uses.iter().filter_map(|(id, last_use)| Some((*id, last_use.take()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::api_key::{ApiKey, HashedSecret, KeyKind, KeyMode, Scope, Scopes};

    const NOW: EpochMs = EpochMs(100_000);

    fn secret(id: i64, prefix: &str, ends_at: Option<i64>) -> LiveSecret {
        let key = ApiKey {
            id: KeyId(id),
            name: format!("key {id}"),
            kind: KeyKind::Publishable,
            mode: KeyMode::Live,
            scopes: Scopes::of([Scope::Sell]),
            origins: vec![Origin::parse(&format!("https://shop{id}.example")).unwrap()],
            created_at: EpochMs(1),
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
            secrets: Vec::new(),
        };
        let secret = HashedSecret { prefix: prefix.to_owned(), hash: [7; 32] };
        LiveSecret { secret, ends_at: ends_at.map(EpochMs), key }
    }

    #[test]
    fn both_secrets_of_a_key_are_the_same_caller() {
        let both = vec![secret(1, "a", Some(200_000)), secret(1, "b", None)];
        let snapshot = KeySnapshot::new(both, &KeySnapshot::default());
        for prefix in ["a", "b"] {
            let Found::Caller(caller) = snapshot.find(prefix, &[7; 32], NOW) else { panic!() };
            assert_eq!((caller.id.as_str(), caller.name.as_str()), ("key:1", "key 1"));
        }
    }

    #[test]
    fn another_hash_is_not_found_and_an_ended_secret_is_refused() {
        let snapshot =
            KeySnapshot::new(vec![secret(1, "a", Some(100_000))], &KeySnapshot::default());
        assert_eq!(snapshot.find("a", &[8; 32], NOW), Found::Nothing);
        assert_eq!(snapshot.find("c", &[7; 32], NOW), Found::Nothing);
        assert_eq!(snapshot.find("a", &[7; 32], NOW), Found::Ended);
        assert!(matches!(snapshot.find("a", &[7; 32], EpochMs(99_999)), Found::Caller(_)));
    }

    #[test]
    fn a_use_is_returned_once_and_survives_a_new_snapshot() {
        let first = KeySnapshot::new(
            vec![secret(1, "a", None), secret(2, "b", None)],
            &KeySnapshot::default(),
        );
        assert!(first.take_uses().is_empty());
        first.find("a", &[7; 32], NOW);
        first.find("b", &[8; 32], NOW);
        let next = KeySnapshot::new(vec![secret(1, "a", None)], &first);
        assert_eq!(next.take_uses(), [(KeyId(1), NOW)]);
        assert!(next.take_uses().is_empty());
        for (later, is_due) in [(59_999, false), (60_000, true)] {
            next.find("a", &[7; 32], EpochMs(NOW.0 + later));
            assert_eq!(next.take_uses().len(), usize::from(is_due), "{later} ms later");
        }
    }

    #[test]
    fn the_origins_are_those_of_all_keys() {
        let snapshot = KeySnapshot::new(
            vec![secret(1, "a", None), secret(2, "b", None)],
            &KeySnapshot::default(),
        );
        assert!(
            snapshot.allows_origin("https://shop1.example")
                && snapshot.allows_origin("https://shop2.example")
        );
        assert!(
            !snapshot.allows_origin("https://shop3.example") && !snapshot.allows_origin("null")
        );
        assert!(snapshot.has_origins() && !KeySnapshot::default().has_origins());
    }
}

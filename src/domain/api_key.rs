//! API keys: their kinds, their scopes, and the rules for a new one.

pub mod caller;
mod new_key;
pub mod origin;
pub mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumString, IntoEnumIterator as _, VariantArray};
use utoipa::ToSchema;

use super::clock::EpochMs;
use super::ids::KeyId;

use origin::Origin;

pub use new_key::{KEY_NAME_MAX, KeyFault, NewApiKey, ORIGINS_MAX};

/// The most keys that are neither revoked nor expired. Each process keeps all of them in memory.
pub const LIVE_KEYS_MAX: i64 = 1_000;

/// How long the secret before works after a rotation, if the request does not set it.
pub const OVERLAP: Duration = Duration::from_secs(24 * 3_600);

/// The longest time for which two secrets of a key work.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Who a key is for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    AsRefStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum KeyKind {
    /// For servers: it may do what its scopes allow, and must stay secret.
    Secret,
    /// For pages in a browser: everybody can read it. It may be used from its origins only.
    Publishable,
}

/// Marks the data that a key is meant for. Both modes use the same data today.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    AsRefStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum KeyMode {
    /// Real sales.
    Live,
    /// Development and tests.
    Test,
}

/// A right of a secret key. A later scope includes the earlier ones.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    AsRefStr,
    EnumString,
    VariantArray,
    strum::EnumIter,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Scope {
    /// Events, schedules, plans, maps and streams.
    Read,
    /// Holds and bookings of any customer.
    Sell,
    /// Events, schedules, plans, blocks and API keys.
    Admin,
}

/// The scopes of a caller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Scopes(Option<Scope>);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(Some(Scope::Admin));

    /// These scopes, and those that they include.
    #[must_use]
    pub fn of(scopes: impl IntoIterator<Item = Scope>) -> Self {
        Self(scopes.into_iter().max())
    }

    /// Reads what [`Self::names`] writes. A name that this release does not define grants nothing.
    #[must_use]
    pub fn parse(names: &str) -> Self {
        Self::of(names.split(' ').filter_map(|name| name.parse().ok()))
    }

    /// Whether the scope is among them.
    #[must_use]
    pub fn has(self, scope: Scope) -> bool {
        self.0.is_some_and(|highest| highest >= scope)
    }

    /// The scopes, those included by another one, too.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::iter().filter(move |scope| self.has(*scope))
    }

    /// The names of the scopes, separated by blanks.
    #[must_use]
    pub fn names(self) -> String {
        self.iter().map(|scope| scope.as_ref().to_owned()).collect::<Vec<_>>().join(" ")
    }
}

/// A key as it is listed: everything but the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identifier, which a rotation does not change.
    pub id: KeyId,
    /// Its name.
    pub name: String,
    /// Who it is for.
    pub kind: KeyKind,
    /// The data that it is meant for.
    pub mode: KeyMode,
    /// What a secret key may do; none for a publishable one.
    pub scopes: Scopes,
    /// The pages that may use a publishable key; none for a secret one.
    pub origins: Vec<Origin>,
    /// When it was created.
    pub created_at: EpochMs,
    /// When it stops to work by itself.
    pub expires_at: Option<EpochMs>,
    /// When it was revoked.
    pub revoked_at: Option<EpochMs>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<EpochMs>,
    /// Its secrets that work, the oldest first: two during a rotation, none after the key has ended.
    pub secrets: Vec<KeySecret>,
}

/// One secret of a key, without the secret itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// The beginning of its text, by which people recognise it.
    pub prefix: String,
    /// When it was created.
    pub created_at: EpochMs,
    /// When it stops to work, during a rotation.
    pub ends_at: Option<EpochMs>,
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashedSecret {
    /// The beginning of its text, by which it is found.
    pub prefix: String,
    /// SHA-256 of its text.
    pub hash: [u8; 32],
}

/// A key with one secret that works, as a process keeps it in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveSecret {
    /// The secret.
    pub secret: HashedSecret,
    /// When it stops to work: the end of the secret or of the key.
    pub ends_at: Option<EpochMs>,
    /// The key.
    pub key: ApiKey,
}

/// Why a key was not created or rotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRefusal {
    /// There is no such key, or it was revoked or has expired.
    NotFound,
    /// The request contradicts the keys that exist.
    Fault(KeyFault),
}

/// One of the two secrets of a key that is being rotated.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    AsRefStr,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WhichSecret {
    /// The one that was created first.
    Older,
    /// The one that was created last.
    Newer,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_includes_the_earlier_ones() {
        let sell = Scopes::of([Scope::Sell]);
        assert!(sell.has(Scope::Read) && sell.has(Scope::Sell) && !sell.has(Scope::Admin));
        assert_eq!(sell.names(), "read sell");
        assert_eq!(Scopes::parse("read sell"), sell);
        assert_eq!(Scopes::parse("read of_tomorrow"), Scopes::of([Scope::Read]));
        assert_eq!(
            (Scopes::parse(""), Scopes::ALL.names()),
            (Scopes::default(), "read sell admin".to_owned())
        );
        assert!(!Scopes::default().has(Scope::Read));
    }
}

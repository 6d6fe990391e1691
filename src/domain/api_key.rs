//! API keys: their kinds, their scopes, and the rules for a new one.

pub mod caller;
pub mod origin;
pub mod text;

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumString, IntoEnumIterator as _, VariantArray};
use utoipa::ToSchema;

use super::clock::EpochMs;
use super::ids::KeyId;
use super::name;

use origin::{ORIGIN_REMEDY, Origin};

/// The most keys that are neither revoked nor expired. Each process keeps all of them in memory.
pub const LIVE_KEYS_MAX: i64 = 1_000;

/// The most characters of a name.
pub const KEY_NAME_MAX: usize = 64;

/// The most origins of a publishable key.
pub const ORIGINS_MAX: usize = 50;

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

/// Why keys cannot be created or changed as requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFault {
    /// The field that is wrong: `name`, `origins/0`.
    pub field: String,
    /// The kind of error; a stable name.
    pub code: &'static str,
    /// The error and its remedy.
    pub message: String,
}

impl KeyFault {
    /// The fault of a field.
    #[must_use]
    pub fn new(field: &str, code: &'static str, message: impl Into<String>) -> Self {
        Self { field: field.to_owned(), code, message: message.into() }
    }
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

/// A key to be created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewApiKey {
    /// Its name, which no other live key has.
    pub name: String,
    /// Who it is for.
    pub kind: KeyKind,
    /// The data that it is meant for.
    pub mode: KeyMode,
    /// What a secret key may do.
    pub scopes: Scopes,
    /// The pages that may use a publishable key.
    pub origins: Vec<Origin>,
    /// When it stops to work by itself.
    pub expires_at: Option<EpochMs>,
}

impl NewApiKey {
    /// Checks the fields of a new key.
    ///
    /// # Errors
    /// All faults together.
    pub fn check(
        name: &str,
        (kind, mode): (KeyKind, KeyMode),
        scopes: &[Scope],
        origins: &[String],
        expires_at: Option<EpochMs>,
    ) -> Result<Self, Vec<KeyFault>> {
        let mut faults = Vec::new();
        if let Err(fault) = name::check_id(name, KEY_NAME_MAX) {
            faults.push(KeyFault::new("name", fault.code(), fault.to_string()));
        }
        let scopes = match kind {
            KeyKind::Secret if scopes.is_empty() => {
                let message = "name at least one scope: read, sell or admin";
                faults.push(KeyFault::new("scopes", "empty", message));
                Scopes::default()
            }
            KeyKind::Publishable if !scopes.is_empty() => {
                let message = "a publishable key has no scopes: leave them out";
                faults.push(KeyFault::new("scopes", "not_for_publishable", message));
                Scopes::default()
            }
            _ => Scopes::of(scopes.iter().copied()),
        };
        let origins = checked_origins(kind, origins, &mut faults);
        let name = name.to_owned();
        if faults.is_empty() {
            Ok(Self { name, kind, mode, scopes, origins, expires_at })
        } else {
            Err(faults)
        }
    }
}

fn checked_origins(kind: KeyKind, texts: &[String], faults: &mut Vec<KeyFault>) -> Vec<Origin> {
    let problem = match kind {
        KeyKind::Secret if !texts.is_empty() => Some((
            "only_for_publishable",
            "only a publishable key has origins: a secret key must not be in a page".to_owned(),
        )),
        KeyKind::Publishable if texts.is_empty() => Some((
            "empty",
            "name the origins of the pages that will use the key, such as https://shop.example"
                .to_owned(),
        )),
        _ if texts.len() > ORIGINS_MAX => {
            Some(("too_many", format!("has {} origins: name at most {ORIGINS_MAX}", texts.len())))
        }
        _ => None,
    };
    if let Some((code, message)) = problem {
        faults.push(KeyFault::new("origins", code, message));
        return Vec::new();
    }
    let mut origins: Vec<Origin> = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        match Origin::parse(text) {
            Some(origin) if origins.contains(&origin) => {}
            Some(origin) => origins.push(origin),
            None => {
                let field = format!("origins/{index}");
                faults.push(KeyFault::new(&field, "invalid_origin", ORIGIN_REMEDY));
            }
        }
    }
    origins
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: (KeyKind, KeyMode) = (KeyKind::Secret, KeyMode::Live);
    const PAGE: (KeyKind, KeyMode) = (KeyKind::Publishable, KeyMode::Live);

    fn faults(kind: (KeyKind, KeyMode), scopes: &[Scope], origins: &[&str]) -> Vec<String> {
        let origins: Vec<String> = origins.iter().map(|text| (*text).to_owned()).collect();
        let checked = NewApiKey::check("shop", kind, scopes, &origins, None);
        let faults = checked.err().unwrap_or_default();
        faults.into_iter().map(|fault| format!("{} {}", fault.field, fault.code)).collect()
    }

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

    #[test]
    fn a_secret_key_has_scopes_and_a_publishable_one_has_origins() {
        assert!(faults(SHOP, &[Scope::Sell], &[]).is_empty());
        assert!(
            faults(PAGE, &[], &["https://shop.example", "https://SHOP.example:443"]).is_empty()
        );
        assert_eq!(faults(SHOP, &[], &[]), ["scopes empty"]);
        assert_eq!(faults(SHOP, &[Scope::Read], &["https://a"]), ["origins only_for_publishable"]);
        assert_eq!(
            faults(PAGE, &[Scope::Read], &[]),
            ["scopes not_for_publishable", "origins empty"]
        );
        assert_eq!(faults(PAGE, &[], &["https://a", "*"]), ["origins/1 invalid_origin"]);
        assert_eq!(faults(PAGE, &[], &["https://a"; ORIGINS_MAX + 1]), ["origins too_many"]);
    }

    #[test]
    fn the_name_follows_the_rule_for_names() {
        let faults = NewApiKey::check("shop\u{200B}", SHOP, &[Scope::Read], &[], None).unwrap_err();
        assert_eq!((faults[0].field.as_str(), faults[0].code), ("name", "invisible_character"));
    }

    #[test]
    fn origins_that_are_the_same_are_stored_once() {
        let origins = ["https://shop.example".to_owned(), "https://SHOP.example:443".to_owned()];
        let new = NewApiKey::check("page", PAGE, &[], &origins, None).unwrap();
        assert_eq!(new.origins.len(), 1);
    }
}

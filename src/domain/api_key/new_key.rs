//! The rules for a new API key.

use super::origin::{ORIGIN_REMEDY, Origin};
use super::{KeyKind, KeyMode, Scope, Scopes};
use crate::domain::clock::EpochMs;
use crate::domain::name;

/// The most characters of a name.
pub const KEY_NAME_MAX: usize = 64;

/// The most origins of a publishable key.
pub const ORIGINS_MAX: usize = 50;

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

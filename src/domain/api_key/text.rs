//! The text of an API key: kind and mode, 30 random characters, and 6 characters that check the others, so that a
//! scanner of leaked secrets recognises a key without a look-up.

use std::fmt;

use super::{KeyKind, KeyMode};

/// The random characters: 30 of 62 are 178 bits.
const RANDOM_LENGTH: usize = 30;

/// The characters of the check: a CRC-32 is less than 62⁶.
const CHECK_LENGTH: usize = 6;

/// The beginning of each kind and mode.
const BEGINNINGS: [(&str, KeyKind, KeyMode); 4] = [
    ("sk_live_", KeyKind::Secret, KeyMode::Live),
    ("sk_test_", KeyKind::Secret, KeyMode::Test),
    ("pk_live_", KeyKind::Publishable, KeyMode::Live),
    ("pk_test_", KeyKind::Publishable, KeyMode::Test),
];

/// The length of all beginnings.
const BEGINNING_LENGTH: usize = 8;

/// The characters by which a key is found: the beginning, and 8 of the random characters.
pub const PREFIX_LENGTH: usize = BEGINNING_LENGTH + 8;

/// The regular expression of keys, for scanners of leaked secrets.
pub const KEY_PATTERN: &str = r"\b[sp]k_(live|test)_[0-9A-Za-z]{36}\b";

/// The regular expression of a prefix.
pub const PREFIX_PATTERN: &str = "^[sp]k_(live|test)_[0-9A-Za-z]{8}$";

const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The text of a new key, which is shown once. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyText(String);

impl KeyText {
    /// Makes a key of random bytes; `None` if there are too few. A byte of 248 or more is not used, because the
    /// characters would not be equally frequent.
    #[must_use]
    pub fn from_random(kind: KeyKind, mode: KeyMode, random: &[u8]) -> Option<Self> {
        let (beginning, ..) = BEGINNINGS.iter().find(|(_, k, m)| (*k, *m) == (kind, mode))?;
        let fair = random.iter().filter(|byte| **byte < 248).take(RANDOM_LENGTH);
        let mut text = (*beginning).to_owned();
        text.extend(fair.map(|byte| digit(u32::from(*byte))));
        if text.len() != BEGINNING_LENGTH + RANDOM_LENGTH {
            return None;
        }
        let check = check_of(&text);
        text.push_str(&check);
        Some(Self(text))
    }

    /// The key itself. Only the person who creates the key may see it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The beginning of the key, which is not secret.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.get(..PREFIX_LENGTH).unwrap_or_default()
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…", self.prefix())
    }
}

/// The prefix and the kind of a text that has the form of a key and a correct check.
#[must_use]
pub fn parse(text: &str) -> Option<(&str, KeyKind)> {
    let kind = kind_of(text)?;
    let (body, check) = text.split_at_checked(text.len().checked_sub(CHECK_LENGTH)?)?;
    let is_whole = body.len() == BEGINNING_LENGTH + RANDOM_LENGTH
        && text.bytes().skip(BEGINNING_LENGTH).all(|byte| byte.is_ascii_alphanumeric());
    if !is_whole || check != check_of(body) {
        return None;
    }
    Some((text.get(..PREFIX_LENGTH)?, kind))
}

/// The kind of a text that begins as a key does.
#[must_use]
pub fn kind_of(text: &str) -> Option<KeyKind> {
    BEGINNINGS.iter().find(|(beginning, ..)| text.starts_with(beginning)).map(|(_, kind, _)| *kind)
}

/// The CRC-32 of the text in six characters.
fn check_of(text: &str) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(text.as_bytes());
    let sum = crc.sum();
    (0..CHECK_LENGTH as u32).rev().map(|place| digit(sum / 62_u32.pow(place))).collect()
}

fn digit(number: u32) -> char {
    DIGITS.get(number as usize % DIGITS.len()).map_or('0', |digit| char::from(*digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: KeyKind, mode: KeyMode) -> String {
        let random: Vec<u8> = (0..64).map(|n| n * 4).collect();
        KeyText::from_random(kind, mode, &random).unwrap().expose().to_owned()
    }

    #[test]
    fn a_key_names_its_kind_and_is_recognised_by_its_check() {
        for (beginning, kind, mode) in BEGINNINGS {
            let key = key(kind, mode);
            assert_eq!(key.len(), 44);
            assert!(key.starts_with(beginning), "{key}");
            assert_eq!(parse(&key), Some((&key[..16], kind)));
        }
    }

    /// The example of docs/security.md.
    #[test]
    fn the_check_is_the_crc_32_of_what_precedes_it() {
        assert_eq!(check_of("123456789"), "3jZRME", "0xCBF43926, the check value of CRC-32");
    }

    #[test]
    fn a_changed_key_is_not_one() {
        let key = key(KeyKind::Secret, KeyMode::Live);
        for at in 0..key.len() {
            let other = if key.as_bytes()[at] == b'a' { "b" } else { "a" };
            let mut changed = key.clone();
            changed.replace_range(at..=at, other);
            assert_eq!(parse(&changed), None, "{changed}");
        }
        for wrong in
            ["", "sk_live_", "é", &key[1..], &key[..43], &format!("{key}a"), &key.to_uppercase()]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse(&key.replacen("sk_", "pk_", 1)), None, "another kind");
    }

    #[test]
    fn bytes_that_would_make_some_characters_more_frequent_are_not_used() {
        let uneven = [[255_u8; 30], [61; 30]].concat();
        let key = KeyText::from_random(KeyKind::Secret, KeyMode::Live, &uneven).unwrap();
        assert!(key.expose().starts_with(&format!("sk_live_{}", "z".repeat(30))));
        assert_eq!(KeyText::from_random(KeyKind::Secret, KeyMode::Live, &uneven[..59]), None);
        assert_eq!(format!("{key:?}"), "sk_live_zzzzzzzz…");
    }
}

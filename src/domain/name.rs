//! The rule for the names of customers, events, seat plans and their parts, and for reasons.
//!
//! Two names are the same if their folded forms are equal ([`folded`]): Unicode NFKC, each run of white space as
//! one blank, none at either end, and without invisible characters. Upper and lower case are different. A name is
//! stored as it was written or refused, never changed. [`check`] refuses invisible differences. [`check_id`] also
//! refuses compatibility forms (`ﬁ`, full-width letters), for names that are compared with names in other requests.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization as _, is_nfc, is_nfkc};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// Why a text is not accepted as a name, with the remedy. The message follows the name of the field: `the label is
/// empty: write at least one character`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// There is no character.
    #[error("is empty: write at least one character")]
    Empty,
    /// There are too many characters.
    #[error("has {length} characters: write at most {max}")]
    TooLong {
        /// The number of characters.
        length: usize,
        /// The most characters.
        max: usize,
    },
    /// A control character, such as a tab or a line end (general category Cc).
    #[error("contains the control character {}: remove it", code_point(.0))]
    Control(char),
    /// A format character (general category Cf), or another invisible character.
    #[error("contains the character {}, which cannot be seen: remove it", code_point(.0))]
    Invisible(char),
    /// A code point that is not assigned or is for private use (general categories Cn and Co).
    #[error("contains {}, which is no character that Unicode defines: remove it", code_point(.0))]
    Undefined(char),
    /// White space other than the blank.
    #[error("contains the white space {}: write an ordinary blank (U+0020)", code_point(.0))]
    WhiteSpace(char),
    /// A blank at the beginning or the end.
    #[error("begins or ends with a blank: remove it")]
    OuterBlank,
    /// Several blanks in a row.
    #[error("contains several blanks in a row: write one")]
    BlankRun,
    /// Not in Unicode normal form C.
    #[error("is not in Unicode normal form C: write it in NFC")]
    NotNfc,
    /// A character that has a plain form.
    #[error(
        "contains `{0}` ({code}), a compatibility form: write the name in Unicode NFKC, here `{plain}`",
        code = code_point(.0), plain = .0.nfkc()
    )]
    Compatibility(char),
}

impl NameFault {
    /// The code of the fault, for programs; never changes.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Empty => "text_empty",
            Self::TooLong { .. } => "text_too_long",
            Self::Control(_) => "control_character",
            Self::Invisible(_) => "invisible_character",
            Self::Undefined(_) => "undefined_character",
            Self::WhiteSpace(_) | Self::OuterBlank | Self::BlankRun => "white_space",
            Self::NotNfc => "not_nfc",
            Self::Compatibility(_) => "not_nfkc",
        }
    }
}

/// Invisible characters whose general category is not Cf: those of `Default_Ignorable_Code_Point` (Unicode
/// `DerivedCoreProperties.txt`), and the braille blank.
const INVISIBLE: [(char, char); 10] = [
    ('\u{034F}', '\u{034F}'),
    ('\u{115F}', '\u{1160}'),
    ('\u{17B4}', '\u{17B5}'),
    ('\u{180B}', '\u{180D}'),
    ('\u{180F}', '\u{180F}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{FE00}', '\u{FE0F}'),
    ('\u{FFA0}', '\u{FFA0}'),
    ('\u{E0100}', '\u{E01EF}'),
];

/// Checks a name of 1 to `max` characters.
///
/// # Errors
/// The first fault. Compatibility forms are accepted.
pub fn check(text: &str, max: usize) -> Result<(), NameFault> {
    check_length(text, max)?;
    text.chars().find_map(fault_of).map_or(Ok(()), Err)?;
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(NameFault::OuterBlank);
    }
    if text.contains("  ") {
        return Err(NameFault::BlankRun);
    }
    if is_nfc(text) { Ok(()) } else { Err(NameFault::NotNfc) }
}

/// Checks a name that is compared with names in other requests, such as a customer's. It must be in its folded
/// form, so that two such names are the same exactly if their bytes are.
///
/// # Errors
/// The first fault.
pub fn check_id(text: &str, max: usize) -> Result<(), NameFault> {
    check(text, max)?;
    let plain = |c: &char| is_nfkc(c.encode_utf8(&mut [0; 4]));
    match text.chars().find(|c| !plain(c)) {
        Some(c) => Err(NameFault::Compatibility(c)),
        // Each character is plain, but NFKC composes them differently.
        None if !is_nfkc(text) => Err(NameFault::NotNfc),
        None => Ok(()),
    }
}

/// Checks a name that may have been stored before the present rule: 1 to `max` characters, no control character.
///
/// # Errors
/// The first fault.
pub fn check_stored(text: &str, max: usize) -> Result<(), NameFault> {
    check_length(text, max)?;
    let control = text.chars().find(|c| c.is_control());
    control.map_or(Ok(()), |c| Err(NameFault::Control(c)))
}

fn check_length(text: &str, max: usize) -> Result<(), NameFault> {
    match text.chars().count() {
        0 => Err(NameFault::Empty),
        length if length > max => Err(NameFault::TooLong { length, max }),
        _ => Ok(()),
    }
}

/// The form in which names are compared.
#[must_use]
pub fn folded(text: &str) -> Cow<'_, str> {
    if check_id(text, usize::MAX).is_ok() {
        return Cow::Borrowed(text);
    }
    let visible: String = text.nfkc().filter(|c| !is_invisible(*c)).collect();
    let blanks = visible.split_whitespace().collect::<Vec<_>>().join(" ");
    // A removed character may have separated two characters that compose.
    Cow::Owned(blanks.nfkc().collect())
}

/// At most `max` characters of any text, in a printable form. Invisible characters, and white space other than blanks,
/// are written as `<U+00A0>`. `…` at the end means that the text was cut.
#[must_use]
pub fn shown(text: &str, max: usize) -> String {
    let mut characters = text.chars();
    let mut shown = String::new();
    for c in characters.by_ref().take(max) {
        match fault_of(c) {
            Some(_) => shown.push_str(&format!("<{}>", code_point(&c))),
            None => shown.push(c),
        }
    }
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}

/// The fault of a character that no name may contain.
fn fault_of(c: char) -> Option<NameFault> {
    if c == ' ' || c.is_ascii_graphic() {
        return None;
    }
    match c.general_category() {
        GeneralCategory::Control => Some(NameFault::Control(c)),
        GeneralCategory::Unassigned | GeneralCategory::PrivateUse => Some(NameFault::Undefined(c)),
        _ if c.is_whitespace() => Some(NameFault::WhiteSpace(c)),
        _ => is_invisible(c).then_some(NameFault::Invisible(c)),
    }
}

fn is_invisible(c: char) -> bool {
    c.general_category() == GeneralCategory::Format
        || INVISIBLE.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

fn code_point(c: &char) -> String {
    format!("U+{:04X}", u32::from(*c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_names_of_many_languages_are_accepted() {
        for name in [
            "ada",
            "Ada",
            "a-1_b.c~d@e",
            "Zoë Müller",
            "käufer 😀",
            "Ложа 3",
            "立見席",
            "ศาลา",
            "हॉल",
            "قاعة",
            "Loge 1/2",
            "7 \"links\"",
            "O’Brien",
        ] {
            assert_eq!(check_id(name, 64), Ok(()), "{name}");
            assert_eq!(folded(name), name);
        }
    }

    #[test]
    fn what_people_cannot_see_is_refused_with_its_code_and_remedy() {
        for (name, code) in [
            ("", "text_empty"),
            ("abcdefghi", "text_too_long"),
            ("a\tb", "control_character"),
            ("a\u{0}", "control_character"),
            ("a\u{85}b", "control_character"),
            ("a\u{200B}", "invisible_character"),
            ("a\u{200D}b", "invisible_character"),
            ("a\u{202E}b", "invisible_character"),
            ("\u{FEFF}a", "invisible_character"),
            ("a\u{AD}b", "invisible_character"),
            ("a\u{FE0F}", "invisible_character"),
            ("a\u{3164}", "invisible_character"),
            ("a\u{E0061}", "invisible_character"),
            ("a\u{E000}", "undefined_character"),
            ("a\u{378}", "undefined_character"),
            ("a\u{FFFF}", "undefined_character"),
            ("a\u{A0}b", "white_space"),
            ("a\u{3000}b", "white_space"),
            ("a\u{2028}b", "white_space"),
            (" a", "white_space"),
            ("a ", "white_space"),
            ("a  b", "white_space"),
            (" ", "white_space"),
            ("Zoe\u{308}", "not_nfc"),
        ] {
            let fault = check(name, 8).unwrap_err();
            assert_eq!(fault.code(), code, "{name:?}");
            assert!(fault.to_string().contains(": "), "a remedy: {fault}");
        }
    }

    #[test]
    fn compatibility_forms_are_refused_where_names_are_compared_over_requests() {
        for (name, plain) in [("ﬁn", "fi"), ("ａda", "a"), ("Row ½", "1⁄2"), ("№ 1", "No")]
        {
            assert_eq!(check(name, 8), Ok(()));
            let fault = check_id(name, 8).unwrap_err();
            assert_eq!(fault.code(), "not_nfkc");
            assert!(fault.to_string().ends_with(&format!("here `{plain}`")), "{fault}");
        }
    }

    #[test]
    fn names_that_look_alike_have_the_same_folded_form() {
        let ada = [
            "ada",
            " ada",
            "ada ",
            "a\u{200B}da",
            "ａda",
            "\u{202E}ada",
            "ada\u{A0}",
            "ad\u{2060}a",
        ];
        assert!(ada.iter().all(|name| folded(name) == "ada"));
        assert_eq!(folded("Zoe\u{308}"), folded("Zoë"));
        assert_eq!(folded("e\u{200B}\u{308}"), "ë");
        assert_eq!(folded("a \u{3000}\u{2003} b"), "a b");
        assert_ne!(folded("ada"), folded("Ada"), "case is significant");
    }

    #[test]
    fn what_was_stored_before_the_rule_is_still_read() {
        for name in [" ada", "a\u{200B}", "Zoe\u{308}", "a\u{A0}"] {
            assert_eq!(check_stored(name, 8), Ok(()));
        }
        assert_eq!(check_stored("a\n", 8), Err(NameFault::Control('\n')));
        assert_eq!(check_stored("", 8), Err(NameFault::Empty));
    }

    #[test]
    fn a_foreign_text_is_shown_with_what_cannot_be_seen() {
        assert_eq!(shown("Stalls\u{A0}\u{202E}", 64), "Stalls<U+00A0><U+202E>");
        assert_eq!(shown("abc", 2), "ab…");
        assert_eq!(shown("a\nb", 3), "a<U+000A>b");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_folded_name_stays_as_it_is(text in any::<String>()) {
            let once = folded(&text).into_owned();
            prop_assert_eq!(folded(&once), once.as_str());
        }

        #[test]
        fn names_accepted_for_comparison_are_equal_exactly_if_their_folded_forms_are(
            one in "[a ﬁé\u{301}\u{A0}]{1,3}", other in "[a ﬁé\u{301}\u{A0}]{1,3}",
        ) {
            if check_id(&one, 8).is_ok() && check_id(&other, 8).is_ok() {
                prop_assert_eq!(one == other, folded(&one) == folded(&other));
            }
        }
    }
}

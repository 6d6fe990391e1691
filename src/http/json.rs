//! Reading and writing of JSON documents. An error has a pointer and a message in plain words.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_path_to_error::Segment;

use crate::domain::name::shown;

/// The most characters of a value that a message repeats.
const SHOWN_MAX: usize = 64;

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JsonError {
    /// It is not JSON; the text has the reason and the position.
    Malformed(String),
    /// It is JSON of another shape.
    Shape {
        /// JSON pointer (RFC 6901) to the wrong value.
        pointer: String,
        /// The error in plain words.
        message: String,
    },
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(message) => write!(f, "it is not JSON: {message}"),
            Self::Shape { pointer, message } if pointer.is_empty() => f.write_str(message),
            Self::Shape { pointer, message } => write!(f, "{pointer}: {message}"),
        }
    }
}

/// Adds a text field to the body of an object.
#[must_use]
pub fn with_field(body: &str, name: &str, value: &str) -> String {
    match body.strip_suffix('}') {
        Some(fields) => format!("{fields},{}:{}}}", write(&name), write(&value)),
        None => body.to_owned(),
    }
}

/// Writes a body of the API. Bodies have text keys and plain values, so this cannot fail.
#[expect(clippy::expect_used, reason = "an empty body would be a wrong answer")]
#[must_use]
pub fn write(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("a body of the API is JSON")
}

/// Reads an object, or returns the first error.
pub fn read<T: DeserializeOwned>(document: &[u8]) -> Result<T, JsonError> {
    let malformed = |error: serde_json::Error| JsonError::Malformed(error.to_string());
    // serde also fills a struct from an array, field by field, which no client should rely on.
    if document.trim_ascii_start().first() == Some(&b'[') {
        serde_json::from_slice::<IgnoredAny>(document).map_err(malformed)?;
        let message = "the document must be an object, not an array".to_owned();
        return Err(JsonError::Shape { pointer: String::new(), message });
    }
    // Recording the path costs more than parsing a small document, so only one with an error is parsed with it.
    if let Ok(parsed) = serde_json::from_slice(document) {
        return Ok(parsed);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(document);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer(error.path().iter());
        let inner = error.into_inner();
        if inner.is_data() {
            JsonError::Shape { pointer, message: plain_message(&inner.to_string()) }
        } else {
            malformed(inner)
        }
    })?;
    deserializer.end().map_err(malformed)?;
    Ok(parsed)
}

/// A serde path as a JSON pointer (RFC 6901).
fn pointer<'a>(path: impl Iterator<Item = &'a Segment>) -> String {
    let segment = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
        Segment::Enum { .. } | Segment::Unknown => String::new(),
    };
    path.map(segment).collect()
}

/// Rewrites serde's message without Rust's type names, and without the position, which the pointer replaces. The
/// matched texts are those of `serde::de::Error` and `serde::de::Unexpected`.
fn plain_message(message: &str) -> String {
    let message = message.rsplit_once(" at line ").map_or(message, |(message, _)| message);
    let of_other_kind = ["invalid type: ", "invalid value: "];
    let found = of_other_kind.iter().find_map(|start| message.strip_prefix(start));
    match found.and_then(|found| found.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            format!("must be {}, not {}", plain_expected(expected), plain_found(found))
        }
        None => shown(message, SHOWN_MAX * 8),
    }
}

fn plain_expected(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "f32" | "f64" => "a number",
        "a boolean" | "bool" => "true or false",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "an object",
        "unit" => "null",
        _ if expected.starts_with("struct ") || expected.starts_with("tuple struct ") => {
            "an object"
        }
        _ => expected,
    }
}

fn plain_found(found: &str) -> String {
    match found {
        "null" | "unit value" | "Option value" => "null".to_owned(),
        "map" => "an object".to_owned(),
        "sequence" => "a list".to_owned(),
        _ => {
            let kinds = ["integer ", "floating point ", "boolean ", "string ", "character "];
            let value = kinds.iter().find_map(|kind| found.strip_prefix(kind)).unwrap_or(found);
            shown(value.trim_matches('`'), SHOWN_MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bounded::AtMost;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the types matter")]
    struct Document {
        seats: Option<AtMost<String, 3>>,
        price: Option<i64>,
        rows: Option<u32>,
        x: Option<f64>,
        part: Option<Box<Document>>,
        open: Option<bool>,
    }

    fn fault(document: &str) -> String {
        read::<Document>(document.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn an_error_has_a_pointer_and_no_names_of_types() {
        for (document, expected) in [
            (r#"{"price":99.5}"#, "/price: must be a whole number, not 99.5"),
            (r#"{"price":"99"}"#, "/price: must be a whole number, not \"99\""),
            (r#"{"rows":-1}"#, "/rows: must be a whole number that is not negative, not -1"),
            (r#"{"x":"left"}"#, "/x: must be a number, not \"left\""),
            (r#"{"x":[]}"#, "/x: must be a number, not a list"),
            (r#"{"part":{"part":7}}"#, "/part/part: must be an object, not 7"),
            (r#"{"seats":{}}"#, "/seats: must be a list, not an object"),
            (r#"{"seats":["A",null]}"#, "/seats/1: must be a string, not null"),
            (r#"{"open":1}"#, "/open: must be true or false, not 1"),
            ("7", "must be an object, not 7"),
            ("[]", "the document must be an object, not an array"),
        ] {
            assert_eq!(fault(document), expected, "{document}");
        }
        assert!(fault(r#"{"seat":1}"#).contains("unknown field `seat`, expected one of"));
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let message = fault(&format!(r#"{{"price":"{}"}}"#, "x".repeat(100_000)));
        assert!(message.len() < 200 && message.ends_with('…'), "{message}");
    }

    #[test]
    fn a_list_that_is_too_long_is_refused_at_its_first_item_too_many() {
        assert!(read::<Document>(br#"{"seats":["1","2","3"]}"#).is_ok());
        let message = fault(r#"{"seats":["1","2","3","4"]}"#);
        assert_eq!(message, "/seats: has more than 3 entries: send fewer");
    }

    #[test]
    fn other_documents_than_json_are_malformed_at_any_depth() {
        for document in
            ["", "{", "{}{}", "\u{0}", &"[".repeat(100_000), &"{\"part\":".repeat(1_000)]
        {
            let fault = read::<Document>(document.as_bytes()).unwrap_err();
            assert!(matches!(fault, JsonError::Malformed(_)), "{fault}");
        }
    }
}

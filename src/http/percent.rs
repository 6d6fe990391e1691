//! Decoding of percent-encoded path segments and queries (RFC 3986 §2.1). Each text is decoded exactly once.

use std::borrow::Cow;

use actix_web::HttpRequest;

use super::problem::Problem;

/// Decodes a text. `None` if a `%` is not followed by two hexadecimal digits, or if the bytes are not UTF-8.
pub(super) fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let high = digit(rest.next())?;
            let low = digit(rest.next())?;
            decoded.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            decoded.push(byte);
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

/// A parameter in the path of a request, decoded.
///
/// The router has decoded everything except `%25`, `%2F` and `%2B`, and has replaced bytes that are not UTF-8. If its
/// result contains a `%` or a replacement, the segment of the request line is decoded instead: a second decoding would
/// turn `%2541`, which means `%41`, into `A`.
pub(super) fn path_parameter<'a>(
    request: &'a HttpRequest,
    name: &str,
) -> Result<Cow<'a, str>, Problem> {
    let routed = request.match_info().get(name).unwrap_or_default();
    if !routed.contains(['%', char::REPLACEMENT_CHARACTER]) {
        return Ok(Cow::Borrowed(routed));
    }
    let pattern = request.match_pattern().unwrap_or_default();
    let is_parameter = |segment: &str| {
        segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}')) == Some(name)
    };
    let raw = pattern
        .split('/')
        .zip(request.uri().path().split('/'))
        .find_map(|(segment, raw)| is_parameter(segment).then_some(raw));
    raw.and_then(decode).ok_or_else(|| {
        let message = format!(
            "{name} is not percent-encoded UTF-8; write each % as %25, and other characters as the \
             bytes of their UTF-8 form"
        );
        Problem::parameter(name, message)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_encoded_text_is_decoded(text in any::<String>()) {
            let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let decoded = decode(&encoded);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
            decode(&text);
        }
    }

    #[test]
    fn a_text_is_decoded_once() {
        for (text, decoded) in [
            ("", ""),
            ("a+b", "a+b"),
            ("a%2Fc", "a/c"),
            ("%2f%2B%25", "/+%"),
            ("%2541", "%41"),
            ("%252F", "%2F"),
            ("%E2%82%AC", "€"),
            ("€%20x", "€ x"),
        ] {
            assert_eq!(decode(text).as_deref(), Some(decoded), "{text}");
        }
    }

    #[test]
    fn an_invalid_encoding_is_not_decoded() {
        for wrong in ["%", "a%2", "%zz", "%2%35", "%+1", "%€a", "%FF", "%ED%A0%80"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}

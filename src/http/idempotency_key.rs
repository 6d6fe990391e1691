//! The Idempotency-Key of a request (draft-ietf-httpapi-idempotency-key-header-07). The value may be bare or quoted.

use actix_web::HttpRequest;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::domain::api_key::caller::Caller;
use crate::domain::command::{Keyed, RequestKey};

use super::percent;
use super::problem::{Code, Problem};

const HEADER: &str = "Idempotency-Key";

/// The form of a key, bare or quoted.
pub(super) const KEY_PATTERN: &str = "^([!#-~][!-~]{0,254}|\"[!-~]{1,255}\")$";

/// The key of a request, and the parts of its fingerprint other than the body. Unlike the request, this can be sent to
/// another thread.
pub(crate) struct KeyHeader {
    request: RequestKey,
    method: String,
    route: Option<String>,
    path: Vec<String>,
}

impl KeyHeader {
    /// The key of a request, if it has one. It belongs to the caller.
    pub(super) fn of(request: &HttpRequest, caller: &Caller) -> Result<Option<Self>, Problem> {
        let mut values = request.headers().get_all(HEADER);
        let Some(value) = values.next() else { return Ok(None) };
        let key = values.next().is_none().then(|| parse(value.as_bytes())).flatten();
        let key = key.ok_or_else(|| {
            let message =
                "must be sent once, with 1 to 255 visible ASCII characters, bare or quoted";
            Problem::parameter(HEADER, message)
        })?;
        let caller = caller.id.clone();
        Self::with_key(RequestKey { caller, key }, request).map(Some)
    }

    fn with_key(key: RequestKey, request: &HttpRequest) -> Result<Self, Problem> {
        let names = request.match_info().iter().map(|(name, _)| name);
        let path = names.map(|name| Ok(percent::path_parameter(request, name)?.into_owned()));
        let path = path.collect::<Result<_, Problem>>()?;
        let method = request.method().to_string();
        let route = request.match_pattern();
        Ok(Self { request: key, method, route, path })
    }

    /// The key with the fingerprint of the request: its method, its route, the parameters in its path, and `meaning`,
    /// which is the parsed body, or the value made of body and query. Equal meanings must serialize equally. `meaning`
    /// must not include parameters without an effect: `min_version` and `Prefer` change when and how a request is
    /// answered, but not its effect.
    pub(super) fn keyed(self, meaning: &impl Serialize) -> Result<Keyed, Problem> {
        let parts = (&self.method, &self.route, &self.path, meaning);
        let serialized = serde_json::to_vec(&parts).map_err(|error| {
            Problem::new(Code::Internal, "the request has no fingerprint").because(error)
        })?;
        let digest = Sha256::digest(serialized);
        let fingerprint = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Keyed { request: self.request, fingerprint })
    }
}

/// The key of a request, if it has one, with its fingerprint.
pub(super) fn keyed(
    request: &HttpRequest,
    caller: &Caller,
    meaning: &impl Serialize,
) -> Result<Option<Keyed>, Problem> {
    KeyHeader::of(request, caller)?.map(|key| key.keyed(meaning)).transpose()
}

fn parse(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let bare = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => text,
    };
    let is_valid =
        (1..=255).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_graphic());
    is_valid.then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use actix_web::http::Method;
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    use super::*;

    fn fingerprint(method: Method, uri: &str, meaning: &impl Serialize) -> String {
        let request = TestRequest::with_uri(uri).method(method).to_http_request();
        let key = RequestKey { caller: String::new(), key: "k".to_owned() };
        KeyHeader::with_key(key, &request).unwrap().keyed(meaning).unwrap().fingerprint
    }

    #[test]
    fn a_fingerprint_is_of_the_method_and_of_the_meaning() {
        let post = fingerprint(Method::POST, "/", &("ada", Some(7)));
        assert_eq!(post.len(), 64);
        assert_eq!(post, fingerprint(Method::POST, "/?min_version=7", &("ada", Some(7))));
        assert_ne!(post, fingerprint(Method::PUT, "/", &("ada", Some(7))));
        assert_ne!(post, fingerprint(Method::POST, "/", &("ada", None::<u8>)));
    }

    proptest! {
        #[test]
        fn a_text_of_the_form_of_a_key_is_one(text in proptest::string::string_regex(KEY_PATTERN.trim_matches(['^', '$'])).unwrap()) {
            prop_assert!(parse(text.as_bytes()).is_some());
        }

        #[test]
        fn no_header_makes_the_reader_panic(value in any::<Vec<u8>>()) {
            if let Some(key) = parse(&value) {
                prop_assert_eq!(parse(key.as_bytes()), Some(key.clone()));
                prop_assert_eq!(parse(format!("\"{key}\"").as_bytes()), Some(key));
            }
        }
    }

    #[test]
    fn a_key_is_the_same_bare_and_quoted() {
        assert_eq!(parse(b"order-7"), Some("order-7".to_owned()));
        assert_eq!(parse(b"\"order-7\""), Some("order-7".to_owned()));
        assert_eq!(parse("x".repeat(255).as_bytes()).map(|key| key.len()), Some(255));
    }

    #[test]
    fn a_key_is_short_visible_ascii() {
        let long = "x".repeat(256);
        for wrong in ["", "\"\"", "\"open", "a b", "a\tb", "é", &long] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}

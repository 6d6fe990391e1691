//! The Idempotency-Key of a request (draft-ietf-httpapi-idempotency-key-header-07): bare or quoted.

use actix_web::{HttpMessage as _, HttpRequest};
use sha2::{Digest as _, Sha256};

use crate::domain::command::{Keyed, RequestKey};

use super::auth::Caller;
use super::problem::Problem;

const HEADER: &str = "Idempotency-Key";

/// The key of a request, if it has one, with the fingerprint of method, path, query and body.
pub(super) fn keyed(request: &HttpRequest, body: &[u8]) -> Result<Option<Keyed>, Problem> {
    let mut values = request.headers().get_all(HEADER);
    let Some(value) = values.next() else { return Ok(None) };
    let key = values.next().is_none().then(|| parse(value.as_bytes())).flatten();
    let key = key.ok_or_else(|| {
        let message = "must be sent once, with 1 to 255 visible ASCII characters, bare or quoted";
        Problem::parameter(HEADER, message)
    })?;
    let caller = request.extensions().get::<Caller>().cloned().unwrap_or_default().0;
    let mut hash = Sha256::new();
    let (method, path, query) = (request.method().as_str(), request.path(), request.query_string());
    for part in [method, path, query] {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.update(body);
    let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(Keyed { request: RequestKey { caller, key }, fingerprint }))
}

fn parse(value: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(value).ok()?;
    let bare = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => text,
    };
    let good = (1..=255).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_graphic());
    good.then(|| bare.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

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

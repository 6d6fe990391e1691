//! Authentication: who sends a request. What the caller may do is stated by the route (`src/http/needs.rs`).
//!
//! A request of the API carries a key as a bearer token (RFC 6750): `ADMIN_API_KEY`, a key of the database, or a
//! customer's token of the identity provider. Streams
//! take a publishable key in the query, because `EventSource` of browsers sends no headers; it is removed from the
//! request before anything else reads the query.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::http::uri::PathAndQuery;
use actix_web::http::{Method, Uri};
use actix_web::middleware::Next;
use actix_web::{HttpMessage as _, HttpRequest, web};
use subtle::ConstantTimeEq as _;

use crate::api_keys::{self, RefusedKey};
use crate::domain::api_key::caller::Caller;
use crate::domain::api_key::{KeyKind, text};
use crate::tokens::RefusedToken;

use super::problem::{Code, Problem};
use super::{Services, rate_limit};

/// `ADMIN_API_KEY`, as a hash.
#[derive(Clone)]
pub struct InstallationKey {
    hash: [u8; 32],
    caller: Arc<Caller>,
}

impl InstallationKey {
    /// Stores only a hash of the key. Hashes are compared in constant time, so the response time reveals neither the
    /// content nor the length of the key.
    #[must_use]
    pub fn new(key: &str) -> Self {
        let hash = api_keys::hash(key);
        let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Self { hash, caller: Arc::new(Caller::installation(&format!("key-{short}"))) }
    }

    fn matches(&self, hash: &[u8; 32]) -> bool {
        hash.ct_eq(&self.hash).into()
    }
}

/// The caller of a request, in its extensions.
#[derive(Clone)]
pub(super) struct Authenticated {
    pub(super) caller: Arc<Caller>,
    /// Whether the key was in the query.
    pub(super) in_query: bool,
}

impl Authenticated {
    /// The caller of a request of the API; `None` for other requests, and before authentication.
    pub(super) fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }
}

/// Refuses an API request without a valid key. Adds the caller to the extensions of the others.
pub async fn authenticate(
    services: web::Data<Arc<Services>>,
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    // A browser sends preflight requests without credentials, and OPTIONS answers only methods.
    if request.method() != Method::OPTIONS {
        match identify(&services, &mut request).await {
            Ok(authenticated) => {
                let counted = rate_limit::check_key(&services, &request, &authenticated.caller);
                request.extensions_mut().insert(authenticated);
                if let Err(problem) = counted {
                    return Ok(request.error_response(problem).map_into_right_body());
                }
            }
            Err(problem) => return Ok(request.error_response(problem).map_into_right_body()),
        }
    }
    Ok(next.call(request).await?.map_into_left_body())
}

async fn identify(
    services: &Services,
    request: &mut ServiceRequest,
) -> Result<Authenticated, Problem> {
    let from_query = take_query_key(request);
    let in_query = from_query.is_some();
    let key = from_query.as_deref().or_else(|| bearer(request.headers()));
    // Without `ADMIN_API_KEY` the service is open to this machine. A key of the database is still judged, so that a shop
    // in development notices a key that is wrong or may not do enough.
    let is_judged = |key: &str| text::kind_of(key).is_some() || is_token(services, key);
    if services.admin_key.is_none() && !key.is_some_and(is_judged) {
        return Ok(Authenticated { caller: Arc::clone(&services.open_caller), in_query });
    }
    let Some(key) = key else {
        let detail = "send an API key as a bearer token: `Authorization: Bearer <key>`";
        return Err(Problem::new(Code::Unauthenticated, detail));
    };
    if in_query && text::kind_of(key) != Some(KeyKind::Publishable) {
        let detail =
            "a secret key must not be in a URL, which many programs store: revoke this key";
        return Err(invalid(detail));
    }
    let hash = api_keys::hash(key);
    if let Some(admin) = services.admin_key.as_ref().filter(|admin| admin.matches(&hash)) {
        return Ok(Authenticated { caller: Arc::clone(&admin.caller), in_query });
    }
    if let Some(tokens) = services.tokens.as_ref().filter(|tokens| tokens.recognizes(key)) {
        let caller = tokens.caller(key).await.map_err(refused_token)?;
        check_origin(&caller, request.headers())?;
        return Ok(Authenticated { caller, in_query });
    }
    let caller = services.api_keys.caller(key, &hash).await.map_err(refused)?;
    check_origin(&caller, request.headers())?;
    Ok(Authenticated { caller, in_query })
}

/// The bearer token of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Whether a bearer token is to be judged as a customer token.
fn is_token(services: &Services, bearer: &str) -> bool {
    services.tokens.as_ref().is_some_and(|tokens| tokens.recognizes(bearer))
}

/// Whether a request carries a publishable key or a customer token, right or wrong: authentication then checks the
/// origin.
pub(super) fn will_check_origin(services: &Services, headers: &HeaderMap) -> bool {
    bearer(headers).is_some_and(|bearer| {
        text::kind_of(bearer) == Some(KeyKind::Publishable) || is_token(services, bearer)
    })
}

fn invalid(detail: &str) -> Problem {
    let challenge = "Bearer error=\"invalid_token\"".to_owned();
    let supported = Some(Box::new((header::WWW_AUTHENTICATE, challenge)));
    Problem { supported, ..Problem::new(Code::Unauthenticated, detail) }
}

fn refused_token(token: RefusedToken) -> Problem {
    match token {
        RefusedToken::Invalid(why) => invalid(&format!("the customer token is not valid: {why}")),
        RefusedToken::Unavailable => {
            let detail = "the keys of the identity provider are not known yet";
            Problem::new(Code::DependencyUnavailable, detail)
        }
    }
}

fn refused(key: RefusedKey) -> Problem {
    match key {
        RefusedKey::Unknown => invalid("the API key is not valid; it may be misspelt, or revoked"),
        RefusedKey::Ended => {
            invalid("the API key has expired, or was replaced by a rotation; use its new text")
        }
        RefusedKey::Unavailable => {
            let detail = "the database has not confirmed the API keys for API_KEYS_MAX_AGE, so only ADMIN_API_KEY is \
                          accepted until it answers";
            Problem::new(Code::DependencyUnavailable, detail)
        }
    }
}

/// Refuses a publishable key or a token that a page of another origin uses. Programs that are no browsers send no origin.
fn check_origin(caller: &Caller, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(header::ORIGIN).filter(|_| caller.has_origins()) else {
        return Ok(());
    };
    let origin = String::from_utf8_lossy(origin.as_bytes());
    if caller.allows_origin(&origin) {
        return Ok(());
    }
    let detail = match &caller.customer {
        Some(_) => {
            "pages of this origin may not send customer tokens; name it in JWT_ORIGINS".to_owned()
        }
        None => format!(
            "pages of this origin may not use the publishable key `{}`; create a key with the origin of the page",
            caller.name
        ),
    };
    Err(Problem::new(Code::OriginNotAllowed, detail))
}

/// Removes an API key from the query of a request that reads and has no `Authorization`, and returns the key.
fn take_query_key(request: &mut ServiceRequest) -> Option<String> {
    let query = request.uri().query()?;
    if !request.method().is_safe() || request.headers().contains_key(header::AUTHORIZATION) {
        return None;
    }
    let value = |piece: &str| Some(piece.strip_prefix("key=")?.to_owned());
    let is_key = |piece: &&str| {
        piece.strip_prefix("key=").is_some_and(|value| text::kind_of(value).is_some())
    };
    let key = query.split('&').find(is_key).and_then(value)?;
    let rest: Vec<&str> = query.split('&').filter(|piece| !is_key(piece)).collect();
    let without_key = format!("{}?{}", request.uri().path(), rest.join("&"));
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(without_key).ok()?);
    request.head_mut().uri = Uri::from_parts(parts).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn only_the_key_itself_matches() {
        let key = InstallationKey::new("a-long-enough-key");
        assert!(key.matches(&api_keys::hash("a-long-enough-key")));
        for wrong in ["", "a-long-enough-ke", "a-long-enough-key ", "A-long-enough-key"] {
            assert!(!key.matches(&api_keys::hash(wrong)), "{wrong:?}");
        }
    }

    #[test]
    fn the_caller_does_not_contain_the_key() {
        let caller = InstallationKey::new("a-long-enough-key").caller;
        assert!(!caller.id.contains("long"));
        assert_eq!(caller.id.len(), "key-".len() + 16);
    }

    #[test]
    fn a_key_is_removed_from_the_query_and_nothing_else_is() {
        for (uri, key, rest) in [
            ("/a?key=pk_live_x", Some("pk_live_x"), "/a?"),
            ("/a?b=1&key=pk_test_x&c=%26", Some("pk_test_x"), "/a?b=1&c=%26"),
            ("http://h:1/a?key=sk_live_x&key=sk_live_y", Some("sk_live_x"), "http://h:1/a?"),
            ("/a?key=other", None, "/a?key=other"),
            ("/a?keys=pk_live_x", None, "/a?keys=pk_live_x"),
            ("/a", None, "/a"),
        ] {
            let mut request = TestRequest::with_uri(uri).to_srv_request();
            assert_eq!(take_query_key(&mut request).as_deref(), key, "{uri}");
            assert_eq!(request.uri().to_string(), rest);
        }
        let with_header =
            TestRequest::with_uri("/a?key=pk_live_x").insert_header(("authorization", "x"));
        assert_eq!(take_query_key(&mut with_header.to_srv_request()), None);
        let write = TestRequest::with_uri("/a?key=pk_live_x").method(Method::POST);
        assert_eq!(take_query_key(&mut write.to_srv_request()), None);
    }
}

//! Cross-origin requests of browsers (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! Pages of an origin may use the publishable keys that list the origin, and may read the answers. A preflight request
//! carries no key, so it is answered for the origins of all publishable keys and of `JWT_ORIGINS`. Nothing is answered to other origins. No
//! cookie is ever used, so credentials are not allowed.

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};

use super::Services;
use super::auth::Authenticated;

/// The headers that a page may send.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, hold-secret, idempotency-key, if-match, if-none-match, last-event-id, prefer, \
     traceparent, x-request-id, x-seatlock-min-version",
);

/// The headers that a page may read, beside those that every page may.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "etag, idempotent-replayed, location, preference-applied, ratelimit, ratelimit-policy, retry-after, \
     www-authenticate, x-request-id, x-seatlock-stale, x-seatlock-version",
);

/// For how many seconds a browser may keep the answer to a preflight request: as long as a revoked origin may still send
/// requests, which are refused then.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Adds the headers for browsers to a response of the API, if there are publishable keys or origins of tokens.
pub(super) fn set_headers<B: MessageBody>(services: &Services, response: &mut ServiceResponse<B>) {
    let has_origins = services.api_keys.has_origins()
        || services.tokens.as_ref().is_some_and(|tokens| tokens.has_origins());
    if !response.request().path().starts_with("/api/") || !has_origins {
        return;
    }
    let allowed = allowed_origin(services, response);
    let is_preflight = is_preflight(response);
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    let Some(origin) = allowed else { return };
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if is_preflight {
        permit_request(headers);
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}

/// The origin of the page, if it may read the response: it may use the key of the caller. If the request was not
/// authenticated, it may use any key, so that a page can read why its request was refused.
fn allowed_origin<B>(services: &Services, response: &ServiceResponse<B>) -> Option<HeaderValue> {
    let request = response.request();
    let origin = request.headers().get(header::ORIGIN)?;
    let text = origin.to_str().ok()?;
    let is_allowed = match Authenticated::of(request) {
        Some(Authenticated { caller, .. }) => caller.allows_origin(text),
        None => {
            let tokens = services.tokens.as_ref();
            services.api_keys.allows_origin(text)
                || tokens.is_some_and(|tokens| tokens.allows_origin(text))
        }
    };
    is_allowed.then(|| origin.clone())
}

fn is_preflight<B>(response: &ServiceResponse<B>) -> bool {
    let request = response.request();
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Permits the methods of the resource, which `Allow` lists.
fn permit_request(headers: &mut HeaderMap) {
    if let Some(methods) = headers.get(header::ALLOW).cloned() {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

//! Building of HTTP responses: headers, bodies, and answers to conditional requests.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::domain::catalogue::Page;
use crate::domain::effect::{ExecutedCommand, Once, Outcome, RecordedAnswer, Resource};
use crate::seat_map::{ContentEncoding, MapAnswer};

use super::content_encoding::known_tags;
use super::problem::Problem;
use super::request::HttpResult;
use super::responses::{PageBody, render};
use super::stored_response::resource;

/// Marks a response that repeats an earlier answer to the same Idempotency-Key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The version of the schedule's seats: a read with this value in `?min_version=` is not older than the response.
const VERSION: HeaderName = HeaderName::from_static("x-seatlock-version");

/// The age of a map in seconds, if no newer one can be read.
const STALE: HeaderName = HeaderName::from_static("x-seatlock-stale");

/// How long an answer may be cached (RFC 9111 §5.2.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum CachePolicy {
    /// A map: for a second, and stale for five more while it is revalidated (RFC 5861).
    Brief,
    /// A version of a plan: it never changes.
    Immutable,
    /// A document that an upgrade of the service changes: revalidated each time.
    Revalidate,
}

impl CachePolicy {
    /// The value of `Cache-Control`. Shared caches may store only a `public` response, which no key protects.
    pub(super) fn header(self, public: bool) -> &'static str {
        match (self, public) {
            (Self::Brief, true) => "public, max-age=1, stale-while-revalidate=5",
            (Self::Brief, false) => "private, max-age=1, stale-while-revalidate=5",
            (Self::Immutable, true) => "public, max-age=31536000, immutable",
            (Self::Immutable, false) => "private, max-age=31536000, immutable",
            (Self::Revalidate, _) => "no-cache",
        }
    }
}

/// The header that has the path of the resource in a response. The id of the resource completes the path of the
/// variant.
#[derive(Debug, Clone, Copy)]
pub(super) enum LocationHeader {
    /// Created by this request: `Location` (RFC 9110 §10.2.2), status 201.
    Location(&'static str),
    /// Represented by the body: `Content-Location` (RFC 9110 §8.7), status 200.
    ContentLocation(&'static str),
    /// No header.
    None,
}

/// The response to the outcome of a command. If the batch has recorded the answer, it is rendered already. `complete`
/// adds what is not recorded.
pub(super) fn outcome(
    executed: ExecutedCommand,
    location: LocationHeader,
    complete: impl Fn(RecordedAnswer) -> RecordedAnswer,
) -> Result<HttpResponse, Problem> {
    let ExecutedCommand { outcome, answer } = executed;
    let rendered = |effect| complete(answer.unwrap_or_else(|| render(effect)));
    match outcome {
        Outcome::Done(effect) => Ok(recorded(rendered(&effect), location, false)),
        Outcome::Repeated(effect) => Ok(recorded(rendered(&effect), location, true)),
        Outcome::Replayed(answer) => Ok(recorded(complete(answer), location, true)),
        Outcome::Refused(rejection) => Err(rejection.into()),
        Outcome::NotRecorded => Err(Problem::not_found("answer")),
    }
}

/// The response to an operation that is executed once per key.
pub(super) fn once<T>(
    once: Once<T>,
    render: fn(&T) -> RecordedAnswer,
    location: LocationHeader,
) -> Result<HttpResponse, Problem> {
    match once {
        Once::Done(done) => Ok(recorded(render(&done), location, false)),
        Once::Replayed(answer) => Ok(recorded(answer, location, true)),
        Once::Refused(refusal) => Err(refusal.into()),
    }
}

fn recorded(answer: RecordedAnswer, location: LocationHeader, replayed: bool) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    let (name, base) = match location {
        LocationHeader::Location(base) => (Some(header::LOCATION), base),
        LocationHeader::ContentLocation(base) => (Some(header::CONTENT_LOCATION), base),
        LocationHeader::None => (None, ""),
    };
    if let Some(name) = name
        && let Some(resource) = resource(&answer)
        && resource != Resource::Nothing
    {
        response.insert_header((name, format!("{base}{}", resource.id())));
    }
    if replayed {
        response.insert_header((REPLAYED, HeaderValue::from_static("true")));
    }
    if answer.body.is_empty() {
        return response.finish();
    }
    response.insert_header(header::ContentType::json()).body(answer.body)
}

/// Adds the version of the schedule's seats: a read with `?min_version=` sees at least the state of the response.
pub(super) fn with_version(mut response: HttpResponse, version: Option<i64>) -> HttpResponse {
    if let Some(version) = version {
        response.headers_mut().insert(VERSION, HeaderValue::from(version));
    }
    response
}

/// Adds the age of the states, if no newer ones could be read.
pub(super) fn with_age(mut response: HttpResponse, stale: Option<Duration>) -> HttpResponse {
    if let Some(age) = stale {
        response.headers_mut().insert(STALE, HeaderValue::from(age.as_secs().max(1)));
    }
    response
}

/// The response with a map that all clients share; 304 if the client has it already.
pub(super) fn map(
    request: &HttpRequest,
    answer: &MapAnswer,
    encoding: ContentEncoding,
    public: bool,
) -> HttpResponse {
    let tag = &answer.encoded.tag;
    let cache = CachePolicy::Brief.header(public);
    let body = answer.encoded.body.clone();
    let response = encoded(request, tag, cache, encoding, "application/json", body);
    with_version(with_age(response, answer.stale), Some(answer.encoded.at.at))
}

/// A cacheable response in one of the content encodings; 304 if the client has it already.
pub(super) fn encoded(
    request: &HttpRequest,
    tag: &str,
    cache_control: &'static str,
    encoding: ContentEncoding,
    content_type: &str,
    body: Bytes,
) -> HttpResponse {
    let mut response = conditional(request, tag, cache_control, || {
        let mut response = HttpResponse::Ok();
        response.content_type(content_type);
        if encoding != ContentEncoding::Identity {
            response.insert_header((header::CONTENT_ENCODING, encoding.name()));
        }
        response.body(body)
    });
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// A cacheable response: 304 if the client has it already, and the body otherwise.
pub(super) fn conditional(
    request: &HttpRequest,
    tag: &str,
    cache_control: &'static str,
    body: impl FnOnce() -> HttpResponse,
) -> HttpResponse {
    let mut response =
        if is_known(request, tag) { HttpResponse::NotModified().finish() } else { body() };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    response
}

/// Whether `If-None-Match` lists this tag (RFC 9110 §13.1.2; the weak comparison ignores `W/`).
fn is_known(request: &HttpRequest, tag: &str) -> bool {
    known_tags(request).any(|known| known == "*" || known == tag)
}

/// A JSON response that must not be cached.
pub(super) fn json(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// The response to the creation of what is at `location`. It must not be cached.
pub(super) fn created(location: &str, body: &impl Serialize) -> HttpResponse {
    let mut response = HttpResponse::Created();
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    response.insert_header((header::LOCATION, location)).json(body)
}

/// The response without a body.
pub(super) fn no_content() -> HttpResponse {
    HttpResponse::NoContent().finish()
}

/// A page of a list.
pub(super) fn page<T, B: From<T> + Serialize>(page: Page<T>) -> HttpResponse {
    let items: Vec<B> = page.items.into_iter().map(B::from).collect();
    json(&PageBody { items, next_cursor: page.next_cursor })
}

/// One resource, or 404.
pub(super) fn found<T, B: From<T> + Serialize>(found: Option<T>, what: &str) -> HttpResult {
    found.map(|found| json(&B::from(found))).ok_or_else(|| Problem::not_found(what))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn no_shared_cache_keeps_an_answer_that_needs_a_key() {
        for policy in [CachePolicy::Brief, CachePolicy::Immutable] {
            let public = policy.header(true);
            let private = policy.header(false);
            assert_eq!(public.replacen("public", "private", 1), private);
            assert!(public.starts_with("public, max-age="), "{public}");
        }
    }

    #[test]
    fn a_tag_matches_in_a_list_and_weakly() {
        let request = |value: &str| {
            TestRequest::default().insert_header((header::IF_NONE_MATCH, value)).to_http_request()
        };
        for value in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(is_known(&request(value), "\"7\""), "{value}");
        }
        assert!(!is_known(&request("\"70\""), "\"7\""));
        assert!(!is_known(&TestRequest::default().to_http_request(), "\"7\""));
    }
}

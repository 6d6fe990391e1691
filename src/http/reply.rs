//! Answers to HTTP responses: headers that point at what was made, and conditional reads.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use crate::domain::effect::{ExecutedCommand, Once, Outcome, RecordedAnswer, Resource};
use crate::seat_map::{ContentEncoding, MapAnswer};

use super::problem::Problem;
use super::responses::render;
use super::stored_response::resource;

/// Says that the answer was given before, under the same Idempotency-Key.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// The version of the seats that an answer is at or after.
const VERSION: HeaderName = HeaderName::from_static("x-seatlock-version");

/// How many seconds old a map is, while nobody can be asked for a newer one.
const STALE: HeaderName = HeaderName::from_static("x-seatlock-stale");

/// How long an answer may be kept (RFC 9111 §5.2.2).
#[derive(Debug, Clone, Copy)]
pub(super) enum Keep {
    /// A map: for a moment, and stale for a moment more while it is fetched anew (RFC 5861).
    Moment,
    /// A version of a plan: it never changes.
    Always,
    /// What an upgrade of the service changes: asked for again each time. It needs no key.
    Confirmed,
}

/// Who may keep answers: caches that serve anybody only if anybody may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// No key is needed.
    Anybody,
    /// A key is needed.
    KeyHolders,
}

impl Keep {
    fn by(self, readers: Readers) -> &'static str {
        match (readers, self) {
            (Readers::Anybody, Self::Moment) => "public, max-age=1, stale-while-revalidate=5",
            (Readers::KeyHolders, Self::Moment) => "private, max-age=1, stale-while-revalidate=5",
            (Readers::Anybody, Self::Always) => "public, max-age=31536000, immutable",
            (Readers::KeyHolders, Self::Always) => "private, max-age=31536000, immutable",
            (_, Self::Confirmed) => "no-cache",
        }
    }
}

/// Where the thing that an answer speaks of can be read: a path that the thing's id completes.
#[derive(Debug, Clone, Copy)]
pub(super) enum LocationHeader {
    /// Made by this request: `Location` (RFC 9110 §10.2.2), status 201.
    Location(&'static str),
    /// What the body is a representation of: `Content-Location` (RFC 9110 §8.7), status 200.
    ContentLocation(&'static str),
    /// Nowhere else.
    None,
}

/// The response to a command's outcome. A batch has rendered the answers that it recorded.
pub(super) fn outcome(
    executed: ExecutedCommand,
    place: LocationHeader,
) -> Result<HttpResponse, Problem> {
    let answer = |effect| executed.answer.unwrap_or_else(|| render(effect));
    match &executed.outcome {
        Outcome::Done(effect) => Ok(recorded(answer(effect), place, false)),
        Outcome::Repeated(effect) => Ok(recorded(answer(effect), place, true)),
        Outcome::Replayed(answer) => Ok(recorded(answer.clone(), place, true)),
        Outcome::Refused(refusal) => Err(refusal.clone().into()),
        Outcome::NotRecorded => Err(Problem::not_found("answer")),
    }
}

/// The response to work that is done once per key.
pub(super) fn once<T>(
    once: Once<T>,
    render: fn(&T) -> RecordedAnswer,
    place: LocationHeader,
) -> Result<HttpResponse, Problem> {
    match once {
        Once::Done(done) => Ok(recorded(render(&done), place, false)),
        Once::Replayed(answer) => Ok(recorded(answer, place, true)),
        Once::Refused(refusal) => Err(refusal.into()),
    }
}

fn recorded(answer: RecordedAnswer, place: LocationHeader, replayed: bool) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = HttpResponse::build(status);
    let (name, base) = match place {
        LocationHeader::Location(base) => (Some(header::LOCATION), base),
        LocationHeader::ContentLocation(base) => (Some(header::CONTENT_LOCATION), base),
        LocationHeader::None => (None, ""),
    };
    if let (Some(name), Some(resource)) = (name, resource(&answer))
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

/// Says which version of the seats the answer is at or after: a read with `?min_version=` sees it.
pub(super) fn versioned(mut response: HttpResponse, version: Option<i64>) -> HttpResponse {
    if let Some(version) = version {
        response.headers_mut().insert(VERSION, HeaderValue::from(version));
    }
    response
}

/// A shared answer of a map: 304 if the caller has it, its bytes otherwise.
pub(super) fn map(
    request: &HttpRequest,
    answer: &MapAnswer,
    coding: ContentEncoding,
    readers: Readers,
) -> HttpResponse {
    let encoded = &answer.encoded;
    let mut response = conditional(request, &encoded.tag, (Keep::Moment, readers), || {
        let mut response = HttpResponse::Ok();
        response.insert_header(header::ContentType::json());
        if coding != ContentEncoding::Identity {
            response.insert_header((header::CONTENT_ENCODING, coding.name()));
        }
        response.body(encoded.body.clone())
    });
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    versioned(aged(response, answer.stale), Some(encoded.at.at))
}

/// Adds the age of the states to an answer, if no database could give newer ones.
pub(super) fn aged(mut response: HttpResponse, stale: Option<Duration>) -> HttpResponse {
    if let Some(age) = stale {
        response.headers_mut().insert(STALE, HeaderValue::from(age.as_secs().max(1)));
    }
    response
}

/// A JSON response for one caller only.
pub(super) fn json(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// Whether `If-None-Match` names this tag (RFC 9110 §13.1.2, weak comparison).
#[must_use]
pub(super) fn matches(request: &HttpRequest, tag: &str) -> bool {
    let values = request.headers().get_all(header::IF_NONE_MATCH);
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|value| {
        let value = value.trim();
        value == "*" || value.strip_prefix("W/").unwrap_or(value) == tag
    })
}

/// A response that may be kept: 304 if the caller has it, the body otherwise.
pub(super) fn conditional(
    request: &HttpRequest,
    tag: &str,
    (keep, readers): (Keep, Readers),
    body: impl FnOnce() -> HttpResponse,
) -> HttpResponse {
    let mut response =
        if matches(request, tag) { HttpResponse::NotModified().finish() } else { body() };
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep.by(readers)));
    response
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn what_needs_a_key_is_kept_by_no_shared_cache() {
        for keep in [Keep::Moment, Keep::Always] {
            let (anybody, holders) = (keep.by(Readers::Anybody), keep.by(Readers::KeyHolders));
            assert_eq!(anybody.replacen("public", "private", 1), holders);
            assert!(anybody.starts_with("public, max-age="), "{anybody}");
        }
    }

    #[test]
    fn a_tag_matches_in_a_list_and_weakly() {
        let asks = |value: &str| {
            TestRequest::default().insert_header((header::IF_NONE_MATCH, value)).to_http_request()
        };
        for value in ["\"7\"", "W/\"7\"", "\"6\", \"7\"", "*"] {
            assert!(matches(&asks(value), "\"7\""), "{value}");
        }
        assert!(!matches(&asks("\"70\""), "\"7\""));
        assert!(!matches(&TestRequest::default().to_http_request(), "\"7\""));
    }
}

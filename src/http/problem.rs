//! The errors of the API, as problem details (RFC 9457). Their codes are in [`codes`].

mod codes;

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use super::json;
use super::schemas::ConflictReasonName;
use crate::domain::ids::BookingId;
use crate::domain::rejection::{Conflict, ConflictReason};

pub use codes::{Code, Payment, ProblemCode};

/// Whether a failed request had an effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectKnown {
    /// The request had no effect.
    None,
    /// The effect is not known yet: repeat the request with the same Idempotency-Key to learn it.
    Unknown,
}

/// One field or parameter that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body (RFC 6901), a position in a CSV body such as `line 7, column 3`, or the name of a
    /// header or parameter.
    pub pointer: String,
    /// The kind of error; a stable name.
    pub code: String,
    /// The error and its remedy.
    pub message: String,
}

impl FieldError {
    /// The error of the field at `pointer`.
    #[must_use]
    pub fn new(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self { pointer: pointer.to_owned(), code: code.to_owned(), message: message.into() }
    }
}

/// A seat that could not be taken, in the form of the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ConflictBody {
    /// The seat's public name.
    #[schema(example = "A-12-7")]
    pub label: String,
    /// The reason: its state, or `contended` if another request is taking it.
    #[schema(value_type = ConflictReasonName)]
    pub reason: &'static str,
    /// The hold that has the seat, if it belongs to the customer who sent the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<String>,
}

/// An error as a handler returns it. The middleware writes it as `application/problem+json` with the request's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The row of the error table.
    pub code: Code,
    /// The details of this occurrence.
    pub detail: String,
    /// Whether the request had an effect.
    pub effect: EffectKnown,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Seconds to wait before the request is repeated.
    pub retry_after: Option<u32>,
    /// Fields that are wrong.
    pub errors: Vec<FieldError>,
    /// Seats that could not be taken.
    pub conflicts: Box<[ConflictBody]>,
    /// The booking that the refusal is about.
    pub booking_id: Option<Box<BookingId>>,
    /// What the resource supports: methods in `Allow` for 405, encodings in `Accept-Encoding` for a 415 about the
    /// encoding of a body (RFC 9110 §12.5.3), the kind of key in `WWW-Authenticate` for 401 and 403 (RFC 6750 §3).
    pub supported: Option<Box<(HeaderName, String)>>,
    /// The cause, for the log only; it is never sent to the caller.
    pub reason: Option<Box<str>>,
}

/// The most wrong fields that one answer lists.
pub const ERRORS_MAX: usize = 20;

impl Problem {
    /// A problem with the defaults of its code.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let waits = matches!(code.status(), 503) || code == Code::RequestInProgress;
        let retryable = waits || code == Code::RateLimited || code == Code::Internal;
        Self {
            code,
            detail: detail.into(),
            effect: EffectKnown::None,
            retryable,
            retry_after: waits.then_some(1),
            errors: Vec::new(),
            conflicts: Box::default(),
            booking_id: None,
            supported: None,
            reason: None,
        }
    }

    /// Adds the cause, which the middleware writes to the log.
    #[must_use]
    pub fn because(self, reason: impl fmt::Display) -> Self {
        Self { reason: Some(reason.to_string().into()), ..self }
    }

    /// The wrong fields of a body. If there are too many, the last entry is `more_problems`.
    #[must_use]
    pub fn fields(mut errors: Vec<FieldError>) -> Self {
        if errors.len() > ERRORS_MAX {
            errors.truncate(ERRORS_MAX - 1);
            let message = "there are more: correct those that are listed, then retry";
            errors.push(FieldError::new("", "more_problems", message));
        }
        let detail = match errors.as_slice() {
            [only] => only.message.clone(),
            several => format!("{} fields are not valid", several.len()),
        };
        Self { errors, ..Self::new(Code::ValidationFailed, detail) }
    }

    /// One wrong field of a body.
    #[must_use]
    pub fn field(pointer: &str, code: &str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(pointer, code, message)])
    }

    /// One wrong header or parameter.
    #[must_use]
    pub fn parameter(name: &str, message: impl Into<String>) -> Self {
        Self::parameter_error(name, "invalid", message)
    }

    /// One wrong header or parameter, with the kind of error.
    #[must_use]
    pub fn parameter_error(name: &str, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let error = FieldError::new(name, code, message.clone());
        Self { errors: vec![error], ..Self::new(Code::InvalidParameter, message) }
    }

    /// The problem of seats that could not be taken. If only seat locks refuse the seats, nothing is decided: the
    /// request may be repeated.
    #[must_use]
    pub fn conflicts(code: Code, conflicts: Vec<Conflict>, by_locks_alone: bool) -> Self {
        let mut detail = match conflicts.len() {
            0 => "the hold has ended".to_owned(),
            1 => "1 seat is not available".to_owned(),
            more => format!("{more} seats are not available"),
        };
        if conflicts.iter().any(|conflict| conflict.hold.is_some()) {
            detail +=
                "; each hold_id is a hold of the same customer, which can be confirmed or released";
        }
        let body = |conflict: Conflict| ConflictBody {
            label: conflict.label,
            reason: conflict.reason.into(),
            hold_id: conflict.hold.map(|hold| hold.to_string()),
        };
        let contended = conflicts.iter().any(|c| c.reason == ConflictReason::Contended);
        Self {
            conflicts: conflicts.into_iter().map(body).collect(),
            retryable: by_locks_alone,
            retry_after: contended.then_some(1),
            ..Self::new(code, detail)
        }
    }

    /// Adds where to find the own holds of the customer, if it is not known whether a conflicting hold is one of them.
    #[must_use]
    pub fn with_owners_unknown(mut self) -> Self {
        self.detail +=
            "; GET /api/v1/holds?customer_id=&schedule_id= lists the customer's own holds";
        self
    }

    /// A resource that does not exist, or is not the caller's.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// The body of the response.
    #[must_use]
    pub fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            kind: format!("/problems/{}", self.code.name()),
            title: self.code.title(),
            status: self.code.status(),
            code: self.code.name(),
            detail: &self.detail,
            request_id,
            retryable: self.retryable,
            effect: self.effect,
            errors: &self.errors,
            conflicts: &self.conflicts,
            booking_id: self.booking_id.as_ref().map(ToString::to_string),
        }
    }
}

/// `application/problem+json` (RFC 9457) with the extensions of this API.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ProblemBody<'a> {
    /// The path of a description of the code on this server, with the remedy.
    #[serde(rename = "type")]
    #[schema(example = "/problems/seats_unavailable")]
    pub kind: String,
    /// A text for people; the same for every occurrence of the code.
    pub title: &'a str,
    /// The HTTP status.
    pub status: u16,
    /// The stable name of the error, for programs.
    #[schema(value_type = ProblemCode)]
    pub code: &'a str,
    /// The details of this occurrence.
    pub detail: &'a str,
    /// The id of the request in the server's log.
    pub request_id: &'a str,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Whether the request had an effect.
    pub effect: EffectKnown,
    /// Fields that are wrong.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
    /// Seats that could not be taken.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub conflicts: &'a [ConflictBody],
    /// The booking that the refusal is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booking_id: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Only the status: the middleware writes the body, which needs the id of the request.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

/// The complete response to a problem.
#[must_use]
pub fn problem_response(problem: &Problem, id: &str) -> HttpResponse {
    let mut response = HttpResponse::build(problem.status_code());
    response.insert_header((header::CONTENT_TYPE, "application/problem+json"));
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(seconds) = problem.retry_after {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    if problem.code == Code::Unauthenticated {
        response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
    }
    if let Some((name, supported)) = problem.supported.as_deref() {
        response.insert_header((name.clone(), supported.as_str()));
    }
    response.body(json::write(&problem.body(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_503_says_when_to_come_back() {
        for code in Code::ALL.iter().filter(|code| code.status() == 503) {
            let problem = Problem::new(*code, "");
            assert!(problem.retryable && problem.retry_after.is_some(), "{code:?}");
        }
    }
}

//! The only error table: every `code` of the API with its status, title and remedy (RFC 9457).

use std::fmt;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use serde::Serialize;

use super::edge::problem_response;
use crate::domain::refusal::{Conflict, ConflictReason};

macro_rules! problem_codes {
    ($($(#[doc = $about:literal])+ $name:ident = $code:literal, $status:literal, $title:literal,)+) => {
        /// A stable name of what went wrong. The doc comment of each is its remedy.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $about])+ $name,)+
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Its name in `code`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status it comes with.
            #[must_use]
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// What it says to a person; the same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What to do about it.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => concat!($($about),+).trim(),)+ }
            }
        }
    };
}

problem_codes! {
    /// Send JSON (RFC 8259), not nested deeper than 128 levels.
    MalformedJson = "malformed_json", 400, "The body is not JSON",
    /// Correct the header, path or query parameter named in `errors`.
    InvalidParameter = "invalid_parameter", 400, "A parameter is not valid",
    /// Send a well-formed HTTP request.
    BadRequest = "bad_request", 400, "The request is not valid",
    /// Send `Authorization: Bearer` with the key of this installation.
    Unauthenticated = "unauthenticated", 401, "An API key is needed",
    /// Send it from a backend or from a page of this service. If a proxy changes `Host`, add the public host to `ALLOWED_HOSTS`.
    OriginNotAllowed = "origin_not_allowed", 403, "Pages of another origin may not write",
    /// Nothing there, or not yours to see. Check the id.
    NotFound = "not_found", 404, "Not found",
    /// Use one of the methods in `Allow`.
    MethodNotAllowed = "method_not_allowed", 405, "The resource does not take this method",
    /// Send the body faster.
    RequestTimeout = "request_timeout", 408, "The body did not arrive in time",
    /// Choose other seats; those in `conflicts` are gone for now.
    SeatsUnavailable = "seats_unavailable", 409, "Some seats are not available",
    /// The hold has ended and cannot be used any more. If money was taken, give it back; the seats lost are in `conflicts`.
    HoldExpired = "hold_expired", 409, "The hold has expired",
    /// The hold was given up. Begin with a new one.
    HoldReleased = "hold_released", 409, "The hold was released",
    /// The hold is a booking already. Cancel the booking instead.
    HoldConfirmed = "hold_confirmed", 409, "The hold is confirmed",
    /// The same Idempotency-Key is being executed. Repeat it after `Retry-After`.
    RequestInProgress = "request_in_progress", 409, "The same request is still being executed",
    /// The request waited in the queue until its time was over, and had no effect. Send it again if it is still wanted.
    RequestExpired = "request_expired", 410, "The request has expired",
    /// Send a smaller body.
    PayloadTooLarge = "payload_too_large", 413, "The body is too large",
    /// Send `Content-Type: application/json`; a seat plan may be `text/csv`, too. A body may be in gzip, and in no other coding.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body is of another type",
    /// Use `localhost` or a loopback address, add the name to `ALLOWED_HOSTS`, or set `ADMIN_API_KEY`.
    HostNotAllowed = "host_not_allowed", 421, "The service does not answer to this host name",
    /// Correct the fields in `errors`.
    ValidationFailed = "validation_failed", 422, "The request is not valid",
    /// Use a new Idempotency-Key for another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The key belongs to another request",
    /// Slow down; repeat after `Retry-After`.
    RateLimited = "rate_limited", 429, "Too many requests",
    /// Too many requests of this customer wait in the queue already. Wait for their outcomes.
    QueueLimitReached = "queue_limit_reached", 429, "The customer's requests are at the limit",
    /// The customer has as many seats of this schedule as one may have.
    SeatLimitReached = "seat_limit_reached", 429, "The customer's seats are at the limit",
    /// A fault of the service. Repeat with the same Idempotency-Key, and report the `request_id`.
    Internal = "internal", 500, "Something went wrong",
    /// Too much is waiting. Repeat after `Retry-After`.
    Overloaded = "overloaded", 503, "The service is overloaded",
    /// The primary database is away; reads go on. Repeat after `Retry-After`.
    ReadOnly = "read_only", 503, "Bookings are not possible at the moment",
    /// A dependency did not answer. Repeat with the same Idempotency-Key after `Retry-After`.
    DependencyUnavailable = "dependency_unavailable", 503, "A dependency is unavailable",
    /// This process is stopping. Repeat after `Retry-After`; another one will answer.
    Draining = "draining", 503, "The service is stopping",
}

/// Whether the request had an effect although it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EffectKnown {
    /// It had none.
    None,
    /// Not known when the answer left: repeat it with the same Idempotency-Key to learn.
    Unknown,
}

/// One field or parameter that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body (RFC 6901), a place in a CSV body such as `line 7, column 3`, or the
    /// name of a header or parameter.
    pub pointer: String,
    /// What kind of wrong, stable.
    pub code: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// One seat that could not be taken, as answers show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ConflictBody {
    /// The seat's public name.
    #[schema(example = "A-12-7")]
    pub label: String,
    /// `booked`, `held`, `blocked` or `contended`.
    #[schema(example = "booked")]
    pub reason: String,
}

/// An error as a handler returns it. The edge writes it as `application/problem+json` and adds the
/// request's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which row of the table.
    pub code: Code,
    /// What is special about this occurrence.
    pub detail: String,
    /// Whether there was an effect.
    pub effect: EffectKnown,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Seconds to wait before that.
    pub retry_after: Option<u32>,
    /// Fields that are wrong.
    pub errors: Vec<FieldError>,
    /// Seats that could not be taken.
    pub conflicts: Vec<ConflictBody>,
    /// What the resource takes instead: methods in `Allow` for 405, codings in `Accept-Encoding` for a 415
    /// that is about the coding of a body (RFC 9110 §12.5.3).
    pub takes: Option<Box<(HeaderName, String)>>,
    /// What is behind it: for the log, never for the caller.
    pub reason: Option<Box<str>>,
}

/// Fields wrong in one request; more are not listed.
pub const ERRORS_MAX: usize = 20;

impl Problem {
    /// A problem by its row, without anything special.
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
            conflicts: Vec::new(),
            takes: None,
            reason: None,
        }
    }

    /// The same with what is behind it, which the edge writes to the log.
    #[must_use]
    pub fn because(self, reason: impl fmt::Display) -> Self {
        Self { reason: Some(reason.to_string().into()), ..self }
    }

    /// The wrong fields of a body. If there are too many, the last entry says so.
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
        let message = message.into();
        let error = FieldError::new(name, "invalid", message.clone());
        Self { errors: vec![error], ..Self::new(Code::InvalidParameter, message) }
    }

    /// Seats that could not be taken. By locks alone nothing is decided: it may be repeated.
    #[must_use]
    pub fn conflicts(code: Code, conflicts: Vec<Conflict>, by_locks_alone: bool) -> Self {
        let detail = match conflicts.len() {
            0 => "the hold has ended".to_owned(),
            1 => "1 seat is not available".to_owned(),
            more => format!("{more} seats are not available"),
        };
        let body = |conflict: Conflict| ConflictBody {
            label: conflict.label,
            reason: conflict.reason.name().to_owned(),
        };
        let contended = conflicts.iter().any(|c| c.reason == ConflictReason::Contended);
        Self {
            conflicts: conflicts.into_iter().map(body).collect(),
            retryable: by_locks_alone,
            retry_after: contended.then_some(1),
            ..Self::new(code, detail)
        }
    }

    /// Nothing there, or not the caller's.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {what}"))
    }

    /// The answer's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer's body.
    #[must_use]
    pub fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            kind: format!("/problems/{}", self.code.name()),
            title: self.code.title().to_owned(),
            status: self.code.status(),
            code: self.code.name().to_owned(),
            detail: self.detail.clone(),
            request_id: request_id.to_owned(),
            retryable: self.retryable,
            effect: self.effect,
            errors: self.errors.clone(),
            conflicts: self.conflicts.clone(),
        }
    }
}

/// `application/problem+json` (RFC 9457) with the extensions of this API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct ProblemBody {
    /// A reference that this server answers with the remedy.
    #[serde(rename = "type")]
    #[schema(example = "/problems/seats_unavailable")]
    pub kind: String,
    /// The same for every occurrence of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What a program should look at.
    #[schema(example = "seats_unavailable")]
    pub code: String,
    /// What is special about this occurrence.
    pub detail: String,
    /// The id in the server's log.
    pub request_id: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Whether the request had an effect.
    pub effect: EffectKnown,
    /// Fields that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seats that could not be taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conflicts: Vec<ConflictBody>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for Problem {}

impl actix_web::ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.status()
    }

    fn error_response(&self) -> HttpResponse {
        problem_response(self, "")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own_and_a_remedy() {
        let names: HashSet<&str> = Code::ALL.iter().map(|code| code.name()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(!code.remedy().is_empty() && !code.title().is_empty(), "{code:?}");
            assert!((400..600).contains(&code.status()), "{code:?}");
        }
    }

    #[test]
    fn every_503_says_when_to_come_back() {
        for code in Code::ALL.iter().filter(|code| code.status() == 503) {
            let problem = Problem::new(*code, "");
            assert!(problem.retryable && problem.retry_after.is_some(), "{code:?}");
        }
    }
}

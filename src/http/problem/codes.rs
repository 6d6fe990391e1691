//! The only error table: every `code` of the API with its status, title, remedy and the treatment of a payment.

use crate::http::schemas::one_of;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

/// The `code` of a problem in the OpenAPI document.
#[derive(Debug)]
pub enum ProblemCode {}

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let codes = one_of(Code::ALL.iter().map(|code| code.name()));
        codes.description(Some("The stable name of an error.")).into()
    }
}

impl ToSchema for ProblemCode {}

/// How a shop treats a payment that it took before the request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// Nothing was sold, and repeating the request sells nothing.
    Refund,
    /// The booking exists.
    Keep,
    /// Nothing is decided: the answer to a repetition decides.
    Repeat,
    /// The request was not understood or not executed: the answer to the corrected request decides.
    Correct,
}

impl Payment {
    /// The instruction for a shop.
    #[must_use]
    pub fn instruction(self) -> &'static str {
        match self {
            Self::Refund => "Refund it.",
            Self::Keep => "Keep it: the booking exists.",
            Self::Repeat => {
                "Wait: repeat the request with the same key until another code decides."
            }
            Self::Correct => "Wait: correct the request and send it again; refund if you cannot.",
        }
    }
}

macro_rules! problem_codes {
    ($($(#[doc = $about:literal])+ $name:ident = $code:literal, $status:literal, $title:literal, $payment:ident,)+) => {
        /// The stable name of an error. The doc comment of a variant is its remedy.
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

            /// Its text for people; the same for every occurrence.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// How to treat a payment that was taken before the request was refused with this code.
            #[must_use]
            pub fn payment(self) -> Payment {
                match self { $(Self::$name => Payment::$payment,)+ }
            }

            /// How to correct the request, or when to repeat it.
            #[must_use]
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => concat!($($about),+).trim(),)+ }
            }
        }
    };
}

problem_codes! {
    /// Send JSON (RFC 8259), not nested deeper than 128 levels.
    MalformedJson = "malformed_json", 400, "The body is not JSON", Correct,
    /// Correct the header, path or query parameter named in `errors`.
    InvalidParameter = "invalid_parameter", 400, "A parameter is not valid", Correct,
    /// Send a well-formed HTTP request.
    BadRequest = "bad_request", 400, "The request is not valid", Correct,
    /// Send `Authorization: Bearer` with an API key that is valid.
    Unauthenticated = "unauthenticated", 401, "A valid API key is needed", Correct,
    /// Use a key with the scope that `detail` names.
    InsufficientScope = "insufficient_scope", 403, "The API key may not do this", Correct,
    /// Send it from a backend, from a page of this service, or with a publishable key that lists the origin of the
    /// page. If a proxy changes `Host`, add the public host to `ALLOWED_HOSTS`.
    OriginNotAllowed = "origin_not_allowed", 403, "Pages of this origin may not send the request", Correct,
    /// Nothing there, or not yours to see. Check the id.
    NotFound = "not_found", 404, "Not found", Correct,
    /// Use one of the methods in `Allow`.
    MethodNotAllowed = "method_not_allowed", 405, "The resource does not take this method", Correct,
    /// Send the body faster.
    RequestTimeout = "request_timeout", 408, "The body did not arrive in time", Repeat,
    /// Choose other seats; those in `conflicts` are gone for now. A `hold_id` there is a hold of the same customer:
    /// confirm it, or release it.
    SeatsUnavailable = "seats_unavailable", 409, "Some seats are not available", Refund,
    /// The hold has ended and cannot be used any more; the seats lost are in `conflicts`. Begin with a new one.
    HoldExpired = "hold_expired", 409, "The hold has expired", Refund,
    /// The hold was given up. Begin with a new one.
    HoldReleased = "hold_released", 409, "The hold was released", Refund,
    /// The hold is a booking already. Cancel the booking instead.
    HoldConfirmed = "hold_confirmed", 409, "The hold is confirmed", Keep,
    /// The hold became the booking in `booking_id`, and every seat of it was given back since. Refund the payment
    /// unless the cancellation did, or book anew.
    BookingCancelled = "booking_cancelled", 409, "The booking was cancelled", Refund,
    /// The customer holds and owns as many seats of this schedule as one customer may have. Ask for fewer seats, or
    /// give some back first.
    SeatLimitReached = "seat_limit_reached", 409, "The customer's seats are at the limit", Refund,
    /// The same Idempotency-Key is being executed. Repeat it after `Retry-After`.
    RequestInProgress = "request_in_progress", 409, "The same request is still being executed", Repeat,
    /// The request waited in the queue until its time was over, and had no effect. Send it again if it is still wanted.
    RequestExpired = "request_expired", 410, "The request has expired", Refund,
    /// Another request changed the hold since it was read. Read it again, decide anew, and send its version.
    HoldChanged = "hold_changed", 412, "The hold has another version", Correct,
    /// Send a smaller body.
    PayloadTooLarge = "payload_too_large", 413, "The body is too large", Correct,
    /// Send `Content-Type: application/json`; a seat plan may be `text/csv`, too. A body may be in gzip, and in no
    /// other coding.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body is of another type", Correct,
    /// Use `localhost` or a loopback address, add the name to `ALLOWED_HOSTS`, or set `ADMIN_API_KEY`.
    HostNotAllowed = "host_not_allowed", 421, "The service does not answer to this host name", Correct,
    /// Correct the fields in `errors`.
    ValidationFailed = "validation_failed", 422, "The request is not valid", Correct,
    /// Name all seats of the group in `errors`, or none: a table or a sofa is taken and given back whole.
    LinkedSeats = "linked_seats", 422, "Linked seats are taken and given back together", Correct,
    /// Use a new Idempotency-Key for another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The key belongs to another request", Correct,
    /// Slow down; repeat after `Retry-After`.
    RateLimited = "rate_limited", 429, "Too many requests", Repeat,
    /// Too many requests of this customer wait in the queue already. Wait for their outcomes.
    QueueLimitReached = "queue_limit_reached", 429, "The customer's requests are at the limit", Repeat,
    /// A fault of the service. Repeat with the same Idempotency-Key, and report the `request_id`.
    Internal = "internal", 500, "Something went wrong", Repeat,
    /// Too much is waiting. Repeat after `Retry-After`.
    Overloaded = "overloaded", 503, "The service is overloaded", Repeat,
    /// The primary database is unavailable; reads continue. Repeat after `Retry-After`.
    ReadOnly = "read_only", 503, "Bookings are not possible at the moment", Repeat,
    /// A dependency did not answer. Repeat with the same Idempotency-Key after `Retry-After`.
    DependencyUnavailable = "dependency_unavailable", 503, "A dependency is unavailable", Repeat,
    /// This process is stopping. Repeat after `Retry-After`; another one will answer.
    Draining = "draining", 503, "The service is stopping", Repeat,
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

    /// A code that does not allow a repetition is final: the payment must be refunded.
    #[test]
    fn every_refusal_of_a_confirmation_says_whether_to_refund() {
        for code in [
            Code::SeatsUnavailable,
            Code::HoldExpired,
            Code::HoldReleased,
            Code::BookingCancelled,
            Code::SeatLimitReached,
            Code::RequestExpired,
        ] {
            assert_eq!(code.payment(), Payment::Refund, "{code:?}");
        }
        for code in Code::ALL.iter().filter(|code| code.status() >= 429) {
            assert_eq!(code.payment(), Payment::Repeat, "{code:?}");
        }
    }
}

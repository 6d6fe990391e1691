//! Conversion of the errors of the inner layers into problems of the API.

use crate::actors::booking::SubmitError;
use crate::domain::execution_error::{ExecutionError, StoreError};
use crate::domain::plan::PlanError;
use crate::domain::rejection::Rejection;
use crate::service::bookings::BookingError;
use crate::service::queued_requests::EnqueueError;

use super::problem::{Code, EffectKnown, FieldError, Problem};

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound(what) => Self::not_found(what),
            Rejection::SeatsUnavailable(conflicts) => {
                Self::conflicts(Code::SeatsUnavailable, conflicts, false)
            }
            Rejection::HoldExpired(conflicts) => {
                Self::conflicts(Code::HoldExpired, conflicts, false)
            }
            Rejection::HoldReleased => Self::new(Code::HoldReleased, "the hold was released"),
            Rejection::HoldConfirmed => {
                Self::new(Code::HoldConfirmed, "the hold has become a booking")
            }
            Rejection::BookingCancelled(booking) => Self {
                booking_id: Some(Box::new(booking)),
                ..Self::new(
                    Code::BookingCancelled,
                    "the hold became a booking that was cancelled since; refund the payment unless the \
                     cancellation did, or book anew",
                )
            },
            Rejection::NotInBooking(labels) => {
                let list = labels.join(", ");
                let message = format!("the booking has no seat {list}; name seats of its own");
                Self::field("/seats", "not_in_booking", message)
            }
            Rejection::NotInHold(labels) => {
                let list = labels.join(", ");
                let message = format!("the hold has no seat {list}; name seats of its own");
                Self::field("/remove", "not_in_hold", message)
            }
            Rejection::HoldChanged { version } => Self::new(
                Code::HoldChanged,
                format!("the hold has version {version}; read it, and change that version"),
            ),
            Rejection::HoldTooLarge { max } => {
                let message = format!("a hold can have at most {max} seats; add fewer");
                Self::field("/add", "too_many_seats", message)
            }
            Rejection::SalesClosed => {
                let message = "seats of this schedule are not on sale now; see its sales_open_at and \
                               sales_close_at";
                Self::field("/schedule_id", "sales_closed", message)
            }
            Rejection::TooManySeats { max } => {
                let message =
                    format!("at most {max} seats can be taken in one request; ask for fewer");
                Self::field("/seats", "too_many_seats", message)
            }
            Rejection::SeatLimitReached { max, owned } => Self::new(
                Code::SeatLimitReached,
                format!("the customer has {owned} seats of this schedule and may have {max}"),
            ),
            Rejection::TooLate => {
                Self::new(Code::RequestExpired, "the request waited in the queue for too long")
            }
            Rejection::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "the Idempotency-Key was used for another request: the method, the path, or what the \
                 parameters and the body mean is different",
            ),
        }
    }
}

impl From<BookingError> for Problem {
    fn from(error: BookingError) -> Self {
        match error {
            BookingError::SeatsUnavailable { conflicts, by_locks_alone, owners_known } => {
                let problem = Self::conflicts(Code::SeatsUnavailable, conflicts, by_locks_alone);
                if owners_known { problem } else { problem.with_owners_unknown() }
            }
            BookingError::InProgress => {
                let detail = "a request with this Idempotency-Key is being executed";
                Self::new(Code::RequestInProgress, detail)
            }
            BookingError::NotExecuted(error) => error.into(),
            BookingError::NotQueued(error) => error.into(),
            BookingError::NoSchedule => Self::not_found("schedule"),
            BookingError::NotRead(error) => error.into(),
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let (code, detail) = match error {
            SubmitError::Overloaded => {
                (Code::Overloaded, "too many commands wait for this schedule")
            }
            SubmitError::Draining => (Code::Draining, "this process is stopping"),
            SubmitError::Failed(error) => return error.into(),
        };
        Self::new(code, detail)
    }
}

impl From<ExecutionError> for Problem {
    fn from(error: ExecutionError) -> Self {
        let (code, detail) = match error {
            ExecutionError::Withdrawn => {
                (Code::Overloaded, "the request waited longer than it may")
            }
            ExecutionError::Unavailable(_) => {
                (Code::DependencyUnavailable, "the database did not execute the request")
            }
            ExecutionError::ReadOnly => (Code::ReadOnly, READ_ONLY),
            // The batch has logged the reason.
            ExecutionError::Impossible(_) => (Code::Internal, "the request could not be stored"),
            ExecutionError::Unknown => {
                let detail = "the outcome is not known yet; repeat the request with the same Idempotency-Key";
                return Self::unknown_effect(detail);
            }
        };
        Self::new(code, detail)
    }
}

impl From<EnqueueError> for Problem {
    fn from(error: EnqueueError) -> Self {
        match error {
            EnqueueError::Full => Self::new(Code::Overloaded, "too many requests are queued"),
            EnqueueError::CustomerFull => {
                let detail = "as many requests of this customer wait for the schedule as may";
                let problem = Self::new(Code::QueueLimitReached, detail);
                Self { retryable: true, retry_after: Some(1), ..problem }
            }
            EnqueueError::Unavailable(reason) => {
                let detail = "the queue did not take the request";
                Self::new(Code::DependencyUnavailable, detail).because(reason)
            }
            EnqueueError::Unknown => {
                let detail =
                    "the queue did not confirm; repeat the request with the same Idempotency-Key";
                Self::unknown_effect(detail)
            }
            EnqueueError::NotQueueable => Self::new(Code::Internal, "the request cannot be queued"),
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Unfit(_) => {
                Self::new(Code::DependencyUnavailable, "the database did not answer").because(error)
            }
            StoreError::Timeout => Self::unknown_effect("the database did not answer in time"),
            StoreError::ReadOnly => Self::new(Code::ReadOnly, READ_ONLY),
            StoreError::OtherHistory => other_history(),
            StoreError::Corrupt(_) => {
                Self::new(Code::Internal, "the request could not be answered").because(error)
            }
        }
    }
}

/// The detail of every `read_only` problem.
const READ_ONLY: &str = "the database is read-only";

impl Problem {
    /// The problem of a dependency that did not answer, so that the effect of the request is unknown.
    fn unknown_effect(detail: &str) -> Self {
        let effect = EffectKnown::Unknown;
        Self { effect, ..Self::new(Code::DependencyUnavailable, detail) }
    }
}

/// The problem of a cursor from another history of the database: it is not valid in this history.
pub(super) fn other_history() -> Problem {
    let message = "the database was replaced since the page before, by a failover or a restore; read \
                   the list from its beginning, without a cursor";
    Problem::parameter_error("cursor", "other_history", message)
}

/// The problem with all errors of a plan. `base` is the JSON pointer of the plan in the body; it may be empty.
#[must_use]
pub fn plan_problem(errors: Vec<PlanError>, base: &str) -> Problem {
    let field = |error: PlanError| {
        let error = error.within(base);
        FieldError { pointer: error.pointer, code: error.code.to_owned(), message: error.message }
    };
    Problem::fields(errors.into_iter().map(field).collect())
}

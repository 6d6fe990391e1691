//! Errors of the inner layers to rows of the problem table: the last step of their way out.

use crate::actors::booking::SubmitError;
use crate::domain::execution_error::{ExecutionError, StoreError};
use crate::domain::plan::PlanError;
use crate::domain::rejection::Rejection;

use super::problem::{Code, EffectKnown, FieldError, Problem};

impl From<Rejection> for Problem {
    fn from(refusal: Rejection) -> Self {
        match refusal {
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
            Rejection::SalesClosed => {
                let message = "seats of this schedule are not on sale now; see its sales_open_at and \
                               sales_close_at";
                Self::field("/schedule_id", "sales_closed", message)
            }
            Rejection::TooManySeats { max } => {
                let message = format!("at most {max} seats can be taken at once; ask for fewer");
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

impl From<SubmitError> for Problem {
    fn from(declined: SubmitError) -> Self {
        match declined {
            SubmitError::Overloaded => {
                Self::new(Code::Overloaded, "too many commands wait for this schedule")
            }
            SubmitError::Draining => Self::new(Code::Draining, "this process is stopping"),
            SubmitError::Failed(failure) => failure.into(),
        }
    }
}

impl From<ExecutionError> for Problem {
    fn from(failure: ExecutionError) -> Self {
        match failure {
            ExecutionError::Withdrawn => {
                Self::new(Code::Overloaded, "the request waited longer than it may")
            }
            ExecutionError::Unavailable(_) => {
                Self::new(Code::DependencyUnavailable, "the database did not execute the request")
            }
            ExecutionError::ReadOnly => Self::new(Code::ReadOnly, "the database is read-only"),
            // The batch has said why.
            ExecutionError::Impossible(_) => {
                Self::new(Code::Internal, "the request could not be stored")
            }
            ExecutionError::Unknown => Self {
                effect: EffectKnown::Unknown,
                ..Self::new(
                    Code::DependencyUnavailable,
                    "the outcome is not known yet; repeat the request with the same Idempotency-Key",
                )
            },
        }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Unfit(_) => {
                Self::new(Code::DependencyUnavailable, "the database did not answer").because(error)
            }
            StoreError::Timeout => Self {
                effect: EffectKnown::Unknown,
                ..Self::new(Code::DependencyUnavailable, "the database did not answer in time")
            },
            StoreError::ReadOnly => Self::new(Code::ReadOnly, "the database is read-only"),
            StoreError::OtherHistory => other_history(),
            StoreError::Corrupt(_) => {
                Self::new(Code::Internal, "the request could not be answered").because(error)
            }
        }
    }
}

/// A cursor of another history of the database leads nowhere in this one.
pub(super) fn other_history() -> Problem {
    let message = "the database was replaced since the page before, by a failover or a restore; read the list from its beginning, without a cursor";
    Problem::parameter("cursor", message)
}

/// The problems of a plan that stands in a body under `base` (a JSON pointer, perhaps empty).
#[must_use]
pub fn plan_problem(errors: Vec<PlanError>, base: &str) -> Problem {
    let field = |error: PlanError| {
        let error = error.within(base);
        FieldError { pointer: error.pointer, code: error.code.to_owned(), message: error.message }
    };
    Problem::fields(errors.into_iter().map(field).collect())
}

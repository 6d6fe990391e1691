//! Recorded answers: how they are rendered, and how the audit parses them.

use serde::Deserialize;

use crate::domain::answer_codec::AnswerCodec;
use crate::domain::audit::answer::{RecordedEffect, RecordedPrices};
use crate::domain::catalogue::PlanVersion;
use crate::domain::command::RequestKey;
use crate::domain::effect::{Answer, RecordedAnswer, Resource};

use super::json;
use super::problem::Problem;
use super::responses::render;

/// Answers as JSON, recorded as they are sent.
#[derive(Debug, Clone, Copy)]
pub struct JsonAnswers;

impl AnswerCodec for JsonAnswers {
    fn render(&self, answer: &Answer, key: &RequestKey) -> RecordedAnswer {
        match answer {
            Answer::Effect(effect) => render(effect),
            Answer::Recorded(answer) => answer.clone(),
            Answer::Rejection(rejection) => {
                render_problem(&Problem::from(rejection.clone()), &key.key)
            }
        }
    }

    fn read(&self, answer: &RecordedAnswer) -> Option<RecordedEffect> {
        let resource = resource(answer)?;
        let bill = match &resource {
            Resource::Nothing if answer.status < 400 => {
                let is_empty = answer.status == 204 && answer.body.is_empty();
                return is_empty.then_some(RecordedEffect { resource, bill: None });
            }
            Resource::Nothing => {
                let problem: ProblemStatus = serde_json::from_str(&answer.body).ok()?;
                (problem.status == answer.status).then_some(None)?
            }
            _ => body_of(answer, &resource)?.bill_of(&resource)?,
        };
        Some(RecordedEffect { resource, bill })
    }
}

/// The recorded answer of a queued request that failed: a problem with the id of the request.
#[must_use]
pub fn render_problem(problem: &Problem, request: &str) -> RecordedAnswer {
    let body = json::write(&problem.body(request));
    RecordedAnswer { status: problem.code.status(), body, resource: Some(Resource::Nothing) }
}

/// The resource that an answer describes: the recorded one, or else the one that its body shows.
pub(super) fn resource(answer: &RecordedAnswer) -> Option<Resource> {
    answer.resource.clone().or_else(|| resource_in_body(answer))
}

/// Finds the resource that a body describes. Releases before the migration `m20261128_000040_describe_answers` did not
/// record the resource of an answer. Their answers are kept for `IDEMPOTENCY_TTL` (24 h), so remove this function once
/// an update from those releases is no longer supported.
fn resource_in_body(answer: &RecordedAnswer) -> Option<Resource> {
    if answer.status == 204 || answer.status >= 400 {
        return Some(Resource::Nothing);
    }
    let body = body(answer)?;
    let id = &body.id;
    Some(match body {
        Body { total: Some(_), expires_at: Some(_), .. } => Resource::Hold(id.parse().ok()?),
        Body { total: Some(_), .. } => Resource::Booking(id.parse().ok()?),
        Body { event_id: Some(_), .. } => Resource::Schedule(id.parse().ok()?),
        Body { reason: Some(_), .. } => Resource::Block(id.parse().ok()?),
        Body { version: Some(version), .. } => {
            Resource::SeatPlan(PlanVersion { id: body.id, version })
        }
        _ => Resource::Event(id.parse().ok()?),
    })
}

/// The fields that distinguish the bodies, and the prices.
#[derive(Deserialize)]
struct Body {
    id: String,
    seats: Option<serde_json::Value>,
    total: Option<Money>,
    expires_at: Option<String>,
    event_id: Option<String>,
    reason: Option<String>,
    version: Option<i32>,
}

/// The field of a problem that must agree with the recorded status.
#[derive(Deserialize)]
struct ProblemStatus {
    status: u16,
}

#[derive(Deserialize)]
struct Money {
    amount: i64,
    currency: String,
}

#[derive(Deserialize)]
struct Seat {
    label: String,
    price: i64,
}

fn body(answer: &RecordedAnswer) -> Option<Body> {
    serde_json::from_str(&answer.body).ok()
}

/// The body of an answer, if it describes this resource.
fn body_of(answer: &RecordedAnswer, resource: &Resource) -> Option<Body> {
    let body = body(answer)?;
    let is_version = match resource {
        Resource::SeatPlan(plan) => body.version == Some(plan.version),
        _ => true,
    };
    (body.id == resource.id() && is_version).then_some(body)
}

impl Body {
    /// The prices that the body states: `Some(None)` if its resource has none.
    fn bill_of(self, resource: &Resource) -> Option<Option<RecordedPrices>> {
        match resource {
            Resource::Hold(_) | Resource::Booking(_) => self.bill().map(Some),
            _ => Some(None),
        }
    }

    /// The prices that the body of a hold or booking states.
    fn bill(self) -> Option<RecordedPrices> {
        let Money { amount, currency } = self.total?;
        let seats: Vec<Seat> = serde_json::from_value(self.seats?).ok()?;
        let seats = seats.into_iter().map(|seat| (seat.label, seat.price)).collect();
        Some(RecordedPrices { seats, amount, currency })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;
    use crate::domain::catalogue::{EnteredPlan, Event, Schedule};
    use crate::domain::claims::{BlockRow, BookingRow, BookingStatus, HoldRow, HoldStatus};
    use crate::domain::clock::EpochMs;
    use crate::domain::command::Queued;
    use crate::domain::effect::{BlockView, BookingView, Effect, HoldView, PricedSeat};
    use crate::domain::ids::SeatNumber;
    use crate::domain::ids::{
        BlockId, BookingId, CustomerId, EventId, HoldId, RequestId, ScheduleId,
    };
    use crate::domain::rejection::Rejection;
    use crate::domain::rules::ScheduleRules;
    use crate::http::responses::{render_event, render_plan, render_schedule};

    const NOW: EpochMs = EpochMs(1_763_812_496_789);
    const SEAT: SeatNumber = SeatNumber(0);

    fn priced() -> Vec<PricedSeat> {
        vec![PricedSeat { number: SEAT, label: "A-1-1".to_owned(), price: 900 }]
    }

    /// Reads an answer, and checks that the answer of an older release, which has no recorded resource, gives the same.
    fn read_answer(answer: &RecordedAnswer) -> Option<RecordedEffect> {
        let read = JsonAnswers.read(answer);
        let older = RecordedAnswer { resource: None, ..answer.clone() };
        assert_eq!(JsonAnswers.read(&older), read);
        read
    }

    fn stated(resource: Resource, bill: Option<RecordedPrices>) -> Option<RecordedEffect> {
        Some(RecordedEffect { resource, bill })
    }

    fn bill() -> RecordedPrices {
        RecordedPrices {
            seats: vec![("A-1-1".to_owned(), 900)],
            amount: 900,
            currency: "EUR".to_owned(),
        }
    }

    #[test]
    fn every_effect_is_read_as_it_was_written() {
        let schedule = ScheduleId(7);
        let uuid = Uuid::from_u128(5);
        let customer = CustomerId::parse("ada").unwrap();
        let currency = "EUR".to_owned();
        let hold = HoldId { schedule, uuid };
        let booking = BookingId { schedule, uuid };
        let block = BlockId { schedule, uuid };
        let row = HoldRow {
            id: hold,
            customer: customer.clone(),
            seats: vec![SEAT],
            version: 1,
            status: HoldStatus::Held,
            created_at: NOW,
            until: NOW,
            booking: None,
        };
        let view =
            HoldView { row, seats: priced(), currency: currency.clone(), ends_at: NOW, now: NOW };
        assert_eq!(
            read_answer(&render(&Effect::Held(view))),
            stated(Resource::Hold(hold), Some(bill()))
        );
        let row = BookingRow {
            id: booking,
            customer,
            seats: vec![SEAT],
            live_seats: 1,
            status: BookingStatus::Confirmed,
            hold: Some(hold),
            created_at: NOW,
            cancelled_at: None,
        };
        let view = BookingView { row, seats: priced(), cancelled_seats: Vec::new(), currency };
        let expected = stated(Resource::Booking(booking), Some(bill()));
        assert_eq!(read_answer(&render(&Effect::Cancelled(view))), expected);
        let reason = "camera".to_owned();
        let row = BlockRow { id: block, seats: vec![SEAT], reason, created_at: NOW, lifted: false };
        let view = BlockView { row, labels: vec!["A-1-1".to_owned()] };
        assert_eq!(
            read_answer(&render(&Effect::Blocked(view))),
            stated(Resource::Block(block), None)
        );
        assert_eq!(read_answer(&render(&Effect::Unblocked)), stated(Resource::Nothing, None));
    }

    #[test]
    fn plans_events_and_schedules_are_read_as_they_were_written() {
        let plan = PlanVersion { id: "hall".to_owned(), version: 3 };
        let entered = EnteredPlan { version: plan.clone(), notes: vec!["a note".to_owned()] };
        assert_eq!(
            read_answer(&render_plan(&entered)),
            stated(Resource::SeatPlan(plan.clone()), None)
        );
        let event = Event { id: EventId(4), name: "Lear".to_owned(), created_at: NOW };
        assert_eq!(read_answer(&render_event(&event)), stated(Resource::Event(EventId(4)), None));
        let schedule = Schedule {
            id: ScheduleId(7),
            event: EventId(4),
            starts_at: NOW,
            rules: ScheduleRules::usual(Duration::from_secs(600)),
            plan,
            seats: 40,
            created_at: NOW,
        };
        let expected = stated(Resource::Schedule(ScheduleId(7)), None);
        assert_eq!(read_answer(&render_schedule(&schedule)), expected);
    }

    #[test]
    fn a_refusal_is_recorded_as_its_problem_and_describes_nothing() {
        let key = Queued::key(RequestId { schedule: ScheduleId(7), uuid: Uuid::from_u128(5) });
        let answer = JsonAnswers.render(&Answer::Rejection(Rejection::TooLate), &key);
        assert_eq!(answer.status, 410);
        assert!(answer.body.contains(r#""code":"request_expired""#), "{}", answer.body);
        assert!(answer.body.contains(&key.key), "{}", answer.body);
        assert_eq!(read_answer(&answer), stated(Resource::Nothing, None));
        assert_eq!(read_answer(&RecordedAnswer { status: 409, ..answer }), None);
    }

    #[test]
    fn a_body_that_is_never_written_is_not_read() {
        for (status, body) in [(204, "x"), (200, ""), (200, "{}"), (200, r#"{"id":"x"}"#)] {
            let answer = RecordedAnswer { status, body: body.to_owned(), resource: None };
            assert_eq!(read_answer(&answer), None, "{status} {body}");
        }
    }
}

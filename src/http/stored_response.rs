//! Recorded answers: what is written under a key, and how the audit reads it again.

use serde::Deserialize;

use crate::domain::audit::answer::{RecordedEffect, RecordedPrices};
use crate::domain::catalogue::PlanVersion;
use crate::domain::command::RequestKey;
use crate::domain::effect::{Answer, RecordedAnswer};
use crate::domain::rejection::Rejection;

use super::json;
use super::problem::Problem;
use super::responses::render;

/// The form in which an answer is recorded under a key: as it is, or would be, sent.
#[must_use]
pub fn render_answer(answer: &Answer, key: &RequestKey) -> RecordedAnswer {
    match answer {
        Answer::Effect(effect) => render(effect),
        Answer::Recorded(answer) => answer.clone(),
        Answer::Rejection(refusal) => render_refusal(refusal.clone(), key),
    }
}

fn render_refusal(refusal: Rejection, key: &RequestKey) -> RecordedAnswer {
    render_problem(&Problem::from(refusal), &key.key)
}

/// A problem as it is recorded for a request that went through the queue, and is known by its own name.
#[must_use]
pub fn render_problem(problem: &Problem, request: &str) -> RecordedAnswer {
    let body = json::write(&problem.body(request));
    RecordedAnswer { status: problem.code.status(), body }
}

/// The fields by which the bodies differ; `seats` is left to each kind.
#[derive(Deserialize)]
struct Recorded {
    id: String,
    seats: Option<serde_json::Value>,
    total: Option<Money>,
    expires_at: Option<String>,
    event_id: Option<String>,
    reason: Option<String>,
    version: Option<i32>,
}

/// A problem as far as it matters here.
#[derive(Deserialize)]
struct Refused {
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

/// What a recorded answer tells of; `None` if nobody here can have written it.
#[must_use]
pub fn read_answer(answer: &RecordedAnswer) -> Option<RecordedEffect> {
    if answer.status == 204 {
        return answer.body.is_empty().then_some(RecordedEffect::Nothing);
    }
    if answer.status >= 400 {
        let problem: Refused = serde_json::from_str(&answer.body).ok()?;
        return (problem.status == answer.status).then_some(RecordedEffect::Nothing);
    }
    let body: Recorded = serde_json::from_str(&answer.body).ok()?;
    let id = &body.id;
    if let Some(total) = body.total {
        let seats: Vec<Seat> = serde_json::from_value(body.seats?).ok()?;
        let seats = seats.into_iter().map(|seat| (seat.label, seat.price)).collect();
        let bill = RecordedPrices { seats, amount: total.amount, currency: total.currency };
        return Some(match body.expires_at {
            Some(_) => RecordedEffect::Hold(id.parse().ok()?, bill),
            None => RecordedEffect::Booking(id.parse().ok()?, bill),
        });
    }
    Some(match (body.event_id, body.reason, body.version) {
        (Some(_), ..) => RecordedEffect::Schedule(id.parse().ok()?),
        (None, Some(_), _) => RecordedEffect::Block(id.parse().ok()?),
        (None, None, Some(version)) => RecordedEffect::Plan(PlanVersion { id: body.id, version }),
        (None, None, None) => RecordedEffect::Event(id.parse().ok()?),
    })
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
    use crate::domain::rules::ScheduleRules;
    use crate::http::responses::{render_event, render_plan, render_schedule};

    const NOW: EpochMs = EpochMs(1_763_812_496_789);
    const SEAT: SeatNumber = SeatNumber(0);

    fn priced() -> Vec<PricedSeat> {
        vec![PricedSeat { number: SEAT, label: "A-1-1".to_owned(), price: 900 }]
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
        let (schedule, uuid) = (ScheduleId(7), Uuid::from_u128(5));
        let customer = CustomerId::parse("ada").unwrap();
        let currency = "EUR".to_owned();
        let (hold, booking) = (HoldId { schedule, uuid }, BookingId { schedule, uuid });
        let block = BlockId { schedule, uuid };
        let row = HoldRow {
            id: hold,
            customer: customer.clone(),
            seats: vec![SEAT],
            status: HoldStatus::Held,
            created_at: NOW,
            until: NOW,
            booking: None,
        };
        let view =
            HoldView { row, seats: priced(), currency: currency.clone(), ends_at: NOW, now: NOW };
        assert_eq!(
            read_answer(&render(&Effect::Held(view))),
            Some(RecordedEffect::Hold(hold, bill()))
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
        let told = Some(RecordedEffect::Booking(booking, bill()));
        assert_eq!(read_answer(&render(&Effect::Cancelled(view))), told);
        let reason = "camera".to_owned();
        let row = BlockRow { id: block, seats: vec![SEAT], reason, created_at: NOW, lifted: false };
        let view = BlockView { row, labels: vec!["A-1-1".to_owned()] };
        assert_eq!(
            read_answer(&render(&Effect::Blocked(view))),
            Some(RecordedEffect::Block(block))
        );
        assert_eq!(read_answer(&render(&Effect::Unblocked)), Some(RecordedEffect::Nothing));
    }

    #[test]
    fn what_the_box_office_entered_is_read_as_it_was_written() {
        let plan = PlanVersion { id: "hall".to_owned(), version: 3 };
        let entered = EnteredPlan { version: plan.clone(), notes: vec!["a note".to_owned()] };
        assert_eq!(read_answer(&render_plan(&entered)), Some(RecordedEffect::Plan(plan.clone())));
        let event = Event { id: EventId(4), name: "Lear".to_owned(), created_at: NOW };
        assert_eq!(read_answer(&render_event(&event)), Some(RecordedEffect::Event(EventId(4))));
        let schedule = Schedule {
            id: ScheduleId(7),
            event: EventId(4),
            starts_at: NOW,
            rules: ScheduleRules::usual(Duration::from_secs(600)),
            plan,
            seats: 40,
            created_at: NOW,
        };
        let told = Some(RecordedEffect::Schedule(ScheduleId(7)));
        assert_eq!(read_answer(&render_schedule(&schedule)), told);
    }

    #[test]
    fn a_refusal_is_recorded_as_the_problem_it_is_and_tells_of_nothing() {
        let key = Queued::key(RequestId { schedule: ScheduleId(7), uuid: Uuid::from_u128(5) });
        let answer = render_answer(&Answer::Rejection(Rejection::TooLate), &key);
        assert_eq!(answer.status, 410);
        assert!(answer.body.contains(r#""code":"request_expired""#), "{}", answer.body);
        assert!(answer.body.contains(&key.key), "{}", answer.body);
        assert_eq!(read_answer(&answer), Some(RecordedEffect::Nothing));
        assert_eq!(read_answer(&RecordedAnswer { status: 409, ..answer }), None);
    }

    #[test]
    fn what_was_never_written_is_not_read() {
        for (status, body) in [(204, "x"), (200, ""), (200, "{}"), (200, r#"{"id":"x"}"#)] {
            let answer = RecordedAnswer { status, body: body.to_owned() };
            assert_eq!(read_answer(&answer), None, "{status} {body}");
        }
    }
}

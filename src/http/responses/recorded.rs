//! The answers to effects, as they are recorded under an Idempotency-Key.

use serde::Serialize;

use super::{BlockBody, BookingBody, EventBody, HoldBody, ScheduleBody};
use crate::domain::catalogue::{Counts, Event, Schedule};
use crate::domain::effect::{Effect, RecordedAnswer, Resource};
use crate::http::json;

/// A recorded answer with a body.
pub(super) fn answer(status: u16, resource: Resource, body: &impl Serialize) -> RecordedAnswer {
    RecordedAnswer { status, body: json::write(body), resource: Some(resource) }
}

const NO_CONTENT: u16 = 204;

/// The answer to a command's effect.
#[must_use]
pub fn render(effect: &Effect) -> RecordedAnswer {
    match effect.clone() {
        Effect::Held(hold) => answer(201, Resource::Hold(hold.row.id), &HoldBody::from(hold)),
        Effect::Extended(hold) | Effect::Changed(hold) => {
            answer(200, Resource::Hold(hold.row.id), &HoldBody::from(hold))
        }
        Effect::Booked(booking) | Effect::Confirmed(booking) | Effect::Cancelled(booking) => {
            answer(200, Resource::Booking(booking.row.id), &BookingBody::from(booking))
        }
        Effect::Blocked(block) => {
            answer(201, Resource::Block(block.row.id), &BlockBody::from(block))
        }
        Effect::Released(_) | Effect::Expired | Effect::Unblocked => {
            let body = String::new();
            let resource = Some(Resource::Nothing);
            RecordedAnswer { status: NO_CONTENT, body, resource }
        }
    }
}

/// The answer to a new event.
#[must_use]
pub fn render_event(event: &Event) -> RecordedAnswer {
    answer(201, Resource::Event(event.id), &EventBody::from(event.clone()))
}

/// The answer to a new schedule: all its seats are for sale at version 1.
#[must_use]
pub fn render_schedule(schedule: &Schedule) -> RecordedAnswer {
    let counts = Counts { available: schedule.seats, ..Counts::default() };
    let body = ScheduleBody {
        version: Some(1),
        counts: Some(counts.into()),
        ..ScheduleBody::from(schedule.clone())
    };
    answer(201, Resource::Schedule(schedule.id), &body)
}

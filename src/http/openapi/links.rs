//! The links of the document: the operations that the response of an operation leads to, with the values that they need.

use serde_json::{Value, json};
use utoipa::openapi::RefOr;
use utoipa::openapi::link::LinkBuilder;
use utoipa::openapi::path::Operation;

/// Where a link takes the values of the linked operation from: names, and runtime expressions.
type Values = &'static [(&'static str, &'static str)];

const ID: &str = "$response.body#/id";
const OF_SCHEDULE: Values = &[("schedule_id", ID)];
const BY_ID: Values = &[("id", ID)];

/// A link: an operation, the linked operation, values of its parameters, and values of its body.
type Row = (&'static str, &'static str, Values, Values);

const LINKS: &[Row] = &[
    ("create_event", "read_event", BY_ID, &[]),
    ("create_event", "list_schedules", BY_ID, &[]),
    ("create_event", "create_schedule", BY_ID, &[]),
    ("create_schedule", "read_schedule", BY_ID, &[]),
    ("create_schedule", "list_seats", BY_ID, &[]),
    ("create_schedule", "read_availability", BY_ID, &[]),
    ("create_schedule", "stream_seats", BY_ID, &[]),
    ("create_schedule", "create_block", BY_ID, &[]),
    ("create_schedule", "list_blocks", BY_ID, &[]),
    ("create_schedule", "list_bookings", OF_SCHEDULE, &[]),
    ("create_schedule", "create_hold", &[], OF_SCHEDULE),
    ("create_schedule", "create_booking", &[], OF_SCHEDULE),
    ("put_seat_plan", "read_seat_plan", PLAN, &[]),
    ("create_block", "lift_block", &[("id", "$request.path.id"), ("block", ID)], &[]),
    ("create_block", "list_blocks", &[("id", "$request.path.id")], &[]),
    ("create_hold", "read_hold", BY_ID, &[]),
    ("create_hold", "extend_hold", BY_ID, &[]),
    ("create_hold", "change_hold", BY_ID, &[]),
    ("create_hold", "release_hold", BY_ID, &[]),
    ("create_hold", "list_holds", OF_CUSTOMER, &[]),
    ("create_hold", "create_booking", &[], &[("hold_id", ID)]),
    ("create_hold", "read_booking_request", BY_ID, &[]),
    ("create_hold", "stream_booking_request", BY_ID, &[]),
    ("create_booking", "read_booking", BY_ID, &[]),
    ("create_booking", "cancel_booking", BY_ID, &[]),
    ("create_booking", "list_bookings", OF_CUSTOMER, &[]),
    ("create_booking", "read_booking_request", BY_ID, &[]),
    ("create_booking", "stream_booking_request", BY_ID, &[]),
    ("create_api_key", "read_api_key", BY_ID, &[]),
    ("create_api_key", "rotate_api_key", BY_ID, &[]),
    ("create_api_key", "revoke_api_key", BY_ID, &[]),
];

const PLAN: Values = &[("id", ID), ("version", "$response.body#/version")];

const OF_CUSTOMER: Values = &[
    ("customer_id", "$response.body#/customer_id"),
    ("schedule_id", "$response.body#/schedule_id"),
];

/// Adds the links of an operation: to its response 202 those of queued requests, to its other success the others.
pub(super) fn complete(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    for (_, target, parameters, body) in LINKS.iter().filter(|(from, ..)| *from == id) {
        let is_of_request = target.contains("booking_request");
        let leads = |status: &str| status.starts_with('2') && (status == "202") == is_of_request;
        let mut link = LinkBuilder::new().operation_id(*target);
        for (name, value) in *parameters {
            link = link.parameter(*name, *value);
        }
        if !body.is_empty() {
            let body = body.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
            link = link.request_body(Some(Value::Object(body.collect())));
        }
        let link = link.build();
        for (status, response) in &mut operation.responses.responses {
            if let RefOr::T(response) = response
                && leads(status)
            {
                response.links.insert((*target).to_owned(), RefOr::T(link.clone()));
            }
        }
    }
}

/// The number of links in the table.
#[cfg(test)]
pub(super) fn count() -> usize {
    LINKS.len()
}

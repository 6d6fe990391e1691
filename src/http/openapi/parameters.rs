//! The parameters of the operations: a handler lists their names, and each name has one schema here.

use serde_json::json;
use utoipa::PartialSchema as _;
use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::schema::{Schema, Type};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, RefOr, Required};

use crate::domain::ids::{NUMBER_ID_PATTERN, SCOPED_ID_PATTERN};
use crate::formats::pretix::IdFrom;
use crate::formats::prices::PRICE_PATTERN;
use crate::http::handlers::seats::SEATS_PAGE_MAX;
use crate::http::idempotency_key::KEY_PATTERN;
use crate::http::problem::Code;
use crate::http::query::{PAGE_DEFAULT, PAGE_MAX};
use crate::http::schemas::{
    KnownCustomer, NewPlanId, NumberId, PlanVersionNumber, ScopedId, SeatStatus, SeatsVersion,
    cursor, one_of, text, whole_number,
};

/// Gives each parameter of an operation its schema and description, and adds the headers that several operations take.
pub(super) fn complete(path: &str, operation: &mut Operation) {
    let takes = |name: &str| parameters(operation).any(|parameter| parameter.name == name);
    let min_version = takes("min_version").then_some("X-Seatlock-Min-Version");
    let is_cached = operation.responses.responses.contains_key("304");
    let headers = [min_version, is_cached.then_some("If-None-Match")];
    let headers = headers.into_iter().flatten().map(|name| {
        let header = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
        RefOr::T(header.required(Required::False).build())
    });
    operation.parameters.get_or_insert_default().extend(headers);
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        if let Some((schema, about)) = described(path, &parameter.name) {
            parameter.schema = Some(schema);
            if parameter.description.is_none() {
                parameter.description = Some(about.to_owned());
            }
        }
        if parameter.name == "price" {
            parameter.style = Some(ParameterStyle::Form);
            parameter.explode = Some(true);
        }
    }
}

/// The parameters of an operation.
pub(super) fn parameters(operation: &Operation) -> impl Iterator<Item = &Parameter> {
    operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) => Some(parameter),
        RefOr::Ref(_) => None,
    })
}

/// The schema of a parameter and its description.
fn described(path: &str, name: &str) -> Option<(RefOr<Schema>, &'static str)> {
    Some(match name {
        "id" => id(path),
        "block" => (ScopedId::schema(), "The id of the block."),
        "version" => (PlanVersionNumber::schema(), "The version of the plan."),
        "code" => {
            let codes = one_of(Code::ALL.iter().map(|code| code.name()));
            (codes.into(), "The `code` of a problem.")
        }
        "customer_id" => (KnownCustomer::schema(), "The shop's name for a customer."),
        "schedule_id" => (NumberId::schema(), "The id of a schedule."),
        "section" => (text().into(), "Only the seats of sections with this name."),
        "status" => (SeatStatus::schema(), "Only the seats in this state."),
        "limit" if path.ends_with("/seats") => {
            let limit = whole_number(1, i64::try_from(SEATS_PAGE_MAX).ok()?);
            (limit.into(), "The most items of the page; all by default.")
        }
        "limit" => {
            let limit = whole_number(1, i64::try_from(PAGE_MAX).ok()?);
            (limit.default(Some(json!(PAGE_DEFAULT))).into(), "The most items of the page.")
        }
        "cursor" => (cursor(cursor_pattern(path)).into(), "The `next_cursor` of the page before."),
        "min_version" | "X-Seatlock-Min-Version" => {
            let about = "The answer is not older than this version, from `X-Seatlock-Version`.";
            (SeatsVersion::schema(), about)
        }
        "dry_run" => {
            let flag = ObjectBuilder::new().schema_type(Type::Boolean).default(Some(json!(false)));
            (flag.into(), "Checks the plan without storing it.")
        }
        "id_from" => {
            let sources = one_of(<IdFrom as strum::VariantNames>::VARIANTS.iter().copied());
            (sources.into(), "The source of the labels of a pretix plan; not with CSV.")
        }
        "price" => {
            let price = text().pattern(Some(PRICE_PATTERN)).examples([json!("9900")]);
            let prices = ArrayBuilder::new().items(price).unique_items(true);
            let about = "Minor units for all seats (`9900`) or for a category (`Category I=9900`); may \
                         be repeated, once for each category.";
            (prices.into(), about)
        }
        "verbose" => (text().into(), "With any value, also none: every check is listed."),
        "Idempotency-Key" => {
            let key = text().pattern(Some(KEY_PATTERN));
            (key.into(), "A repeated request with the same key has one effect; bare or quoted.")
        }
        "If-Match" => {
            let version = text().pattern(Some("^(\\*|\"[0-9]{1,9}\")$"));
            (version.into(), "The `version` that the hold must have, in quotes; `*` for any.")
        }
        "Hold-Secret" => {
            let about = "The secret of the hold, with a publishable key; ignored with any other.";
            (text().into(), about)
        }
        "Prefer" => {
            let about = "Preferences (RFC 7240): `respond-async`, or `wait=<seconds>`; others are \
                         ignored.";
            (text().into(), about)
        }
        "Last-Event-ID" => {
            let id = text().pattern(Some("^([0-9A-Za-z]{8}\\.)?[0-9]{1,18}$"));
            (id.examples([json!("5ea71ock.17")]).into(), "Resume after this event.")
        }
        "If-None-Match" => {
            (text().into(), "Tags from `ETag`: with the current one the answer is 304.")
        }
        _ => return None,
    })
}

/// The schema of `{id}` in a path.
fn id(path: &str) -> (RefOr<Schema>, &'static str) {
    match collection(path) {
        "holds" => (ScopedId::schema(), "The id of the hold."),
        "bookings" => (ScopedId::schema(), "The id of the booking."),
        "booking-requests" => (ScopedId::schema(), "The id of the request."),
        "events" => (NumberId::schema(), "The id of the event."),
        "api-keys" => (NumberId::schema(), "The id of the key."),
        "seat-plans" if path.ends_with("{id}") => {
            (NewPlanId::schema(), "The id of the plan, not only dots.")
        }
        "seat-plans" => (text().min_length(Some(1)).into(), "The id of the plan."),
        _ => (NumberId::schema(), "The id of the schedule."),
    }
}

/// The form of the ids at which pages of a list begin.
fn cursor_pattern(path: &str) -> &'static str {
    match path.rsplit('/').next() {
        Some("seats") => "^[0-9]{1,9}$",
        Some("events" | "schedules" | "api-keys") => NUMBER_ID_PATTERN,
        _ => SCOPED_ID_PATTERN,
    }
}

/// The first part of a path of the API: `holds` in `/api/v1/holds/{id}`.
fn collection(path: &str) -> &str {
    let rest = path.strip_prefix("/api/v1/").unwrap_or(path);
    rest.split('/').next().unwrap_or_default()
}

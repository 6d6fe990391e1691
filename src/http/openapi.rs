//! The OpenAPI 3.1 document of the API, generated from the handlers. What a handler does not state is completed here:
//! the schemas of parameters, the problems, and the links from a response to the next requests.

mod links;
mod parameters;
mod problems;
mod security;

use std::time::Duration;

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{RefOr, Response};
use utoipa::{Modify, OpenApi};

use super::handlers::{
    api_keys, blocks, bookings, events, holds, operations, plans, requests, schedules, seats,
    stream,
};
use super::problem::ProblemBody;
use super::schemas::{SeatLabel, change};
use security::Security;

/// The document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Seatlock",
        description = "Seat reservations: exactly one buyer gets each seat, and nothing acknowledged is lost. \
                       Every path that answers GET also answers HEAD, and every path answers OPTIONS."
    ),
    servers((url = "/", description = "The service that this document came from.")),
    paths(
        events::create, events::read, events::list,
        schedules::create, schedules::read, schedules::list,
        plans::put, plans::read, blocks::create, blocks::list, blocks::lift,
        seats::list, seats::availability, stream::listen,
        holds::create, holds::read, holds::list, holds::extend, holds::change, holds::release,
        bookings::create, bookings::read, bookings::list, bookings::cancel,
        requests::read, requests::listen,
        api_keys::create, api_keys::read, api_keys::list, api_keys::revoke, api_keys::rotate,
        operations::live, operations::ready, operations::metrics, operations::problem,
    ),
    tags(
        (name = "customers", description = "Holds, bookings and queued requests."),
        (name = "map", description = "Schedules, seats and their states."),
        (name = "box office", description = "Events, schedules, seat plans and blocks."),
        (name = "keys", description = "API keys."),
        (name = "operations", description = "Health, metrics, and the explanation of problems."),
    ),
    components(schemas(ProblemBody, SeatLabel)),
    modifiers(&Security, &Completion)
)]
pub struct Api;

/// Completes the operations.
struct Completion;

impl Modify for Completion {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let mut components = document.components.take().unwrap_or_default();
        for (path, operation) in operations(document) {
            parameters::complete(path, operation);
            problems::complete(path, operation, &mut components);
            links::complete(operation);
            for (status, response) in &mut operation.responses.responses {
                describe(status, response);
            }
        }
        document.components = Some(components);
    }
}

/// Describes a success that its handler does not describe.
fn describe(status: &str, response: &mut RefOr<Response>) {
    let RefOr::T(response) = response else { return };
    if response.description.is_empty() {
        let about = match status {
            "201" => "It was created.",
            "202" => "The request is queued.",
            _ => "The request was executed.",
        };
        about.clone_into(&mut response.description);
    }
}

/// Every operation with its path.
fn operations(
    document: &mut utoipa::openapi::OpenApi,
) -> impl Iterator<Item = (&str, &mut Operation)> {
    document.paths.paths.iter_mut().flat_map(|(path, item)| {
        let PathItem { get, put, post, delete, patch, .. } = item;
        let all = [get, put, post, delete, patch];
        all.into_iter().filter_map(|operation| Some((path.as_str(), operation.as_mut()?)))
    })
}

/// The document as JSON. `hold_ttl_max` is the longest lifetime of a hold in this installation.
#[expect(clippy::expect_used, reason = "an empty document would be a wrong answer")]
#[must_use]
pub fn json(hold_ttl_max: Duration) -> String {
    let mut document = Api::openapi();
    let schemas = document.components.as_mut().map(|components| &mut components.schemas);
    change(schemas.and_then(|schemas| schemas.get_mut("HoldLifetime")), |lifetime| {
        let seconds = usize::try_from(hold_ttl_max.as_secs()).unwrap_or(usize::MAX);
        lifetime.maximum = Some(seconds.into());
    });
    document.to_pretty_json().expect("the document is JSON") + "\n"
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    fn document() -> Value {
        serde_json::from_str(&json(Duration::from_secs(77))).unwrap()
    }

    /// Every operation by its id.
    fn by_id(document: &Value) -> HashMap<String, Value> {
        let items = document["paths"].as_object().unwrap().values();
        let operations = items.flat_map(|item| item.as_object().unwrap().values());
        let mut by_id = HashMap::new();
        for operation in operations {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(by_id.insert(id.clone(), operation.clone()).is_none(), "{id} is used twice");
        }
        by_id
    }

    #[test]
    fn every_refusal_is_a_problem_with_its_codes() {
        for (id, operation) in by_id(&document()) {
            for (status, response) in operation["responses"].as_object().unwrap() {
                let is_refusal =
                    status.starts_with(['4', '5']) && (&*id, &**status) != ("ready", "503");
                let shared = response["$ref"].as_str().unwrap_or_default();
                let is_problem = shared.starts_with("#/components/responses/");
                assert_eq!(is_refusal, is_problem, "{id} {status}: {response}");
            }
        }
        let shared = &document()["components"]["responses"]["HoldConfirmed"];
        let schema = &shared["content"]["application/problem+json"]["schema"];
        assert_eq!(schema["allOf"][1]["properties"]["code"]["enum"][0], "hold_confirmed");
    }

    #[test]
    fn every_link_leads_to_an_operation_with_the_parameters_that_it_names() {
        let operations = by_id(&document());
        let mut links = 0;
        for (id, operation) in &operations {
            let responses = operation["responses"].as_object().unwrap().values();
            for link in responses.filter_map(|response| response["links"].as_object()) {
                for link in link.values() {
                    let target = &operations[link["operationId"].as_str().unwrap()];
                    let taken = target["parameters"].as_array().cloned().unwrap_or_default();
                    let named = link["parameters"].as_object().cloned().unwrap_or_default();
                    for name in named.keys() {
                        let is_taken = taken.iter().any(|parameter| parameter["name"] == **name);
                        assert!(is_taken, "{id}: {link}");
                    }
                    links += 1;
                }
            }
        }
        assert_eq!(links, links::count());
    }

    #[test]
    fn the_limit_of_the_installation_is_in_the_document() {
        assert_eq!(document()["components"]["schemas"]["HoldLifetime"]["maximum"], 77);
    }
}

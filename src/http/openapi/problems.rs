//! The problems with which the operations refuse requests. Those that follow from the form of an operation are added to
//! it: what every path, path parameter, body or key can cause. A handler lists the others, as codes in the description
//! of a response: `(status = 409, description = "hold_expired, hold_released")`.

use std::collections::BTreeMap;

use serde_json::json;
use utoipa::openapi::path::{Operation, ParameterIn};
use utoipa::openapi::schema::{Components, ObjectBuilder, Type};
use utoipa::openapi::{
    AllOfBuilder, ContentBuilder, HeaderBuilder, Ref, RefOr, Response, ResponseBuilder,
};

use super::parameters::parameters;
use crate::http::problem::{Code, Problem};
use crate::http::schemas::{one_of, text, whole_number};

/// Paths that no rate limit applies to.
const UNLIMITED: [&str; 2] = ["/livez", "/readyz"];

/// The id of a request in examples.
const REQUEST_ID: &str = "6f1c2d3e4b5a69788796a5b4c3d2e1f0";

/// The media type of problems (RFC 9457).
const MEDIA_TYPE: &str = "application/problem+json";

/// Adds the responses of an operation that are problems. Operations with the same codes share a response.
pub(super) fn complete(path: &str, operation: &mut Operation, components: &mut Components) {
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    let listed = operation.responses.responses.values().flat_map(|response| match response {
        RefOr::T(response) if response.content.is_empty() => listed(&response.description),
        _ => Vec::new(),
    });
    for code in listed.chain(of_the_form(path, operation)) {
        let codes = by_status.entry(code.status()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    for (status, codes) in by_status {
        let own = operation.responses.responses.get(&status.to_string());
        if own.is_some_and(|own| matches!(own, RefOr::T(own) if !own.content.is_empty())) {
            continue; // Not a problem: `/readyz` has a body of its own.
        }
        let name = codes.iter().map(|code| format!("{code:?}")).collect::<Vec<_>>().join("Or");
        let shared = RefOr::Ref(Ref::from_response_name(&name));
        components.responses.entry(name).or_insert_with(|| RefOr::T(response(&codes)));
        operation.responses.responses.insert(status.to_string(), shared);
    }
}

/// The codes in the description of a response.
fn listed(description: &str) -> Vec<Code> {
    let names = description.split(", ");
    let found = names.map(|name| Code::ALL.iter().find(|code| code.name() == name).copied());
    found.collect::<Option<_>>().unwrap_or_default()
}

/// The codes that follow from the form of an operation.
fn of_the_form(path: &str, operation: &Operation) -> Vec<Code> {
    let is_api = path.starts_with("/api/");
    let has_body = operation.request_body.is_some();
    let has_key = parameters(operation).any(|parameter| parameter.name == "Idempotency-Key");
    let names_resource =
        parameters(operation).any(|parameter| parameter.parameter_in == ParameterIn::Path);
    let with_status = |status: u16| move |code: &Code| code.status() == status;
    let groups: [(bool, &[Code]); 7] = [
        (true, &[Code::InvalidParameter, Code::BadRequest, Code::HostNotAllowed, Code::Internal]),
        (is_api, &[Code::Unauthenticated, Code::InsufficientScope, Code::OriginNotAllowed]),
        (names_resource, &[Code::NotFound]),
        (
            has_body,
            &[
                Code::MalformedJson,
                Code::RequestTimeout,
                Code::PayloadTooLarge,
                Code::UnsupportedMediaType,
                Code::ValidationFailed,
            ],
        ),
        (has_key, &[Code::IdempotencyKeyReused]),
        (!UNLIMITED.contains(&path), &[Code::RateLimited]),
        (true, &[Code::Overloaded]),
    ];
    let codes = groups.into_iter().filter(|(applies, _)| *applies).flat_map(|(_, codes)| codes);
    let unavailable = Code::ALL.iter().filter(|code| is_api && with_status(503)(code));
    codes.chain(unavailable).copied().collect()
}

/// The response with one of these codes, which have the same status.
fn response(codes: &[Code]) -> Response {
    let about = codes.iter().map(|code| format!("`{}`: {}.", code.name(), code.title()));
    let code = one_of(codes.iter().map(|code| code.name()));
    let narrowed = ObjectBuilder::new().schema_type(Type::Object).property("code", code);
    let schema = AllOfBuilder::new().item(Ref::from_schema_name("ProblemBody")).item(narrowed);
    let example = codes.first().map(|code| {
        let problem = Problem::new(*code, code.remedy());
        json!(problem.body(REQUEST_ID))
    });
    let content = ContentBuilder::new().schema(Some(schema)).example(example).build();
    let response = ResponseBuilder::new()
        .description(about.collect::<Vec<_>>().join(" "))
        .content(MEDIA_TYPE, content);
    let header = |name, about: &str| {
        let schema =
            if name == "Retry-After" { whole_number(0, i64::from(u32::MAX)) } else { text() };
        HeaderBuilder::new().schema(Some(schema)).description(Some(about)).build()
    };
    match codes.first().map(|code| code.status()) {
        Some(409 | 429 | 503) => {
            let about = "Seconds to wait before the request is repeated.";
            response.header("Retry-After", header("Retry-After", about))
        }
        Some(401 | 403) => {
            let about = "`Bearer`, with the error and the missing scope (RFC 6750).";
            response.header("WWW-Authenticate", header("WWW-Authenticate", about))
        }
        Some(415) => {
            let about = "The supported encodings, if the encoding of the body is another one.";
            response.header("Accept-Encoding", header("Accept-Encoding", about))
        }
        _ => response,
    }
    .build()
}

//! The OpenAPI 3.1 document of the API, generated from the handlers.

use utoipa::OpenApi;

use super::handlers::{
    api_keys, blocks, bookings, events, holds, operations, plans, requests, schedules, seats,
    stream,
};
use super::openapi_security::Security;

/// The document.
#[derive(Debug, OpenApi)]
#[openapi(
    info(
        title = "Seatlock",
        description = "Seat reservations: exactly one buyer gets each seat, and nothing acknowledged is lost. \
                       Every path that answers GET also answers HEAD, and every path answers OPTIONS."
    ),
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
    modifiers(&Security)
)]
pub struct Api;

/// The document as JSON.
#[expect(clippy::expect_used, reason = "an empty document would be a wrong answer")]
#[must_use]
pub fn json() -> String {
    Api::openapi().to_pretty_json().expect("the document is JSON")
}

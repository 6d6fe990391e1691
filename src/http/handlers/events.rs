//! Events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{EventId, InHistory};
use crate::domain::rules::EVENT_NAME_MAX;
use crate::http::query::{NoParameters, PageQuery};
use crate::http::reply::{self, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{EventBody, PageBody, render_event};
use crate::http::schemas::EventName;
use crate::http::validation::Validator;

/// A new event.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// Its name.
    #[schema(value_type = EventName)]
    pub name: String,
}

/// Creates an event.
#[utoipa::path(operation_id = "create_event", post, path = "/api/v1/events", tag = "box office", request_body = NewEvent,
    params(("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = EventBody, headers(("Location" = String)))))]
pub async fn create(mut api: ApiRequest<NoParameters>) -> HttpResult {
    let (new, keyed) = api.json::<NewEvent>().await?;
    let mut check = Validator::default();
    check.text("/name", &new.name, EVENT_NAME_MAX);
    check.finish()?;
    let once = api.services.catalogue.create_event(new.name, keyed, render_event).await?;
    reply::once(once, render_event, LocationHeader::Location("/api/v1/events/"))
}

/// One event.
#[utoipa::path(operation_id = "read_event", get, path = "/api/v1/events/{id}", tag = "box office", params(("id" = String, Path)),
    responses((status = 200, body = EventBody)))]
pub async fn read(api: ApiRequest<NoParameters>) -> HttpResult {
    let event = api.services.catalogue.event(api.path_id("id", "event")?).await?;
    reply::found::<_, EventBody>(event, "event")
}

/// Events in the order of their ids.
#[utoipa::path(operation_id = "list_events", get, path = "/api/v1/events", tag = "box office",
    params(("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = PageBody<EventBody>)))]
pub async fn list(api: ApiRequest<PageQuery<InHistory<EventId>>>) -> HttpResult {
    let page = api.services.catalogue.events(api.query.after, api.query.limit).await?;
    Ok(reply::page::<_, EventBody>(page))
}

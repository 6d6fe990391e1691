//! Events.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{EventId, InHistory};
use crate::domain::rules::EVENT_NAME_MAX;
use crate::http::problem::ProblemBody;
use crate::http::query::{NoParameters, PageQuery};
use crate::http::reply::{self, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{EventBody, PageBody, render_event};
use crate::http::validation::Validator;

/// A new event.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// 1 to 200 characters.
    #[schema(example = "The Tempest")]
    pub name: String,
}

/// Creates an event.
#[utoipa::path(post, path = "/api/v1/events", tag = "box office", request_body = NewEvent,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 201, body = EventBody, headers(("Location" = String))),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(mut api: ApiRequest<NoParameters>) -> HttpResult {
    let (new, keyed) = api.json::<NewEvent>().await?;
    let mut check = Validator::default();
    check.text("/name", &new.name, EVENT_NAME_MAX);
    check.finish()?;
    let once = api.services.catalogue.create_event(new.name, keyed, render_event).await?;
    reply::once(once, render_event, LocationHeader::Location("/api/v1/events/"))
}

/// One event.
#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "box office", params(("id" = String, Path)),
    responses((status = 200, body = EventBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn read(api: ApiRequest<NoParameters>) -> HttpResult {
    let event = api.services.catalogue.event(api.path_id("id", "event")?).await?;
    reply::found::<_, EventBody>(event, "event")
}

/// Events in the order of their ids.
#[utoipa::path(get, path = "/api/v1/events", tag = "box office",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 by default"), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = PageBody<EventBody>),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(api: ApiRequest<PageQuery<InHistory<EventId>>>) -> HttpResult {
    let page = api.services.catalogue.events(api.query.after, api.query.limit).await?;
    Ok(reply::page::<_, EventBody>(page))
}

//! Events.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::ids::{EventId, InHistory};
use crate::domain::rules::EVENT_NAME_MAX;
use crate::http::Services;
use crate::http::fields::Fields;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{NoParameters, PageQuery, Query};
use crate::http::reply::{self, LocationHeader};
use crate::http::responses::{EventBody, PageBody, render_event};

use super::path_id;

/// A new event.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewEvent {
    /// 1 to 200 characters.
    #[schema(example = "The Tempest")]
    pub name: String,
}

/// Enters an event.
#[utoipa::path(post, path = "/api/v1/events", tag = "box office", request_body = NewEvent,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters")),
    responses((status = 201, body = EventBody, headers(("Location" = String))),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<NoParameters>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let (new, keyed) = services.json::<NewEvent>(&request, payload).await?;
    let mut fields = Fields::default();
    fields.text("/name", &new.name, EVENT_NAME_MAX);
    fields.finish()?;
    let once = services.catalogue.create_event(new.name, keyed, render_event).await?;
    reply::once(once, render_event, LocationHeader::Location("/api/v1/events/"))
}

/// One event.
#[utoipa::path(get, path = "/api/v1/events/{id}", tag = "box office", params(("id" = String, Path)),
    responses((status = 200, body = EventBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn read(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<NoParameters>,
) -> Result<HttpResponse, Problem> {
    let id: EventId = path_id(&request, "id", "event")?;
    let event = services.catalogue.event(id).await?;
    let event = event.ok_or_else(|| Problem::not_found("event"))?;
    Ok(reply::json(&EventBody::from(event)))
}

/// Events by id.
#[utoipa::path(get, path = "/api/v1/events", tag = "box office",
    params(("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 by default"), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = PageBody<EventBody>),
        (status = 400, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    services: Data<Services>,
    _: HttpRequest,
    Query(asked): Query<PageQuery<InHistory<EventId>>>,
) -> Result<HttpResponse, Problem> {
    let page = services.catalogue.events(asked.after, asked.limit).await?;
    let items = page.items.into_iter().map(EventBody::from).collect();
    Ok(reply::json(&PageBody { items, next_cursor: page.next_cursor }))
}

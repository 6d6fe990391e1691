//! Blocks: house seats out of sale.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::domain::command::Action;
use crate::domain::ids::{BlockId, ScheduleId};
use crate::http::Services;
use crate::http::answers::{BlockBody, PageBody};
use crate::http::fields::Fields;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::reply::{self, Place};
use crate::http::version;

use super::{
    PAGE_DEFAULT, PAGE_MAX, cursor, new_uuid, page_limit, path_id, query, reserve, schedule,
};

/// The most characters of a reason.
const REASON_MAX: usize = 200;

/// A new block.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBlock {
    /// Labels; all or none are blocked.
    #[schema(example = json!(["A-1-1"]))]
    pub seats: Vec<String>,
    /// 1 to 200 characters.
    #[schema(example = "camera position")]
    pub reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BlocksQuery {
    limit: Option<String>,
    cursor: Option<String>,
    min_version: Option<String>,
}

/// Takes seats out of sale.
#[utoipa::path(post, path = "/api/v1/schedules/{id}/blocks", tag = "box office", request_body = NewBlock,
    params(("id" = String, Path), ("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = BlockBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, body = ProblemBody, content_type = "application/problem+json", description = "seats_unavailable"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn create(
    services: Data<Services>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id: ScheduleId = path_id(&request, "id", "schedule")?;
    let (new, keyed) = services.large_json::<NewBlock>(&request, payload).await?;
    let loaded = schedule(&services, id).await?;
    let mut fields = Fields::default();
    let seats = fields.seats(&new.seats, &loaded.layout);
    fields.text("/reason", &new.reason, REASON_MAX);
    fields.finish()?;
    let block = BlockId { schedule: id, uuid: new_uuid() };
    let action = Action::Block { id: block, seats, reason: new.reason };
    reserve(&services, &request, action, id, keyed, Place::None).await
}

/// The blocks of a schedule that were not lifted, by creation.
#[utoipa::path(get, path = "/api/v1/schedules/{id}/blocks", tag = "box office",
    params(("id" = String, Path), ("limit" = Option<u32>, Query), ("cursor" = Option<String>, Query),
        ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<BlockBody>),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(services: Data<Services>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id: ScheduleId = path_id(&request, "id", "schedule")?;
    let asked: BlocksQuery = query(&request)?;
    let limit = page_limit(asked.limit.as_deref(), PAGE_DEFAULT, PAGE_MAX)?;
    let after = cursor(asked.cursor.as_deref())?;
    let at_least = version::at_least(&request, asked.min_version.as_deref())?;
    schedule(&services, id).await?;
    let page = services.reservation.blocks((id, at_least), after, limit).await?;
    let items = page.items.into_iter().map(BlockBody::from).collect();
    Ok(reply::json(&PageBody { items, next_cursor: page.next_cursor }))
}

/// Puts a block's seats back on sale.
#[utoipa::path(delete, path = "/api/v1/schedules/{id}/blocks/{block}", tag = "box office",
    params(("id" = String, Path), ("block" = String, Path)),
    responses((status = 204, description = "lifted, or lifted before"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn lift(services: Data<Services>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id: ScheduleId = path_id(&request, "id", "schedule")?;
    let block: BlockId = path_id(&request, "block", "block")?;
    if block.schedule != id {
        return Err(Problem::not_found("block"));
    }
    reserve(&services, &request, Action::Unblock { block }, id, None, Place::None).await
}

//! Blocks: house seats out of sale.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::command::Action;
use crate::domain::ids::{BlockId, InHistory, ScheduleId};
use crate::http::Services;
use crate::http::fields::{Fields, Labels};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::query::{Given, PageQuery, Parameters, Query};
use crate::http::reply::{self, LocationHeader};
use crate::http::responses::{BlockBody, PageBody};
use crate::http::version::{AtLeast, version_seen};

use super::{new_uuid, path_id, reserve, schedule};

/// The most characters of a reason.
const REASON_MAX: usize = 200;

/// A new block.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBlock {
    /// Labels; all or none are blocked.
    pub seats: Labels,
    /// 1 to 200 characters.
    #[schema(example = "camera position")]
    pub reason: String,
}

/// Which page of blocks is listed.
#[derive(Debug)]
pub struct BlocksQuery(PageQuery<InHistory<BlockId>>);

impl Parameters for BlocksQuery {
    fn read(given: &mut Given) -> Result<Self, Problem> {
        let page = PageQuery::read(given)?;
        AtLeast::read(given)?;
        Ok(Self(page))
    }
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
    _: Query<AtLeast>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let id: ScheduleId = path_id(&request, "id", "schedule")?;
    let (new, keyed) = services.large_json(&request, payload, Ok::<NewBlock, _>).await?;
    let loaded = schedule(&services, id).await?;
    let check = move || {
        let mut fields = Fields::default();
        let seats = fields.seats(&new.seats, &loaded.layout);
        fields.text("/reason", &new.reason, REASON_MAX);
        fields.finish()?;
        Ok((seats, new.reason))
    };
    let (seats, reason) = services.heavy.run(check).await?;
    let block = BlockId { schedule: id, uuid: new_uuid() };
    let action = Action::Block { id: block, seats, reason };
    reserve(&services, &request, action, id, keyed, LocationHeader::None).await
}

/// The blocks of a schedule that were not lifted, by creation.
#[utoipa::path(get, path = "/api/v1/schedules/{id}/blocks", tag = "box office",
    params(("id" = String, Path), ("limit" = Option<u32>, Query, minimum = 1, maximum = 200, description = "50 by default"),
        ("cursor" = Option<String>, Query),
        ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<BlockBody>),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn list(
    services: Data<Services>,
    request: HttpRequest,
    Query(BlocksQuery(PageQuery { after, limit })): Query<BlocksQuery>,
) -> Result<HttpResponse, Problem> {
    let id: ScheduleId = path_id(&request, "id", "schedule")?;
    let at_least = version_seen(&request)?;
    schedule(&services, id).await?;
    let page = services.reservation.blocks((id, at_least), after, limit).await?;
    let items = page.items.into_iter().map(BlockBody::from).collect();
    Ok(reply::json(&PageBody { items, next_cursor: page.next_cursor }))
}

/// Puts a block's seats back on sale.
#[utoipa::path(delete, path = "/api/v1/schedules/{id}/blocks/{block}", tag = "box office",
    params(("id" = String, Path), ("block" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 204, description = "lifted, or lifted before"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn lift(
    services: Data<Services>,
    request: HttpRequest,
    _: Query<AtLeast>,
) -> Result<HttpResponse, Problem> {
    let id: ScheduleId = path_id(&request, "id", "schedule")?;
    let block: BlockId = path_id(&request, "block", "block")?;
    if block.schedule != id {
        return Err(Problem::not_found("block"));
    }
    reserve(&services, &request, Action::Unblock { block }, id, None, LocationHeader::None).await
}

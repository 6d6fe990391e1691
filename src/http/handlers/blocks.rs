//! Blocks: house seats out of sale.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::command::Action;
use crate::domain::ids::{BlockId, InHistory, ScheduleId};
use crate::domain::rules::REASON_MAX;
use crate::http::problem::Problem;
use crate::http::query::{PageQuery, Parameters, RawQuery};
use crate::http::reply::{self, LocationHeader};
use crate::http::request::{ApiRequest, HttpResult};
use crate::http::responses::{BlockBody, PageBody};
use crate::http::schemas::Reason;
use crate::http::validation::{Labels, Validator};
use crate::http::version::MinVersion;

use super::new_uuid;

/// A new block.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBlock {
    /// Labels of seats; either all of them are blocked, or none.
    pub seats: Labels,
    /// The reason for the block.
    #[schema(value_type = Reason)]
    pub reason: String,
}

/// The query of the list.
#[derive(Debug)]
pub struct BlocksQuery(PageQuery<InHistory<BlockId>>, MinVersion);

impl Parameters for BlocksQuery {
    fn read(raw: &mut RawQuery<'_>) -> Result<Self, Problem> {
        Ok(Self(PageQuery::read(raw)?, MinVersion::read(raw)?))
    }
}

/// Takes seats out of sale. Linked seats may be blocked one by one; the rest of the group cannot be sold meanwhile.
#[utoipa::path(operation_id = "create_block", post, path = "/api/v1/schedules/{id}/blocks", tag = "box office", request_body = NewBlock,
    params(("id" = String, Path), ("min_version" = Option<i64>, Query),
        ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 201, body = BlockBody),
        (status = 409, description = "seats_unavailable, request_in_progress")))]
pub async fn create(mut api: ApiRequest<MinVersion>) -> HttpResult {
    let id: ScheduleId = api.path_id("id", "schedule")?;
    let (new, keyed) = api.large_json(Ok::<NewBlock, _>).await?;
    let loaded = api.schedule(id).await?;
    let check = move || {
        let mut check = Validator::default();
        let seats = check.seats_of_block(&new.seats, &loaded.layout);
        check.text("/reason", &new.reason, REASON_MAX);
        check.finish()?;
        Ok((seats, new.reason))
    };
    let (seats, reason) = api.services.work_permits.run_blocking(check).await?;
    let block = BlockId { schedule: id, uuid: new_uuid() };
    api.submit(id, Action::Block { id: block, seats, reason }, keyed, LocationHeader::None).await
}

/// The blocks of a schedule that were not lifted, in the order of their creation.
#[utoipa::path(operation_id = "list_blocks", get, path = "/api/v1/schedules/{id}/blocks", tag = "box office",
    params(("id" = String, Path), ("limit" = Option<u32>, Query),
        ("cursor" = Option<String>, Query),
        ("min_version" = Option<i64>, Query)),
    responses((status = 200, body = PageBody<BlockBody>)))]
pub async fn list(api: ApiRequest<BlocksQuery>) -> HttpResult {
    let id: ScheduleId = api.path_id("id", "schedule")?;
    let BlocksQuery(PageQuery { after, limit }, MinVersion(version)) = api.query;
    api.schedule(id).await?;
    let page = api.services.bookings.blocks(id, version, after, limit).await?;
    Ok(reply::page::<_, BlockBody>(page))
}

/// Puts a block's seats back on sale.
#[utoipa::path(operation_id = "lift_block", delete, path = "/api/v1/schedules/{id}/blocks/{block}", tag = "box office",
    params(("id" = String, Path), ("block" = String, Path), ("min_version" = Option<i64>, Query)),
    responses((status = 204, description = "lifted, or lifted before")))]
pub async fn lift(api: ApiRequest<MinVersion>) -> HttpResult {
    let id: ScheduleId = api.path_id("id", "schedule")?;
    let block: BlockId = api.path_id("block", "block")?;
    if block.schedule != id {
        return Err(Problem::not_found("block"));
    }
    api.submit(id, Action::Unblock { block }, None, LocationHeader::None).await
}

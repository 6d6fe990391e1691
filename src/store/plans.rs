//! Seat plans: immutable versions of layouts.

use std::sync::Arc;

use entity::seat_plan;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, DatabaseConnection, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _, Set,
};

use crate::domain::catalogue::PlanVersion;
use crate::domain::clock::EpochMs;
use crate::domain::command::Keyed;
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::failure::StoreError;
use crate::domain::plan::SeatPlan;

use super::batch::session::Session;
use super::{Store, convert};

/// A stored plan.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPlan {
    /// Which version of which plan.
    pub version: PlanVersion,
    /// The layout.
    pub plan: SeatPlan,
}

impl Store {
    /// Stores the next version of a plan, once per key. A plan that equals the newest version makes no new
    /// one.
    pub async fn put_plan(
        self: &Arc<Self>,
        id: String,
        plan: SeatPlan,
        keyed: Option<Keyed>,
        render: fn(&PlanVersion) -> RecordedAnswer,
    ) -> Result<Once<PlanVersion>, StoreError> {
        let limit = self.settings.limits.creation_timeout;
        let plan = Arc::new(plan);
        self.once(keyed, limit, render, move |session, now| {
            let (id, plan) = (id.clone(), Arc::clone(&plan));
            Box::pin(async move { Ok(Ok(insert(session, now, id, &plan).await?)) })
        })
        .await
    }

    /// One version of a plan; the newest if `version` is absent.
    pub async fn plan(
        self: &Arc<Self>,
        id: String,
        version: Option<i32>,
    ) -> Result<Option<StoredPlan>, StoreError> {
        self.find(move |db| find(db, id.clone(), version)).await
    }
}

/// Reads a plan on the connection given.
pub(crate) async fn find(
    db: DatabaseConnection,
    id: String,
    version: Option<i32>,
) -> Result<Option<StoredPlan>, DbErr> {
    let row = newest(id, version).one(&db).await?;
    row.map(stored).transpose()
}

/// Reads a plan inside a transaction.
pub(crate) async fn find_in(
    session: &Session<'_>,
    id: String,
    version: Option<i32>,
) -> Result<Option<StoredPlan>, DbErr> {
    let row = newest(id, version).one(session.transaction).await?;
    row.map(stored).transpose()
}

/// Stores the next version of a plan inside a transaction.
pub(crate) async fn insert(
    session: &Session<'_>,
    now: EpochMs,
    id: String,
    plan: &SeatPlan,
) -> Result<PlanVersion, DbErr> {
    let layout = serde_json::to_string(plan).map_err(|error| DbErr::Type(error.to_string()))?;
    let newest = newest(id.clone(), None).one(session.transaction).await?;
    let version = match newest {
        Some(row) if row.layout == layout => return Ok(PlanVersion { id, version: row.version }),
        Some(row) => row.version + 1,
        None => 1,
    };
    let row = seat_plan::ActiveModel {
        id: Set(id.clone()),
        version: Set(version),
        layout: Set(layout),
        seats: Set(convert::count_column(plan.seat_count())),
        created_at: Set(now.0),
    };
    row.insert(session.transaction).await?;
    Ok(PlanVersion { id, version })
}

fn newest(id: String, version: Option<i32>) -> sea_orm::Select<seat_plan::Entity> {
    let plans = seat_plan::Entity::find().filter(seat_plan::Column::Id.eq(id));
    match version {
        Some(version) => plans.filter(seat_plan::Column::Version.eq(version)),
        None => plans.order_by_desc(seat_plan::Column::Version),
    }
}

fn stored(row: seat_plan::Model) -> Result<StoredPlan, DbErr> {
    let plan = serde_json::from_str(&row.layout).map_err(|_| convert::corrupt("seat plan"))?;
    Ok(StoredPlan { version: PlanVersion { id: row.id, version: row.version }, plan })
}

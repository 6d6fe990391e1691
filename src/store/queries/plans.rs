//! Seat plans: immutable versions of layouts.

use std::sync::Arc;

use entity::seat_plan;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, DbErr, EntityTrait as _,
    FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _, Set,
};

use crate::domain::catalogue::{EnteredPlan, PlanVersion};
use crate::domain::clock::EpochMs;
use crate::domain::command::Keyed;
use crate::domain::effect::{Once, RecordedAnswer};
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::HistoryId;
use crate::domain::plan::{ReadPlan, SeatPlan};
use crate::store::Store;
use crate::store::connection::{DbResult, HISTORY, Session, Transaction, lineage, rows};

/// A stored plan.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPlan {
    /// The plan and its version.
    pub version: PlanVersion,
    /// The layout.
    pub plan: SeatPlan,
    /// The history that the plan was read in.
    pub history: HistoryId,
}

impl Store {
    /// Stores the next version of a plan, once per key. A plan that equals the newest version is not stored
    /// again.
    pub async fn put_plan(
        self: &Arc<Self>,
        id: String,
        plan: ReadPlan,
        keyed: Option<Keyed>,
        render: fn(&EnteredPlan) -> RecordedAnswer,
    ) -> StoreResult<Once<EnteredPlan>> {
        let limit = self.settings.limits.creation_timeout;
        let plan = Arc::new(plan);
        self.once(keyed, limit, render, move |session, now| {
            let id = id.clone();
            let plan = Arc::clone(&plan);
            Box::pin(async move {
                let version = insert(session, now, id, &plan.plan).await?;
                Ok(Ok(EnteredPlan { version, notes: plan.notes.clone() }))
            })
        })
        .await
    }

    /// One version of a plan; the newest if `version` is absent.
    pub async fn plan(&self, id: String, version: Option<i32>) -> StoreResult<Option<StoredPlan>> {
        self.find(move |db| {
            let id = id.clone();
            async move { find(&db, id, version).await }
        })
        .await
    }
}

/// Stores the next version of a plan inside a transaction.
pub(crate) async fn insert(
    session: &Transaction,
    now: EpochMs,
    id: String,
    plan: &SeatPlan,
) -> DbResult<PlanVersion> {
    let layout = serde_json::to_string(plan).map_err(|error| DbErr::Type(error.to_string()))?;
    let newest = select_version(id.clone(), None).one(&session.connection).await?;
    let version = match newest {
        Some(row) if row.layout == layout => return Ok(PlanVersion { id, version: row.version }),
        Some(row) => row.version + 1,
        None => 1,
    };
    let row = seat_plan::ActiveModel {
        id: Set(id.clone()),
        version: Set(version),
        layout: Set(layout),
        seats: Set(rows::count_column(plan.seat_count())),
        created_at: Set(now.0),
    };
    row.insert(&session.connection).await?;
    Ok(PlanVersion { id, version })
}

/// Selects one version of a plan; the newest if `version` is absent.
fn select_version(id: String, version: Option<i32>) -> sea_orm::Select<seat_plan::Entity> {
    let plans = seat_plan::Entity::find().filter(seat_plan::Column::Id.eq(id));
    match version {
        Some(version) => plans.filter(seat_plan::Column::Version.eq(version)),
        None => plans.order_by_desc(seat_plan::Column::Version),
    }
}

/// A plan's row, and the name of the history.
#[derive(FromQueryResult)]
struct PlanRow {
    id: String,
    version: i32,
    layout: String,
    history: String,
}

/// One version of a plan; the newest if `version` is absent.
pub(crate) async fn find<C: ConnectionTrait>(
    session: &Session<C>,
    id: String,
    version: Option<i32>,
) -> DbResult<Option<StoredPlan>> {
    let select = select_version(id, version).expr_as(Expr::cust(HISTORY), "history");
    let row = select.into_model::<PlanRow>().one(&session.connection).await?;
    let Some(row) = row else { return Ok(None) };
    let plan = serde_json::from_str(&row.layout).map_err(|_| rows::corrupt("seat plan"))?;
    let version = PlanVersion { id: row.id, version: row.version };
    Ok(Some(StoredPlan { version, plan, history: lineage::history(&row.history)? }))
}

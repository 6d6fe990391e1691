//! The answer to a seat plan that was entered.

use serde::Serialize;
use utoipa::ToSchema;

use super::recorded::answer;
use crate::domain::catalogue::{EnteredPlan, PlanVersion};
use crate::domain::effect::{RecordedAnswer, Resource};

/// A version of a plan that was entered.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnteredPlanBody {
    /// The plan.
    pub id: String,
    /// Its version.
    pub version: i32,
    /// Columns or values that were understood although they differ from the documented format; absent if there are
    /// none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(example = json!(["column 3, `Seat`, was read as `number`"]))]
    pub notes: Vec<String>,
}

/// The answer to a stored plan.
#[must_use]
pub fn render_plan(plan: &EnteredPlan) -> RecordedAnswer {
    let PlanVersion { id, version } = plan.version.clone();
    let body = EnteredPlanBody { id, version, notes: plan.notes.clone() };
    answer(200, Resource::SeatPlan(plan.version.clone()), &body)
}

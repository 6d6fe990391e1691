//! `seat_plan`: one version of a seat plan; immutable.

use sea_orm::entity::prelude::*;

/// One version of a seat plan; immutable.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "seat_plan")]
pub struct Model {
    /// The plan.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// Its version, from 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i32,
    /// The plan as a JSON document (`domain::plan`).
    pub layout: String,
    /// How many seats it has.
    pub seats: i32,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! `journal`: the ordered record of a schedule's seat changes, gapless by version.

use sea_orm::entity::prelude::*;

/// The ordered record of a schedule's seat changes, gapless by version.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "journal")]
pub struct Model {
    /// The schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// The version that these changes lead to.
    #[sea_orm(primary_key, auto_increment = false)]
    pub version: i64,
    /// The batch that made them.
    pub batch_id: Uuid,
    /// Epoch milliseconds.
    pub at: i64,
    /// JSON array of `[number, state, held_until?]`, ascending.
    pub changes: String,
    /// JSON array of the changes of claims; absent in entries of older releases.
    pub events: Option<String>,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

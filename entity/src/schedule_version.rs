//! `schedule_version`: the version of a schedule's seats: one narrow row, the last lock of every batch.

use sea_orm::entity::prelude::*;

/// The version of a schedule's seats: one narrow row, the last lock of every batch.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "schedule_version")]
pub struct Model {
    /// The schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// Grows by one with every batch that writes a seat.
    pub version: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

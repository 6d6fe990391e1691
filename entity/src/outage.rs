//! `outage`: a stretch of time in which no replica could write.

use sea_orm::entity::prelude::*;

/// A stretch of time in which no replica could write.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outage")]
pub struct Model {
    /// Epoch milliseconds.
    #[sea_orm(primary_key, auto_increment = false)]
    pub began_at: i64,
    /// Epoch milliseconds.
    pub ended_at: i64,
}

/// The batch and the queries join by key; no relation is walked.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

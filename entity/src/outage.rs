//! `outage`: a period in which no replica could write.

use sea_orm::entity::prelude::*;

/// A period in which no replica could write.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outage")]
pub struct Model {
    /// Epoch milliseconds.
    #[sea_orm(primary_key, auto_increment = false)]
    pub began_at: i64,
    /// Epoch milliseconds.
    pub ended_at: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

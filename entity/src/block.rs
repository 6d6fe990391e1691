//! `block`: house seats out of sale.

use sea_orm::entity::prelude::*;

/// House seats out of sale.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "block")]
pub struct Model {
    /// The schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// The identifier within the schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// JSON array of seat numbers, ascending; written once.
    pub seats: String,
    /// The reason, as free text.
    pub reason: String,
    /// Whether the seats are back on sale.
    pub lifted: bool,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! `batch`: proof that a batch was committed.

use sea_orm::entity::prelude::*;

/// Proof that a batch was committed.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "batch")]
pub struct Model {
    /// The batch.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The number of the run that was committed, from 0.
    pub attempt: i16,
    /// Epoch milliseconds.
    pub at: i64,
    /// Its schedule; 0 if it had several, or if an older release wrote the row.
    pub schedule_id: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! `booking`: a durable sale.

use sea_orm::entity::prelude::*;

/// A durable sale.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "booking")]
pub struct Model {
    /// Which schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// The identifier within it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// Whose it is.
    pub customer_id: String,
    /// JSON array of seat numbers, ascending; written once.
    pub seats: String,
    /// How many are still its own.
    pub live_seats: i32,
    /// 0 confirmed, 1 cancelled.
    pub status: i16,
    /// The hold it came from.
    pub hold_id: Option<Uuid>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// Epoch milliseconds.
    pub cancelled_at: Option<i64>,
}

/// The batch and the queries join by key; no relation is walked.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

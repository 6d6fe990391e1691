//! `booking`: a durable sale.

use sea_orm::entity::prelude::*;

/// A durable sale.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "booking")]
pub struct Model {
    /// The schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// The identifier within the schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The customer.
    pub customer_id: String,
    /// JSON array of seat numbers, ascending; written once.
    pub seats: String,
    /// How many seats the booking still owns.
    pub live_seats: i32,
    /// 0 confirmed, 1 cancelled.
    pub status: i16,
    /// The hold that became this booking, if there was one.
    pub hold_id: Option<Uuid>,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// When the last seat was cancelled; epoch milliseconds.
    pub cancelled_at: Option<i64>,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

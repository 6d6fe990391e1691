//! `hold`: a customer's temporary claim.

use sea_orm::entity::prelude::*;

/// A customer's temporary claim.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "hold")]
pub struct Model {
    /// The schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// The identifier within the schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The customer.
    pub customer_id: String,
    /// JSON array of seat numbers, ascending.
    pub seats: String,
    /// The number of seats.
    pub seat_count: i32,
    /// Begins with 1 and grows by one with each change of the seats.
    pub version: i32,
    /// 0 held, 1 confirmed, 2 released, 3 expired.
    pub status: i16,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// When the hold expires, without outages; epoch milliseconds.
    pub held_until: i64,
    /// The booking that the hold became, if it was confirmed.
    pub booking_id: Option<Uuid>,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! `booking_seat`: the sale of a seat. At most one row of a seat is live: the last guard against a double sale.

use sea_orm::entity::prelude::*;

/// The sale of a seat. At most one row of a seat is live: the last guard against a double sale.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "booking_seat")]
pub struct Model {
    /// The schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// The seat.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    /// The booking.
    #[sea_orm(primary_key, auto_increment = false)]
    pub booking_id: Uuid,
    /// When the seat was released; epoch milliseconds.
    pub released_at: Option<i64>,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

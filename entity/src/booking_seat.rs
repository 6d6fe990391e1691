//! `booking_seat`: a seat's sale. At most one row of a seat is live: the last guard against selling it twice.

use sea_orm::entity::prelude::*;

/// A seat's sale. At most one row of a seat is live: the last guard against selling it twice.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "booking_seat")]
pub struct Model {
    /// Which schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// Which seat.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    /// To which booking.
    #[sea_orm(primary_key, auto_increment = false)]
    pub booking_id: Uuid,
    /// When it was given back; epoch milliseconds.
    pub released_at: Option<i64>,
}

/// The batch and the queries join by key; no relation is walked.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

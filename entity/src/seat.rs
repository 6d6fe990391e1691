//! `seat`: a seat of a schedule. The row holds the state.

use sea_orm::entity::prelude::*;

/// A seat of a schedule. The row holds the state.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "seat")]
pub struct Model {
    /// The schedule.
    #[sea_orm(primary_key, auto_increment = false)]
    pub schedule_id: i64,
    /// Index in the plan, from 0.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    /// The public name, like `A-12-7`.
    pub label: String,
    /// Minor units.
    pub price: i64,
    /// 0 available, 1 held, 2 booked, 3 blocked.
    pub state: i16,
    /// The hold, while the seat is held.
    pub hold_id: Option<Uuid>,
    /// When the hold expires, while the seat is held; epoch milliseconds.
    pub held_until: Option<i64>,
    /// The booking, while the seat is booked.
    pub booking_id: Option<Uuid>,
    /// The block, while the seat is blocked.
    pub block_id: Option<Uuid>,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

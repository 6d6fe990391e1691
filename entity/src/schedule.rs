//! `schedule`: one performance of an event, with its rules.

use sea_orm::entity::prelude::*;

/// One performance of an event, with its rules.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "schedule")]
pub struct Model {
    /// The identifier.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The event.
    pub event_id: i64,
    /// Epoch milliseconds.
    pub starts_at: i64,
    /// ISO 4217 code of all prices.
    pub currency: String,
    /// When sales open; epoch milliseconds. They are open immediately if absent.
    pub sales_open_at: Option<i64>,
    /// When sales close; epoch milliseconds. They never close if absent.
    pub sales_close_at: Option<i64>,
    /// The most seats in one hold or booking.
    pub max_seats_per_booking: i32,
    /// The most live seats of one customer; no limit if absent.
    pub max_seats_per_customer: Option<i32>,
    /// The life of a hold whose request states none.
    pub hold_ttl_ms: i64,
    /// The seat plan.
    pub plan_id: String,
    /// The version of the seat plan.
    pub plan_version: i32,
    /// How many seats it has.
    pub seats: i32,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! `schedule`: one performance of an event, with its rules.

use sea_orm::entity::prelude::*;

/// One performance of an event, with its rules.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "schedule")]
pub struct Model {
    /// The identifier.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Which event.
    pub event_id: i64,
    /// Epoch milliseconds.
    pub starts_at: i64,
    /// ISO 4217 code of all prices.
    pub currency: String,
    /// Epoch milliseconds; on sale from the start if absent.
    pub sales_open_at: Option<i64>,
    /// Epoch milliseconds; never closes if absent.
    pub sales_close_at: Option<i64>,
    /// Seats in one hold or booking.
    pub max_seats_per_booking: i32,
    /// Live seats of one customer; no limit if absent.
    pub max_seats_per_customer: Option<i32>,
    /// The life of a hold whose request states none.
    pub hold_ttl_ms: i64,
    /// Its layout.
    pub plan_id: String,
    /// Which version of it.
    pub plan_version: i32,
    /// How many seats it has.
    pub seats: i32,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// The batch and the queries join by key; no relation is walked.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

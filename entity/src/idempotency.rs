//! `idempotency`: the answer given under an Idempotency-Key.

use sea_orm::entity::prelude::*;

/// The answer given under an Idempotency-Key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency")]
pub struct Model {
    /// The caller that the key belongs to.
    #[sea_orm(primary_key, auto_increment = false)]
    pub caller: String,
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256, in hexadecimal, of method, path, effective parameters and body as they were parsed; empty for a request
    /// that came through the queue.
    pub fingerprint: String,
    /// HTTP status: 2xx, or that of a refusal for a request that came through the queue.
    pub status: i16,
    /// The body as it was sent.
    pub body: String,
    /// When the answer expires; epoch milliseconds.
    pub expires_at: i64,
    /// What the answer describes: 1 nothing, 2 a hold, 3 a booking, 4 a block, 5 an event, 6 a schedule,
    /// 7 a seat plan; absent if an older release wrote the row.
    pub kind: Option<i16>,
    /// The id of what the answer describes; of a seat plan `version/id`.
    pub resource_id: Option<String>,
    /// `expires_at` of the answer that `kind` and `resource_id` describe. An older release that replaces an answer does
    /// not change these three columns.
    pub described_until: Option<i64>,
    /// The schedule of the request; 0 for a request of the catalogue, or if an older release wrote the row.
    pub schedule_id: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

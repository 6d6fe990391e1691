//! `idempotency`: the answer given under an Idempotency-Key.

use sea_orm::entity::prelude::*;

/// The answer given under an Idempotency-Key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency")]
pub struct Model {
    /// Who calls.
    #[sea_orm(primary_key, auto_increment = false)]
    pub caller: String,
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 over what the request means: method, path, query and body.
    pub fingerprint: String,
    /// HTTP status, 2xx.
    pub status: i16,
    /// The body as sent.
    pub body: String,
    /// Epoch milliseconds.
    pub expires_at: i64,
}

/// The batch and the queries join by key; no relation is walked.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

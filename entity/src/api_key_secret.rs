//! `api_key_secret`: the hash of a secret of an API key.

use sea_orm::entity::prelude::*;

/// The hash of a secret of an API key. A key has two during a rotation, and none after it was revoked.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key_secret")]
pub struct Model {
    /// The key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: i64,
    /// Ascending by creation within the key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i16,
    /// The beginning of its text, by which it is found.
    pub prefix: String,
    /// SHA-256 of its text, in hexadecimal.
    pub hash: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// When it stops to work, during a rotation; epoch milliseconds.
    pub ends_at: Option<i64>,
}

/// Empty: queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! `api_key`: who may send requests.

use sea_orm::entity::prelude::*;

/// Who may send requests.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    /// The identifier.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its name, which no other key has that is not revoked.
    pub name: String,
    /// `secret` or `publishable`.
    pub kind: String,
    /// `live` or `test`.
    pub mode: String,
    /// The scopes of a secret key, separated by blanks.
    pub scopes: String,
    /// The origins of a publishable key, separated by blanks.
    pub origins: String,
    /// Epoch milliseconds.
    pub created_at: i64,
    /// When it stops to work by itself; epoch milliseconds.
    pub expires_at: Option<i64>,
    /// When it was revoked, or its end was noticed; epoch milliseconds.
    pub revoked_at: Option<i64>,
    /// When it was last used, to the minute; epoch milliseconds.
    pub last_used_at: Option<i64>,
}

/// Empty: queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! `event`: an event (a show).

use sea_orm::entity::prelude::*;

/// An event (a show).
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "event")]
pub struct Model {
    /// The identifier.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// Its name, 1 to 200 characters.
    pub name: String,
    /// Epoch milliseconds.
    pub created_at: i64,
}

/// Empty: batches and queries join tables by their keys.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

//! The indexes for lists that are read from one end: outages by their end, dead letters by their time, and the live
//! blocks of a schedule.
//!
//! The keys of the indexes on blocks and dead letters have expressions, as in
//! `m20261128_000001_find_live_claims_of_a_customer.rs`. With plain columns PostgreSQL may choose the primary key to list
//! blocks, by which it reads all blocks that were lifted, and PostgreSQL 18 this index to find a letter by its id.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const INDEXES: [(&str, &str); 3] = [
    ("outage_ended", "outage (ended_at)"),
    ("queue_letter_listed", "queue_letter (parked_at, (id || ''))"),
    ("block_listed", "block ((schedule_id + 0), id) WHERE NOT lifted"),
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// PostgreSQL can create an index without blocking writers only outside of a transaction.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, on) in INDEXES {
            crate::create_index(manager, "INDEX", name, on).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, _) in INDEXES {
            crate::run(manager, &[&format!("DROP INDEX {name}")]).await?;
        }
        Ok(())
    }
}

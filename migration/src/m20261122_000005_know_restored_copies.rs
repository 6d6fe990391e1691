//! The identifier of a table, which PostgreSQL gives anew: it distinguishes a database that was restored on its own
//! server from the lost one.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, &["ALTER TABLE lineage ADD COLUMN table_oid BIGINT"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, &["ALTER TABLE lineage DROP COLUMN table_oid"]).await
    }
}

//! By what a database that was restored on the server it came from is told from the one that was lost: the
//! identifier of a table, which PostgreSQL gives anew.

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

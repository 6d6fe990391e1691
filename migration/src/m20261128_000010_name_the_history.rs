//! The short name of the history that the database is writing, random: tags, ids of events and cursors carry it.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let add = "ALTER TABLE lineage ADD COLUMN history TEXT NOT NULL DEFAULT ''";
        crate::run(manager, &[add, "UPDATE lineage SET history = {history}"]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, &["ALTER TABLE lineage DROP COLUMN history"]).await
    }
}

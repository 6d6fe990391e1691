//! The workers of the queue, which distribute its partitions among themselves.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}

const UP: &[&str] = &["CREATE TABLE queue_worker (
        queue TEXT NOT NULL, id {uuid} NOT NULL, until BIGINT NOT NULL,
        PRIMARY KEY (queue, id)) {keyed,hottest}"];

const DOWN: &[&str] = &["DROP TABLE queue_worker"];

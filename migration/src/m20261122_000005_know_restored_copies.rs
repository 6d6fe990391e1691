//! Adds the identifier of a table, by which a database that was restored on its own server is distinguished from the
//! lost one: PostgreSQL assigns a new identifier to each table that is restored.

use crate::Step;

pub(crate) const STEP: Step =
    Step { name: "m20261122_000005_know_restored_copies", up: UP, down: DOWN };

const UP: &[&str] = &["ALTER TABLE lineage ADD COLUMN table_oid BIGINT"];

const DOWN: &[&str] = &["ALTER TABLE lineage DROP COLUMN table_oid"];

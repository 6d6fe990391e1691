//! The short, random name of the history that the database is writing. Entity tags, ids of stream events and cursors
//! contain it.

use crate::Step;

pub(crate) const STEP: Step =
    Step { name: "m20261128_000010_name_the_history", up: UP, down: DOWN };

const UP: &[&str] = &[
    "ALTER TABLE lineage ADD COLUMN history TEXT NOT NULL DEFAULT ''",
    "UPDATE lineage SET history = {history}",
];

const DOWN: &[&str] = &["ALTER TABLE lineage DROP COLUMN history"];

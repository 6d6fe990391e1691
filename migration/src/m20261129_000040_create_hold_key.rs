//! The key from which the secrets of holds are made: one row with random text, the same for all processes.

use crate::Step;

pub(crate) const STEP: Step = Step { name: "m20261129_000040_create_hold_key", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE hold_key (id {small} NOT NULL PRIMARY KEY, key TEXT NOT NULL)",
    "INSERT INTO hold_key (id, key) VALUES (1, {secret})",
];

const DOWN: &[&str] = &["DROP TABLE hold_key"];

//! The version of a hold, which counts the changes of its seats. An older release creates holds of version 1 and changes
//! no seats of a hold.

use crate::Step;

pub(crate) const STEP: Step = Step { name: "m20261129_000020_change_holds", up: UP, down: DOWN };

const UP: &[&str] = &["ALTER TABLE hold ADD COLUMN version INTEGER NOT NULL DEFAULT 1"];

const DOWN: &[&str] = &["ALTER TABLE hold DROP COLUMN version"];

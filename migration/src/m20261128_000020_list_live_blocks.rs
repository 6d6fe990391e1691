//! The index for the list of a schedule's live blocks, which skips lifted ones.

use crate::Step;

pub(crate) const STEP: Step =
    Step { name: "m20261128_000020_list_live_blocks", up: UP, down: DOWN };

const UP: &[&str] = &["CREATE INDEX block_live ON block (schedule_id, id) WHERE NOT lifted"];

const DOWN: &[&str] = &["DROP INDEX block_live"];

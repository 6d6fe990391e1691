//! The changes of claims in the journal: which claim took or freed which seats, and who sent the request. The column is
//! null in entries of older releases.

use crate::Step;

pub(crate) const STEP: Step = Step { name: "m20261129_000030_record_senders", up: UP, down: DOWN };

const UP: &[&str] = &["ALTER TABLE journal ADD COLUMN events TEXT"];

const DOWN: &[&str] = &["ALTER TABLE journal DROP COLUMN events"];

//! Records the schedule of a batch and of a recorded answer. Citus distributes both tables by it.
//!
//! Zero means no schedule, or several. Older releases do not write the columns.

use crate::Step;

pub(crate) const STEP: Step =
    Step { name: "m20261129_000050_give_answers_a_schedule", up: UP, down: DOWN };

const UP: &[&str] = &[
    "ALTER TABLE batch ADD COLUMN schedule_id BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE idempotency ADD COLUMN schedule_id BIGINT NOT NULL DEFAULT 0",
];

const DOWN: &[&str] = &[
    "ALTER TABLE idempotency DROP COLUMN schedule_id",
    "ALTER TABLE batch DROP COLUMN schedule_id",
];

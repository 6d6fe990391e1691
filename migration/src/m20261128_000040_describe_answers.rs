//! What a recorded answer describes: the kind of the resource and its id, so that they need not be read from the
//! body. Empty in rows of older releases. An older release that replaces an expired row changes `expires_at` only:
//! `described_until` repeats it as it was when the description was written.

use crate::Step;

pub(crate) const STEP: Step =
    Step { name: "m20261128_000040_describe_answers", up: UP, down: DOWN };

const UP: &[&str] = &[
    "ALTER TABLE idempotency ADD COLUMN kind {small}",
    "ALTER TABLE idempotency ADD COLUMN resource_id TEXT",
    "ALTER TABLE idempotency ADD COLUMN described_until BIGINT",
];

const DOWN: &[&str] = &[
    "ALTER TABLE idempotency DROP COLUMN described_until",
    "ALTER TABLE idempotency DROP COLUMN resource_id",
    "ALTER TABLE idempotency DROP COLUMN kind",
];

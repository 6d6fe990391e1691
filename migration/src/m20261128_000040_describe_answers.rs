//! The resource that a recorded answer describes: its kind and its id, so that they need not be read from the body. The
//! columns are null in rows of older releases. An older release that replaces an expired answer does not change them:
//! `described_until` is the `expires_at` of the answer that they describe.

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

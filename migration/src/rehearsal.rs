//! Steps of fictitious later releases, for the test of a rolling update. Only programs built for tests have them.

use sea_orm_migration::prelude::*;

use crate::Step;

/// The steps after the last real one: one that adds, one that removes what it replaced.
#[must_use]
pub fn steps() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(EXPAND), Box::new(CONTRACT)]
}

/// Adds what a real step may add: columns that are nullable or have a default, to tables that are being written, a
/// table and an index.
const EXPAND: Step = Step {
    name: "m99990101_000001_add_gifts",
    up: &[
        "ALTER TABLE booking ADD COLUMN gift_note TEXT",
        "ALTER TABLE seat ADD COLUMN zone {small} NOT NULL DEFAULT 0",
        "ALTER TABLE journal ADD COLUMN origin TEXT",
        "CREATE TABLE gift (
            schedule_id BIGINT NOT NULL, booking_id {uuid} NOT NULL, note TEXT NOT NULL,
            PRIMARY KEY (schedule_id, booking_id)) {keyed}",
        "CREATE INDEX gift_of_booking ON gift (booking_id)",
    ],
    down: &[
        "DROP TABLE gift",
        "ALTER TABLE journal DROP COLUMN origin",
        "ALTER TABLE seat DROP COLUMN zone",
        "ALTER TABLE booking DROP COLUMN gift_note",
    ],
};

/// Removes a column that only programs without the previous step need.
const CONTRACT: Step = Step {
    name: "m99990102_000001_drop_cancelled_at_needs_99990101_000001",
    up: &["ALTER TABLE booking DROP COLUMN cancelled_at"],
    down: &["ALTER TABLE booking ADD COLUMN cancelled_at BIGINT"],
};

//! Steps of releases that do not exist, for tests of a rolling update. Only programs for tests have them.

use sea_orm_migration::prelude::*;

/// The steps after the last real one: one that adds, and one that removes what it replaced.
#[must_use]
pub fn steps() -> Vec<Box<dyn MigrationTrait>> {
    vec![Box::new(EXPAND), Box::new(CONTRACT)]
}

struct Step {
    name: &'static str,
    up: &'static [&'static str],
    down: &'static [&'static str],
}

/// Adds, like a real step, a table, an index, and columns that may be empty or have a default, on tables in use.
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

/// Removes what only programs without the previous step use.
const CONTRACT: Step = Step {
    name: "m99990102_000001_drop_cancelled_at_needs_99990101_000001",
    up: &["ALTER TABLE booking DROP COLUMN cancelled_at"],
    down: &["ALTER TABLE booking ADD COLUMN cancelled_at BIGINT"],
};

impl MigrationName for Step {
    fn name(&self) -> &str {
        self.name
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Step {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, self.up).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, self.down).await
    }
}

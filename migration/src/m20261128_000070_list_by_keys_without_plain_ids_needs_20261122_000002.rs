//! Indexes for lists, whose later keys are expressions instead of plain columns.
//!
//! PostgreSQL 18 can skip over the first key of an index. So it can use an index of a customer and an id to look up an
//! id alone. On a table of few rows it does so and keeps the plan, which then reads one part of the index for each
//! customer. A look-up cannot use an index whose later key is an expression that it does not name. This does for every
//! list what `m20261128_000050_read_lists_in_order.rs` does for some.
//!
//! `GREATEST` with the nil UUID is the id itself. SQLite does not skip over a key unless the tables are analyzed; there
//! the index of bookings stays as it is.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The new index, the one that it replaces, and the table with the keys of each.
struct Replacement {
    new: (&'static str, &'static str),
    old: (&'static str, &'static str),
}

const BOOKINGS: Replacement = Replacement {
    new: (
        "booking_listed",
        "booking (customer_id, (GREATEST(id, '00000000-0000-0000-0000-000000000000'::uuid)))",
    ),
    old: ("booking_of_customer", "booking (customer_id, id)"),
};

const HOLDS: Replacement = Replacement {
    new: ("hold_listed", "hold (customer_id, (schedule_id + 0)) WHERE status = 0"),
    old: ("hold_of_customer", "hold (customer_id, schedule_id) WHERE status = 0"),
};

const SCHEDULES: Replacement = Replacement {
    new: ("schedule_listed", "schedule (event_id, (id + 0))"),
    old: ("schedule_of_event", "schedule (event_id, id)"),
};

/// What is replaced in this database.
fn replacements(manager: &SchemaManager<'_>) -> Vec<Replacement> {
    let postgres = manager.get_database_backend() == DbBackend::Postgres;
    postgres.then_some(BOOKINGS).into_iter().chain([HOLDS, SCHEDULES]).collect()
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// PostgreSQL can create an index without blocking writers only outside of a transaction.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for Replacement { new: (name, on), old: (old, _) } in replacements(manager) {
            crate::create_index(manager, "INDEX", name, on).await?;
            crate::run(manager, &[&format!("DROP INDEX IF EXISTS {old}")]).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for Replacement { new: (new, _), old: (name, on) } in replacements(manager) {
            crate::create_index(manager, "INDEX", name, on).await?;
            crate::run(manager, &[&format!("DROP INDEX IF EXISTS {new}")]).await?;
        }
        Ok(())
    }
}

//! The indexes by which a batch counts the live seats of the customers that a schedule limits.
//!
//! Their keys are expressions, and the statements that count compare the same expressions. So no other
//! index can answer those statements. With plain columns PostgreSQL may choose the primary key, by schedule
//! alone, from what it knew about a table when that was small; the cached plan then reads all bookings of the
//! schedule for each customer (135 × 1,795 rows, measured). SQLite chose so for holds on every table. The
//! condition on a hold's status is an expression, too: PostgreSQL may read through all of an index whose own
//! condition follows from the statement's, such as `hold_due`.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// PostgreSQL creates an index beside writers only outside of a transaction.
    fn use_transaction(&self) -> Option<bool> {
        Some(false)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let booking = "booking ((schedule_id + 0), (customer_id || '')) WHERE live_seats > 0";
        crate::create_index(manager, "booking_live_of_customer", booking).await?;
        let hold = "hold ((schedule_id + 0), (customer_id || '')) WHERE status + 0 = 0";
        crate::create_index(manager, "hold_live_of_customer", hold).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let drop = ["DROP INDEX hold_live_of_customer", "DROP INDEX booking_live_of_customer"];
        crate::run(manager, &drop).await
    }
}

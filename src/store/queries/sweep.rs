//! What grows old: holds whose end has come, and records that nobody needs any more.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr};
use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{HoldId, ScheduleId};

use crate::store::connection::dialect::Dialect;
use crate::store::{ReadFrom, Store};

/// How long a batch's proof is kept: far longer than anybody still asks for it.
pub(crate) const BATCH_LIFE_MS: i64 = 24 * 3_600_000;

/// Rows deleted in one statement, so that a purge never holds many locks for long.
pub const PURGE_ROWS: i64 = 5_000;

impl Store {
    /// At most `limit` holds whose end has come, the oldest first, with their written end and the
    /// database's time. Those that an outage stretches are left out while it does. Read on the primary: a
    /// replica would name holds that are gone.
    pub async fn due_holds(
        self: &Arc<Self>,
        limit: u32,
    ) -> Result<Vec<(HoldId, EpochMs, EpochMs)>, StoreError> {
        let dialect = self.dialect;
        let grace = i64::try_from(self.settings.policy.outage_grace.as_millis()).unwrap_or(0);
        let query = move |db: DatabaseConnection| async move {
            let now = dialect.now();
            // The clock in a sub-select is read once, so that the index on the end can be used.
            let sql = format!(
                "SELECT h.schedule_id, h.id, h.held_until, (SELECT {now}) FROM hold h
                 WHERE h.status = 0 AND h.held_until <= (SELECT {now}) AND NOT EXISTS (
                     SELECT 1 FROM outage o WHERE h.held_until >= o.began_at
                     AND h.held_until < o.ended_at + $2 AND (SELECT {now}) < o.ended_at + $2)
                 ORDER BY h.held_until LIMIT $1"
            );
            let values = vec![i64::from(limit).into(), grace.into()];
            let rows = db.query_all_raw(dialect.statement(sql, values)).await?;
            let one = |row: &sea_orm::QueryResult| {
                let (schedule, uuid, until, now) =
                    row.try_get_many_by_index::<(i64, Uuid, i64, i64)>()?;
                let id = HoldId { schedule: ScheduleId(schedule), uuid };
                Ok((id, EpochMs(until), EpochMs(now)))
            };
            rows.iter().map(one).collect::<Result<Vec<_>, DbErr>>()
        };
        self.on_primary(query).await
    }

    /// How many holds have an end that has not come, outages not considered. Counted where reads go, from an
    /// index of those alone.
    pub async fn holds_alive(self: &Arc<Self>) -> Result<i64, StoreError> {
        let dialect = self.dialect;
        self.read_from(ReadFrom::Anywhere, move |db| async move {
            let now = dialect.now();
            let sql = format!(
                "SELECT count(*) FROM hold WHERE status = 0 AND held_until > (SELECT {now})"
            );
            let row = db.query_one_raw(dialect.statement(sql, Vec::new())).await?;
            row.map_or(Ok(0), |row| row.try_get_by_index(0))
        })
        .await
    }

    /// Deletes some of the expired answers and old batch proofs; says how many. Call it until it finds few.
    pub async fn purge(self: &Arc<Self>) -> Result<u64, StoreError> {
        let dialect = self.dialect;
        let oldest = self.clock().0.saturating_sub(BATCH_LIFE_MS);
        let work = move |db: DatabaseConnection| async move {
            let due = format!("expires_at <= (SELECT {})", dialect.now());
            let row = match dialect {
                Dialect::Postgres => "ctid",
                Dialect::Sqlite => "(caller, key)",
            };
            // The outer condition again: the row may have been replaced by a new answer meanwhile.
            let answers = format!(
                "DELETE FROM idempotency WHERE {row} IN (SELECT {columns} FROM idempotency
                 WHERE {due} ORDER BY expires_at LIMIT $1) AND {due}",
                columns = row.trim_matches(['(', ')']),
            );
            let statement = dialect.statement(answers, vec![PURGE_ROWS.into()]);
            let answers = db.execute_raw(statement).await?.rows_affected();
            let batches = "DELETE FROM batch WHERE id IN (
                 SELECT id FROM batch WHERE id < $2 ORDER BY id LIMIT $1)";
            let values = vec![PURGE_ROWS.into(), first_uuid_of(oldest).into()];
            let batches = db.execute_raw(dialect.statement(batches, values)).await?.rows_affected();
            Ok::<_, DbErr>(answers + batches)
        };
        self.on_primary(work).await
    }
}

/// The least version 7 uuid of a millisecond (RFC 9562 §5.7): batches are older if theirs is less.
pub(crate) fn first_uuid_of(ms: i64) -> Uuid {
    Uuid::from_u128(u128::from(u64::try_from(ms).unwrap_or(0)) << 80)
}

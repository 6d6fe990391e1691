//! What grows old: holds whose end has come, and records that nobody needs any more.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DbErr};

use crate::domain::clock::EpochMs;
use crate::domain::failure::StoreError;
use crate::domain::ids::{HoldId, ScheduleId};

use super::Store;
use super::dialect::Dialect;

/// How long a batch's proof is kept: far longer than anybody still asks for it.
const BATCH_LIFE_MS: i64 = 24 * 3_600_000;

/// Rows deleted in one statement, so that a purge never holds many locks.
const PURGE_ROWS: i64 = 5_000;

impl Store {
    /// At most `limit` holds whose written end lies in the past, the oldest first, with that end and the
    /// database's time. Read on the primary: a replica would name holds that are gone.
    pub async fn due_holds(
        self: &Arc<Self>,
        limit: u32,
    ) -> Result<Vec<(HoldId, EpochMs, EpochMs)>, StoreError> {
        let store = Arc::clone(self);
        let query = async move {
            let now = store.dialect.now();
            let sql = format!(
                "SELECT schedule_id, id, held_until, {now} FROM hold
                 WHERE status = 0 AND held_until <= {now} ORDER BY held_until LIMIT $1"
            );
            let statement = store.dialect.statement(sql, vec![i64::from(limit).into()]);
            let rows = store.write.query_all_raw(statement).await?;
            let one = |row: &sea_orm::QueryResult| {
                let (schedule, uuid, until, now) =
                    row.try_get_many_by_index::<(i64, uuid::Uuid, i64, i64)>()?;
                let id = HoldId { schedule: ScheduleId(schedule), uuid };
                Ok((id, EpochMs(until), EpochMs(now)))
            };
            rows.iter().map(one).collect::<Result<Vec<_>, DbErr>>()
        };
        self.bounded(self.settings.limits.statement_timeout, query).await
    }

    /// Deletes some of the expired answers and old batch proofs; says how many. Call it now and then.
    pub async fn purge(self: &Arc<Self>) -> Result<u64, StoreError> {
        let store = Arc::clone(self);
        let work = async move {
            let now = store.dialect.now();
            let row = match store.dialect {
                Dialect::Postgres => "ctid",
                Dialect::Sqlite => "(caller, key)",
            };
            let answers = format!(
                "DELETE FROM idempotency WHERE {row} IN (SELECT {columns} FROM idempotency
                 WHERE expires_at <= {now} ORDER BY expires_at LIMIT $1)",
                columns = row.trim_matches(['(', ')']),
            );
            let batches = format!(
                "DELETE FROM batch WHERE id IN (SELECT id FROM batch
                 WHERE at <= {now} - {BATCH_LIFE_MS} ORDER BY id LIMIT $1)"
            );
            let mut deleted = 0;
            for sql in [answers, batches] {
                let statement = store.dialect.statement(sql, vec![PURGE_ROWS.into()]);
                deleted += store.write.execute_raw(statement).await?.rows_affected();
            }
            Ok(deleted)
        };
        self.bounded(self.settings.limits.statement_timeout, work).await
    }
}

//! Finds expired holds, and deletes records that are no longer needed.

use sea_orm::DbErr;
use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{HoldId, ScheduleId};
use crate::store::connection::{Db, DbResult, Dialect};
use crate::store::queries::{citus, idempotency};
use crate::store::{ReadFrom, Store};

/// How long the record of a batch is stored: far longer than resolving a lost COMMIT takes.
pub(crate) const BATCH_LIFE_MS: i64 = 24 * 3_600_000;

/// The most rows deleted by one statement, so that a purge never has many locks for long.
pub const PURGE_ROWS: i64 = 5_000;

impl Store {
    /// At most `limit` expired holds that are not marked yet, the oldest first, each with its stored end and the
    /// database's time. Holds that an outage extends beyond now are left out. Read on the primary: a replica may still
    /// list holds that have ended.
    pub async fn due_holds(&self, limit: u32) -> StoreResult<Vec<(HoldId, EpochMs, EpochMs)>> {
        let grace = i64::try_from(self.settings.policy.outage_grace.as_millis()).unwrap_or(0);
        self.on_primary(move |db| async move {
            let now = db.dialect.now();
            if db.dialect == Dialect::Citus {
                let found = citus::due_holds(&db, limit, grace).await?;
                return Ok(found.into_iter().map(due_hold).collect());
            }
            // In a sub-select the clock is read once, so that the indexes on the ends can be used. `+ 0` keeps PostgreSQL
            // from the index on the beginnings of outages, by which it would read all earlier outages.
            let sql = format!(
                "SELECT h.schedule_id, h.id, h.held_until, (SELECT {now}) FROM hold h
                 WHERE h.status = 0 AND h.held_until <= (SELECT {now}) AND NOT EXISTS (
                     SELECT 1 FROM outage o WHERE o.ended_at > (SELECT {now}) - $2
                     AND h.held_until >= o.began_at + 0 AND h.held_until < o.ended_at + $2)
                 ORDER BY h.held_until LIMIT $1"
            );
            let values = vec![i64::from(limit).into(), grace.into()];
            let found = db.fetch::<(i64, Uuid, i64, i64)>(sql, values).await?;
            Ok::<_, DbErr>(found.into_iter().map(due_hold).collect())
        })
        .await
    }

    /// The number of active holds, outages not considered. Read from the replica if there is one, with the index
    /// `hold_due`.
    pub async fn holds_alive(&self) -> StoreResult<i64> {
        self.read_from(ReadFrom::Anywhere, move |db| async move {
            let sql = format!(
                "SELECT count(*) FROM hold WHERE status = 0 AND held_until > (SELECT {})",
                db.dialect.now()
            );
            Ok(db.fetch_one(sql, Vec::new()).await?.unwrap_or(0))
        })
        .await
    }

    /// Deletes expired answers and old batch records, at most [`PURGE_ROWS`] of each, and returns their number. Call
    /// this again until the number is small.
    pub async fn purge(&self) -> StoreResult<u64> {
        let oldest = self.clock().0.saturating_sub(BATCH_LIFE_MS);
        self.on_primary(move |db| async move {
            let now = db.dialect.now();
            let row = match db.dialect {
                Dialect::Citus => return purge_citus(&db, oldest).await,
                Dialect::Postgres => "ctid",
                Dialect::Sqlite => "(caller, key)",
            };
            let columns = row.trim_matches(['(', ')']);
            let due = format!(
                "SELECT {columns} FROM idempotency WHERE expires_at <= (SELECT {now})
                 ORDER BY expires_at LIMIT $1"
            );
            // The condition is repeated outside: a new answer may have replaced the row meanwhile. `+ 0` keeps PostgreSQL
            // from the index on it, by which it would read all expired answers.
            let answers = format!(
                "DELETE FROM idempotency WHERE {} AND expires_at + 0 <= (SELECT {now})",
                db.dialect.one_of(row, &due)
            );
            let answers = db.execute(answers, vec![PURGE_ROWS.into()]).await?;
            let old = "SELECT id FROM batch WHERE id < $2 ORDER BY id LIMIT $1";
            let batches = format!("DELETE FROM batch WHERE {}", db.dialect.one_of("id", old));
            let values = vec![PURGE_ROWS.into(), first_uuid_of(oldest).into()];
            Ok::<_, DbErr>(answers + db.execute(batches, values).await?)
        })
        .await
    }
}

/// A hold from the columns `(schedule_id, id, held_until, now)`.
fn due_hold((schedule, uuid, until, now): (i64, Uuid, i64, i64)) -> (HoldId, EpochMs, EpochMs) {
    let id = HoldId { schedule: ScheduleId(schedule), uuid };
    (id, EpochMs(until), EpochMs(now))
}

/// Deletes what [`Store::purge`] deletes.
async fn purge_citus(db: &Db, oldest: i64) -> DbResult<u64> {
    let (now, _) = citus::clock(db, 0).await?;
    let mut deleted = 0;
    for table in idempotency::tables(db.dialect) {
        let end = now.0.saturating_add(1).into();
        deleted += citus::delete_oldest(db, (table, "expires_at"), end, PURGE_ROWS).await?;
    }
    let end = first_uuid_of(oldest).into();
    Ok(deleted + citus::delete_oldest(db, ("batch", "id"), end, PURGE_ROWS).await?)
}

/// The smallest version 7 uuid of a millisecond (RFC 9562 §5.7). A batch with a smaller id is older.
pub(crate) fn first_uuid_of(ms: i64) -> Uuid {
    Uuid::from_u128(u128::from(u64::try_from(ms).unwrap_or(0)) << 80)
}

//! The heartbeat, and the outages that are found as its gaps.
//!
//! Replicas update one row each second. The first heartbeat or batch that finds the row too old records the gap as an
//! outage before anything is decided, so that every replica extends the same holds.

use std::iter;
use std::time::Duration;

use entity::schedule;
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult as _};
use uuid::Uuid;

use crate::domain::clock::{EpochMs, Outage};
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{BatchId, ScheduleId};
use crate::domain::rules::Policy;
use crate::store::Store;
use crate::store::connection::routing::system_ms;
use crate::store::connection::{Db, DbResult, Dialect, RowSet, Session, Transaction, rows};
use crate::store::queries::outages::outages;

/// A heartbeat older than this means that no process could write.
const GAP_MS: i64 = 3_000;

/// From this age on a batch updates the heartbeat as well: a database that is busy writing is not unavailable,
/// even if the heartbeats themselves have to wait (SQLite's one write lock is not fair).
const OVERDUE_MS: i64 = 1_500;

/// The data that a batch reads after it has locked its rows.
pub(crate) struct BatchContext {
    pub(crate) now: EpochMs,
    pub(crate) committed_attempt: Option<i16>,
    pub(crate) outages: Vec<Outage>,
    pub(crate) schedules: Vec<schedule::Model>,
    /// Whether a gap was recorded. If so, the transaction must be committed, whatever else is decided.
    pub(crate) recorded_gap: bool,
}

/// Reads clock, batch, outages and schedules in one statement; records a gap if there is one.
pub(crate) async fn context(
    session: &Transaction,
    batch: BatchId,
    policy: &Policy,
    schedules: impl Iterator<Item = ScheduleId>,
) -> DbResult<BatchContext> {
    let schedules = rows::schedule_ids(schedules);
    // At most two rounds: if another process has recorded the gap first, the second round reads its record.
    for _ in 0..2 {
        let (mut context, beat_at) = read(session, batch, policy, &schedules).await?;
        let age = context.now.0 - beat_at;
        if beat_at == 0 || age <= OVERDUE_MS {
            return Ok(context);
        }
        let updated = update(session, beat_at, context.now).await?;
        if age <= GAP_MS {
            return Ok(context);
        }
        if updated {
            let sql = "INSERT INTO outage (began_at, ended_at) VALUES ($1, $2)";
            session.execute(sql, vec![beat_at.into(), context.now.0.into()]).await?;
            context.outages.push(Outage { began: EpochMs(beat_at), ended: context.now });
            context.recorded_gap = true;
            return Ok(context);
        }
    }
    Err(rows::corrupt("heartbeat"))
}

/// The run of a batch that is durable, if there is one. With several schedules the batch has [`ScheduleId::NONE`].
pub(crate) async fn committed_attempt<C: ConnectionTrait>(
    session: &Session<C>,
    batch: BatchId,
    schedule: ScheduleId,
) -> DbResult<Option<i16>> {
    let (of_schedule, schedule) = match session.dialect {
        Dialect::Citus => ("AND schedule_id = $2", Some(schedule.into())),
        Dialect::Postgres | Dialect::Sqlite => ("", None),
    };
    let sql = format!("SELECT attempt FROM batch WHERE id = $1 {of_schedule}");
    session.fetch_one(sql, iter::once(batch.0.into()).chain(schedule).collect()).await
}

/// Reads the context, and the time of the last heartbeat. On Citus the context is on the coordinator, so that all
/// workers' batches have one clock, and the batch is not looked up.
async fn read(
    session: &Transaction,
    batch: BatchId,
    policy: &Policy,
    schedules: &RowSet<ScheduleId>,
) -> DbResult<(BatchContext, i64)> {
    let now = session.dialect.now();
    let (attempt, batch_table, condition) = match session.dialect {
        Dialect::Citus => ("CAST(NULL AS SMALLINT) AS attempt", "", "AND $1::uuid IS NOT NULL"),
        Dialect::Postgres | Dialect::Sqlite => ("b.attempt", "LEFT JOIN batch b ON b.id = $1", ""),
    };
    let before = format!(
        "SELECT {now} AS now, h.beat_at, {attempt}, t.*,
            (SELECT string_agg(o.began_at || ':' || o.ended_at, ',') FROM outage o
             WHERE o.ended_at > (SELECT {now}) - $2) AS outages
         FROM heartbeat h {batch_table}
         LEFT JOIN (SELECT t.* FROM"
    );
    let join = session.dialect.join_by_key("schedule", "t", &["id"]);
    let after = format!("{join}) t ON true WHERE h.id = 1 {condition}");
    // An older outage cannot have extended any hold that is active now.
    let horizon = policy.hold_ttl_max.saturating_add(policy.outage_grace) * 2;
    let horizon = i64::try_from(horizon.as_millis()).unwrap_or(i64::MAX);
    let values = vec![batch.0.into(), horizon.into()];
    let found = session
        .query(schedules.clone().statement(session.dialect, values, &before, &after))
        .await?;
    let first = found.first().ok_or_else(|| rows::corrupt("heartbeat"))?;
    let text: Option<String> = first.try_get("", "outages")?;
    let mut schedules = Vec::with_capacity(found.len());
    for row in &found {
        if row.try_get::<Option<i64>>("", "id")?.is_some() {
            schedules.push(schedule::Model::from_query_result(row, "")?);
        }
    }
    let context = BatchContext {
        now: EpochMs(first.try_get("", "now")?),
        committed_attempt: first.try_get("", "attempt")?,
        outages: outages(text.as_deref().unwrap_or_default())?,
        schedules,
        recorded_gap: false,
    };
    Ok((context, first.try_get("", "beat_at")?))
}

/// Updates the heartbeat from `seen` to `now`; false if another process has updated it.
async fn update(session: &Transaction, seen: i64, now: EpochMs) -> DbResult<bool> {
    let sql = "UPDATE heartbeat SET beat_at = $1 WHERE id = 1 AND beat_at = $2";
    Ok(session.execute(sql, vec![now.0.into(), seen.into()]).await? > 0)
}

impl Store {
    /// Updates the heartbeat on the primary; a gap is recorded first. Call this each second. The write also proves
    /// that the primary is writable. Fails if the write takes longer than `limit`.
    pub async fn write_heartbeat(&self, limit: Duration) -> StoreResult<()> {
        let policy = self.settings.policy;
        let sent_ms = system_ms();
        let work = move |db: Db| async move {
            let session = db.begin().await?;
            let context =
                context(&session, BatchId(Uuid::nil()), &policy, std::iter::empty()).await?;
            let sql = "UPDATE heartbeat SET beat_at = $1 WHERE id = 1 AND beat_at < $1 - 500";
            session.execute(sql, vec![context.now.0.into()]).await?;
            session.connection.commit().await?;
            Ok::<_, DbErr>(context.now)
        };
        let now = self.bounded(&self.heartbeat, limit, work).await?;
        self.set_clock(now, sent_ms);
        Ok(())
    }
}

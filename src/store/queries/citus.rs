//! Statements for Citus that have another form on PostgreSQL: those that read or delete rows of all schedules, and need
//! tables of the coordinator or a limit.

use sea_orm::Value;
use uuid::Uuid;

use crate::domain::clock::{EpochMs, Outage};
use crate::domain::ids::ScheduleId;
use crate::store::connection::{Db, DbResult, Dialect, RowSet, rows};
use crate::store::queries::outages::outages;

/// Outages as rows to join with. The workers do not have the table.
pub(crate) fn outage_rows(outages: &[Outage]) -> RowSet<&Outage> {
    RowSet::of(outages)
        .with("began_at", |outage| outage.began.0)
        .with("ended_at", |outage| outage.ended.0)
}

/// The coordinator's clock, and the outages that ended at most `horizon` milliseconds ago.
pub(crate) async fn clock(db: &Db, horizon: i64) -> DbResult<(EpochMs, Vec<Outage>)> {
    let now = db.dialect.now();
    let sql = format!(
        "SELECT {now}, (SELECT string_agg(began_at || ':' || ended_at, ',') FROM outage
             WHERE ended_at > {now} - $1)"
    );
    let found = db.fetch_one::<(i64, Option<String>)>(sql, vec![horizon.into()]).await?;
    let (now, text) = found.ok_or_else(|| rows::corrupt("clock"))?;
    Ok((EpochMs(now), outages(text.as_deref().unwrap_or_default())?))
}

/// The rows of [`Store::due_holds`](crate::store::Store::due_holds), by the coordinator's clock.
pub(crate) async fn due_holds(
    db: &Db,
    limit: u32,
    grace: i64,
) -> DbResult<Vec<(i64, Uuid, i64, i64)>> {
    let (now, outages) = clock(db, grace).await?;
    let values = vec![i64::from(limit).into(), grace.into(), now.0.into()];
    let before = "SELECT h.schedule_id, h.id, h.held_until, $3::bigint FROM hold h
         WHERE h.status = 0 AND h.held_until <= $3 AND NOT EXISTS (SELECT 1 FROM";
    let after = "WHERE h.held_until >= r.began_at AND h.held_until < r.ended_at + $2)
         ORDER BY h.held_until LIMIT $1";
    db.fetch_set(outage_rows(&outages), values, before, after).await
}

/// Collects statistics of the shard with the seats of a new schedule. Without them a worker may read all seats of a schedule
/// for each seat of a batch, until its autovacuum has run.
pub(crate) async fn analyze(db: &Db, schedule: ScheduleId) -> DbResult<()> {
    let sql = "SELECT count(a.*) FROM (
             SELECT get_shard_id_for_distribution_column('seat', $1) AS shardid) s
         JOIN pg_dist_placement p ON p.shardid = s.shardid
         JOIN pg_dist_node n ON n.groupid = p.groupid AND n.noderole = 'primary',
         LATERAL master_run_on_worker(ARRAY[n.nodename], ARRAY[n.nodeport],
             ARRAY['ANALYZE ' || shard_name('seat'::regclass, s.shardid)], false) a";
    db.fetch_one::<i64>(sql, vec![schedule.into()]).await.map(drop)
}

/// Deletes about `limit` rows with the smallest values of `column`, if these are below `end`. Returns their number. Rows
/// that have the value of the last of them are deleted, too: a limit cannot be sent to several workers.
pub(crate) async fn delete_oldest(
    db: &Db,
    (table, column): (&str, &str),
    end: Value,
    limit: i64,
) -> DbResult<u64> {
    debug_assert_eq!(db.dialect, Dialect::Citus);
    let ty = if matches!(end, Value::Uuid(_)) { "uuid" } else { "bigint" };
    let last = format!(
        "SELECT {column}::text FROM {table} WHERE {column} < $1 ORDER BY {column} LIMIT 1 OFFSET $2"
    );
    let last = db.fetch_one::<String>(last, vec![end.clone(), limit.into()]).await?;
    match last {
        Some(last) => {
            let sql = format!("DELETE FROM {table} WHERE {column} <= $1::text::{ty}");
            db.execute(sql, vec![last.into()]).await
        }
        None => db.execute(format!("DELETE FROM {table} WHERE {column} < $1"), vec![end]).await,
    }
}

//! Locks and reads everything a batch decides on.
//!
//! One global order, so that no two batches of any replicas can deadlock: holds, bookings and blocks by
//! identifier, then seats by schedule and number, the schedules' version rows last. Locking is one
//! statement and deciding the next: a lock and a check in one statement would sell a seat twice under READ
//! COMMITTED. Everything after the version rows is read in new statements, behind all locks.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use entity::{block, booking, hold, schedule};
use sea_orm::{DbErr, Statement};
use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::ids::{BatchId, CustomerId, HoldId, ScheduleId};
use crate::domain::rows::{Rows, ScheduleRow, SeatKey};
use crate::domain::rules::Policy;
use crate::domain::seat::{SeatRow, SeatState};
use crate::faults::{self, FailPoint, Injected};
use crate::store::connection::dialect::{Column, Dialect, RowSet};
use crate::store::connection::rows;
use crate::store::queries::heartbeat;
use crate::store::queries::idempotency;

use super::rows_to_lock::RowsToLock;
use crate::store::connection::transaction::Session;

/// What was read behind the locks.
pub(crate) struct Loaded {
    pub(crate) now: EpochMs,
    pub(crate) rows: Rows,
    /// The attempt of this very batch that was committed before, if one was.
    pub(crate) committed_attempt: Option<i16>,
    /// Whether something was written already that must be committed whatever is decided.
    pub(crate) must_commit: bool,
}

pub(crate) async fn load(
    session: &Session<'_>,
    batch: BatchId,
    policy: &Policy,
    mut wanted: RowsToLock,
) -> Result<Loaded, DbErr> {
    let mut rows = Rows::default();
    let began = Instant::now();
    let locked = lock(session, &mut wanted, &mut rows).await;
    session.locked_after(began.elapsed());
    let versions = locked?;
    let context = heartbeat::context(session, batch, policy).await?;
    rows.outages = context.outages;
    rows.answers = idempotency::find(session, context.now, wanted.keys.iter()).await?;
    load_owners(session, &mut rows).await?;
    load_schedules(session, &versions, &mut rows).await?;
    load_customers(session, &wanted, &mut rows).await?;
    Ok(Loaded {
        now: context.now,
        rows,
        committed_attempt: context.committed_attempt,
        must_commit: context.recorded_gap,
    })
}

/// A failure that a test has asked for, as the database would tell it.
pub(crate) fn injected(fault: Injected) -> DbErr {
    DbErr::Custom(fault.to_string())
}

/// Every row that the batch decides on, in the global order; gives the versions of the schedules.
async fn lock(
    session: &Session<'_>,
    wanted: &mut RowsToLock,
    rows: &mut Rows,
) -> Result<HashMap<ScheduleId, i64>, DbErr> {
    lock_claims(session, wanted, rows).await?;
    lock_seats(session, wanted, rows).await?;
    faults::reach(FailPoint::AfterRowLock).await.map_err(injected)?;
    let versions = lock_versions(session, wanted).await?;
    faults::reach(FailPoint::AfterVersionLock).await.map_err(injected)?;
    Ok(versions)
}

fn scoped<T>(ids: impl Iterator<Item = T> + Clone, split: fn(T) -> (ScheduleId, Uuid)) -> RowSet {
    let schedules = ids.clone().map(|id| split(id).0.0).collect();
    let uuids = ids.map(|id| split(id).1).collect();
    RowSet::new().with("schedule_id", Column::BigInt(schedules)).with("id", Column::Uuid(uuids))
}

async fn lock_claims(
    session: &Session<'_>,
    wanted: &mut RowsToLock,
    rows: &mut Rows,
) -> Result<(), DbErr> {
    let lock = |clause| {
        let on = "JOIN {t} t ON t.schedule_id = r.schedule_id AND t.id = r.id ORDER BY t.schedule_id, t.id";
        format!("{on} {}", session.dialect.lock(clause))
    };
    let after = lock("FOR UPDATE OF t");
    let select = "SELECT t.* FROM";
    if !wanted.holds.is_empty() {
        let set = scoped(wanted.holds.iter(), |id| (id.schedule, id.uuid));
        for model in
            session.rows::<hold::Entity>(&set, select, &after.replace("{t}", "hold")).await?
        {
            let row = rows::hold(model)?;
            wanted.add_hold(&row);
            rows.holds.insert(row.id, row);
        }
    }
    if !wanted.bookings.is_empty() {
        let set = scoped(wanted.bookings.iter(), |id| (id.schedule, id.uuid));
        let after = after.replace("{t}", "booking");
        for model in session.rows::<booking::Entity>(&set, select, &after).await? {
            let row = rows::booking(model)?;
            wanted.add_booking(&row);
            rows.bookings.insert(row.id, row);
        }
    }
    if !wanted.blocks.is_empty() {
        let set = scoped(wanted.blocks.iter(), |id| (id.schedule, id.uuid));
        for model in
            session.rows::<block::Entity>(&set, select, &after.replace("{t}", "block")).await?
        {
            let row = rows::block(model)?;
            wanted.add_block(&row);
            rows.blocks.insert(row.id, row);
        }
    }
    Ok(())
}

async fn lock_seats(
    session: &Session<'_>,
    wanted: &RowsToLock,
    rows: &mut Rows,
) -> Result<(), DbErr> {
    if wanted.seats.is_empty() {
        return Ok(());
    }
    let set = rows::seat_keys(wanted.seats.iter().copied());
    let before =
        "SELECT s.schedule_id, s.number, s.label, s.price, s.state, s.hold_id, s.held_until,
                  s.booking_id, s.block_id FROM";
    let after = format!(
        "JOIN seat s ON s.schedule_id = r.schedule_id AND s.number = r.number
         ORDER BY s.schedule_id, s.number {}",
        session.dialect.lock("FOR UPDATE OF s")
    );
    let found = session.query(set.statement(session.dialect, Vec::new(), before, &after)).await?;
    rows.seats.reserve(found.len());
    for row in found {
        type Columns =
            (i64, i32, String, i64, i16, Option<Uuid>, Option<i64>, Option<Uuid>, Option<Uuid>);
        let (schedule, number, label, price, state, hold, until, booking, block) =
            row.try_get_many_by_index::<Columns>()?;
        let state = rows::seat_state((state, hold, until, booking, block))?;
        let key = (ScheduleId(schedule), rows::seat_number(number)?);
        rows.seats.insert(key, SeatRow { label, price, state });
    }
    Ok(())
}

async fn lock_versions(
    session: &Session<'_>,
    wanted: &RowsToLock,
) -> Result<HashMap<ScheduleId, i64>, DbErr> {
    if wanted.schedules.is_empty() {
        return Ok(HashMap::new());
    }
    let after = format!(
        "JOIN schedule_version v ON v.schedule_id = r.id ORDER BY v.schedule_id {}",
        session.dialect.lock("FOR NO KEY UPDATE OF v")
    );
    let set = rows::schedule_ids(wanted.schedules.iter().copied());
    let before = "SELECT v.schedule_id, v.version FROM";
    let found = session.query(set.statement(session.dialect, Vec::new(), before, &after)).await?;
    let pair = |row: sea_orm::QueryResult| {
        let (id, version) = row.try_get_many_by_index::<(i64, i64)>()?;
        Ok((ScheduleId(id), version))
    };
    found.into_iter().map(pair).collect()
}

/// Whose the holds are that stand in the way of somebody, so that customers can be told of their own.
async fn load_owners(session: &Session<'_>, rows: &mut Rows) -> Result<(), DbErr> {
    let held = |(key, row): (&SeatKey, &SeatRow)| match row.state {
        SeatState::Held { hold, .. } => Some(HoldId { schedule: key.0, uuid: hold }),
        _ => None,
    };
    let named: BTreeSet<HoldId> = rows.seats.iter().filter_map(held).collect();
    let others: Vec<HoldId> = named.into_iter().filter(|id| !rows.holds.contains_key(id)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let set = scoped(others.iter(), |id| (id.schedule, id.uuid));
    let before = "SELECT t.schedule_id, t.id, t.customer_id FROM";
    let after = "JOIN hold t ON t.schedule_id = r.schedule_id AND t.id = r.id";
    for row in session.query(set.statement(session.dialect, Vec::new(), before, after)).await? {
        let (schedule, uuid, customer) = row.try_get_many_by_index::<(i64, Uuid, String)>()?;
        let id = HoldId { schedule: ScheduleId(schedule), uuid };
        rows.owners.insert(id, rows::customer(customer)?);
    }
    Ok(())
}

async fn load_schedules(
    session: &Session<'_>,
    versions: &HashMap<ScheduleId, i64>,
    rows: &mut Rows,
) -> Result<(), DbErr> {
    if versions.is_empty() {
        return Ok(());
    }
    let set = rows::schedule_ids(versions.keys().copied());
    let after = "JOIN schedule t ON t.id = r.id";
    for model in session.rows::<schedule::Entity>(&set, "SELECT t.* FROM", after).await? {
        let id = ScheduleId(model.id);
        let version = *versions.get(&id).ok_or_else(|| rows::corrupt("schedule version"))?;
        let rules = rows::rules(&model)?;
        rows.schedules.insert(id, ScheduleRow { version, rules });
    }
    Ok(())
}

/// The keys of `booking_live_of_customer` and `hold_live_of_customer`. No other index has them, so none other
/// can be chosen, whatever the database knows about the tables.
const LIVE_CLAIMS: &str =
    "t.schedule_id + 0 = r.schedule_id AND t.customer_id || '' = r.customer_id";

/// Counted only where a schedule limits them, and only behind its version row: counted before, two
/// replicas could exceed the limit together.
async fn load_customers(
    session: &Session<'_>,
    wanted: &RowsToLock,
    rows: &mut Rows,
) -> Result<(), DbErr> {
    let limited = |schedule: &ScheduleId| {
        let row = rows.schedules.get(schedule);
        row.is_some_and(|row| row.rules.max_seats_per_customer.is_some())
    };
    let customers: Vec<&(ScheduleId, CustomerId)> =
        wanted.customers.iter().filter(|(schedule, _)| limited(schedule)).collect();
    if customers.is_empty() {
        return Ok(());
    }
    let schedules = customers.iter().map(|(schedule, _)| schedule.0).collect();
    let names = customers.iter().map(|(_, customer)| customer.as_str().to_owned()).collect();
    let set = RowSet::new()
        .with("schedule_id", Column::BigInt(schedules))
        .with("customer_id", Column::Text(names));
    let key = |schedule: i64, customer: String| {
        Ok::<_, DbErr>((ScheduleId(schedule), rows::customer(customer)?))
    };
    for row in session.query(live_bookings(session.dialect, &set)).await? {
        let (schedule, customer, seats) = row.try_get_many_by_index::<(i64, String, i64)>()?;
        let entry = rows.customers.entry(key(schedule, customer)?).or_default();
        entry.booked = u32::try_from(seats).map_err(|_| rows::corrupt("count"))?;
    }
    for row in session.query(live_holds(session.dialect, &set)).await? {
        let (schedule, customer, id, until, seats) =
            row.try_get_many_by_index::<(i64, String, Uuid, i64, i32)>()?;
        let seats = u32::try_from(seats).map_err(|_| rows::corrupt("count"))?;
        let entry = rows.customers.entry(key(schedule, customer)?).or_default();
        entry.holds.push((id, EpochMs(until), seats));
    }
    Ok(())
}

fn live_bookings(dialect: Dialect, customers: &RowSet) -> Statement {
    let before = "SELECT t.schedule_id, t.customer_id, CAST(sum(t.live_seats) AS BIGINT) FROM";
    let live = dialect.look_up("booking", &format!("{LIVE_CLAIMS} AND t.live_seats > 0"));
    let after = format!("{live} GROUP BY t.schedule_id, t.customer_id");
    customers.statement(dialect, Vec::new(), before, &after)
}

fn live_holds(dialect: Dialect, customers: &RowSet) -> Statement {
    let before = "SELECT t.schedule_id, t.customer_id, t.id, t.held_until, t.seat_count FROM";
    let live = dialect.look_up("hold", &format!("{LIVE_CLAIMS} AND t.status + 0 = 0"));
    customers.statement(dialect, Vec::new(), before, &live)
}

#[cfg(test)]
mod tests {
    use migration::Migrator;
    use sea_orm::{ConnectOptions, ConnectionTrait as _, Database};
    use sea_orm_migration::MigratorTrait as _;

    use super::*;

    #[tokio::test]
    async fn sqlite_looks_up_live_claims_customer_by_customer_in_their_own_indexes() {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1);
        let db = Database::connect(options).await.unwrap();
        Migrator::up(&db, None).await.unwrap();
        let set = RowSet::new()
            .with("schedule_id", Column::BigInt(vec![1]))
            .with("customer_id", Column::Text(vec!["ada".to_owned()]));
        for (statement, index) in [
            (live_bookings(Dialect::Sqlite, &set), "booking_live_of_customer"),
            (live_holds(Dialect::Sqlite, &set), "hold_live_of_customer"),
        ] {
            let plan = format!("EXPLAIN QUERY PLAN {}", statement.sql);
            let rows = db.query_all_raw(Statement { sql: plan, ..statement }).await.unwrap();
            let steps: Vec<String> =
                rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
            assert!(steps[0].starts_with("SCAN json_each"), "{steps:?}");
            let by_both = format!("SEARCH t USING INDEX {index} (<expr>=? AND <expr>=?)");
            assert_eq!(steps[1], by_both);
        }
    }
}

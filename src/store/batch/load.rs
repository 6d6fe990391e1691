//! Locks and reads everything that a batch decides on.
//!
//! All replicas lock rows in one order, so that no two batches can deadlock: holds, bookings and blocks by
//! identifier, then seats by schedule and number, then the version rows of the schedules. A row is locked by one
//! statement and checked after it: under READ COMMITTED, one statement that locks and checks would sell a seat
//! twice. A statement that waits for a lock returns the newest version of the row. Everything else is read by later
//! statements, after all locks are taken, because a statement sees the other tables as they were when it began.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use sea_orm::{DbErr, FromQueryResult, Statement};
use uuid::Uuid;

use super::rows_to_lock::RowsToLock;
use crate::domain::clock::EpochMs;
use crate::domain::ids::{BatchId, CustomerId, HoldId, ScheduleId};
use crate::domain::rows::{Rows, ScheduleRow, SeatKey};
use crate::domain::rules::Policy;
use crate::domain::seat::{SeatRow, SeatState};
use crate::faults::{self, FailPoint, Injected};
use crate::store::connection::{DbResult, Dialect, RowSet, Transaction, rows};
use crate::store::queries::heartbeat::{self, BatchContext};

/// Locks and reads the rows of a batch, and reads the other data that it needs, except recorded answers.
pub(crate) async fn load(
    session: &Transaction,
    batch: BatchId,
    policy: &Policy,
    rows_to_lock: &mut RowsToLock,
) -> DbResult<(BatchContext, Rows)> {
    let mut rows = Rows::default();
    let began = Instant::now();
    let locked = lock(session, rows_to_lock, &mut rows).await;
    session.set_lock_time(began.elapsed());
    let versions = locked?;
    let mut context = heartbeat::context(session, batch, policy, versions.keys().copied()).await?;
    for model in &context.schedules {
        let id = ScheduleId(model.id);
        let version = *versions.get(&id).ok_or_else(|| rows::corrupt("schedule version"))?;
        let rules = rows::rules(model)?;
        rows.schedules.insert(id, ScheduleRow { version, rules });
    }
    rows.outages = std::mem::take(&mut context.outages);
    load_owners(session, &mut rows).await?;
    load_customers(session, rows_to_lock, &mut rows).await?;
    Ok((context, rows))
}

/// Converts a fault that a test has injected to a database error.
pub(crate) fn injected(fault: Injected) -> DbErr {
    DbErr::Custom(fault.to_string())
}

/// Locks every row that the batch decides on, in the global order; returns the versions of the schedules.
async fn lock(
    session: &Transaction,
    rows_to_lock: &mut RowsToLock,
    rows: &mut Rows,
) -> DbResult<HashMap<ScheduleId, i64>> {
    lock_claims(session, rows_to_lock, rows).await?;
    let versions = lock_seats(session, rows_to_lock, rows).await?;
    faults::reach(FailPoint::AfterRowLock).await.map_err(injected)?;
    Ok(versions)
}

async fn lock_claims(
    session: &Transaction,
    rows_to_lock: &mut RowsToLock,
    rows: &mut Rows,
) -> DbResult<()> {
    let holds = rows_to_lock.holds.iter().map(|id| (id.schedule, id.uuid)).collect();
    for model in locked_claims(session, "hold", holds).await? {
        let row = rows::hold(model)?;
        rows_to_lock.add_hold(&row);
        rows.holds.insert(row.id, row);
    }
    let bookings = rows_to_lock.bookings.iter().map(|id| (id.schedule, id.uuid)).collect();
    for model in locked_claims(session, "booking", bookings).await? {
        let row = rows::booking(model)?;
        rows_to_lock.add_booking(&row);
        rows.bookings.insert(row.id, row);
    }
    let blocks = rows_to_lock.blocks.iter().map(|id| (id.schedule, id.uuid)).collect();
    for model in locked_claims(session, "block", blocks).await? {
        let row = rows::block(model)?;
        rows_to_lock.add_block(&row);
        rows.blocks.insert(row.id, row);
    }
    Ok(())
}

async fn locked_claims<M: FromQueryResult>(
    session: &Transaction,
    table: &str,
    ids: Vec<(ScheduleId, Uuid)>,
) -> DbResult<Vec<M>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let after = format!(
        "{} ORDER BY r.schedule_id, r.id {}",
        session.dialect.join_by_key(table, "t", &["schedule_id", "id"]),
        session.dialect.lock("FOR UPDATE OF t")
    );
    session.models_of_set(rows::claim_ids(ids), Vec::new(), &after).await
}

/// A seat, without a version, or the version of a schedule, without a seat.
type LockedRow = (
    i64,
    Option<i64>,
    Option<i32>,
    Option<String>,
    Option<i64>,
    Option<i16>,
    Option<Uuid>,
    Option<i64>,
    Option<Uuid>,
    Option<Uuid>,
);

/// Locks the seats, and then the version rows of the schedules, in one statement; returns the versions.
async fn lock_seats(
    session: &Transaction,
    rows_to_lock: &RowsToLock,
    rows: &mut Rows,
) -> DbResult<HashMap<ScheduleId, i64>> {
    let mut versions = HashMap::with_capacity(rows_to_lock.schedules.len());
    if rows_to_lock.schedules.is_empty() {
        return Ok(versions);
    }
    rows.seats.reserve(rows_to_lock.seats.len());
    let statement = seat_locks(session.dialect, rows_to_lock);
    for columns in session.fetch_statement::<LockedRow>(statement).await? {
        let (schedule, version, number, label, price, state, hold, until, booking, block) = columns;
        let schedule = ScheduleId(schedule);
        if let Some(version) = version {
            versions.insert(schedule, version);
        }
        if let (Some(number), Some(label), Some(price), Some(state)) = (number, label, price, state)
        {
            let state = rows::seat_state((state, hold, until, booking, block))?;
            let key = (schedule, rows::seat_number(number)?);
            rows.seats.insert(key, SeatRow { label, price, state });
        }
    }
    Ok(versions)
}

/// The statement that locks. PostgreSQL reads the version rows only after it has counted, and so locked, all seats.
fn seat_locks(dialect: Dialect, rows_to_lock: &RowsToLock) -> Statement {
    let mut values = Vec::new();
    let seats = rows::seat_keys(rows_to_lock.seats.iter().copied())
        .or_of(rows_to_lock.schedules.first().copied());
    let schedules = RowSet::of(&rows_to_lock.schedules).with("schedule_id", |id| **id);
    let sql = format!(
        "WITH locked_seat AS MATERIALIZED (
             SELECT s.schedule_id, s.number, s.label, s.price, s.state, s.hold_id, s.held_until,
                 s.booking_id, s.block_id
             FROM {seats} {join_seats} ORDER BY r.schedule_id, r.number {seat_lock}),
         locked_version AS MATERIALIZED (
             SELECT v.schedule_id, v.version FROM {schedules} {join_versions}
             WHERE (SELECT count(*) FROM locked_seat) >= 0 ORDER BY r.schedule_id {version_lock})
         SELECT schedule_id, CAST(NULL AS BIGINT) AS version, number, label, price, state, hold_id,
             held_until, booking_id, block_id FROM locked_seat
         UNION ALL SELECT schedule_id, version, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
         FROM locked_version",
        seats = seats.source(dialect, &mut values),
        schedules = schedules.source(dialect, &mut values),
        join_seats = dialect.join_by_key("seat", "s", &["schedule_id", "number"]),
        seat_lock = dialect.lock("FOR UPDATE OF s"),
        join_versions = dialect.join_by_key("schedule_version", "v", &["schedule_id"]),
        version_lock = dialect.lock("FOR NO KEY UPDATE OF v"),
    );
    dialect.statement(sql, values)
}

/// Reads the customers of other holds that have seats of the batch: a conflict names the hold if it is the requesting
/// customer's own.
async fn load_owners(session: &Transaction, rows: &mut Rows) -> DbResult<()> {
    let held = |(key, row): (&SeatKey, &SeatRow)| match row.state {
        SeatState::Held { hold, .. } => Some(HoldId { schedule: key.0, uuid: hold }),
        _ => None,
    };
    let mut others: BTreeSet<HoldId> = rows.seats.iter().filter_map(held).collect();
    others.retain(|id| !rows.holds.contains_key(id));
    if others.is_empty() {
        return Ok(());
    }
    let set = rows::claim_ids(others.iter().map(|id| (id.schedule, id.uuid)));
    let before = "SELECT t.schedule_id, t.id, t.customer_id FROM";
    let after = session.dialect.join_by_key("hold", "t", &["schedule_id", "id"]);
    let found = session.fetch_set::<(i64, Uuid, String), _>(set, Vec::new(), before, &after);
    for (schedule, uuid, customer) in found.await? {
        let id = HoldId { schedule: ScheduleId(schedule), uuid };
        rows.owners.insert(id, rows::customer(customer)?);
    }
    Ok(())
}

/// The condition on the keys of the indexes `booking_live_of_customer` and `hold_live_of_customer`. No other index has
/// these keys, so the database cannot choose another index, whatever its statistics of the tables.
const LIVE_CLAIMS: &str =
    "t.schedule_id + 0 = r.schedule_id AND t.customer_id || '' = r.customer_id";

/// Counts the live seats of customers whose schedule has a limit. The count must follow the lock of the schedule's
/// version row: otherwise two replicas together could exceed the limit.
async fn load_customers(
    session: &Transaction,
    rows_to_lock: &RowsToLock,
    rows: &mut Rows,
) -> DbResult<()> {
    let limited = |(schedule, _): &&(ScheduleId, CustomerId)| {
        let row = rows.schedules.get(schedule);
        row.is_some_and(|row| row.rules.max_seats_per_customer.is_some())
    };
    let set = customer_set(rows_to_lock.customers.iter().filter(limited));
    if set.len() == 0 {
        return Ok(());
    }
    let count = |seats: i64| u32::try_from(seats).map_err(|_| rows::corrupt("count"));
    let (before, after) = live_claims(session.dialect);
    type Claim = (i64, String, i64, Option<Uuid>, Option<i64>);
    for (schedule, customer, seats, hold, until) in
        session.fetch_set::<Claim, _>(set, Vec::new(), before, &after).await?
    {
        let key = (ScheduleId(schedule), rows::customer(customer)?);
        let entry = rows.customers.entry(key).or_default();
        match (hold, until) {
            (Some(hold), Some(until)) => entry.holds.push((hold, EpochMs(until), count(seats)?)),
            _ => entry.booked = count(seats)?,
        }
    }
    Ok(())
}

fn customer_set<'a>(
    customers: impl Iterator<Item = &'a (ScheduleId, CustomerId)>,
) -> RowSet<&'a (ScheduleId, CustomerId)> {
    RowSet::of(customers)
        .with("schedule_id", |(schedule, _)| *schedule)
        .with("customer_id", |(_, customer)| customer.as_str().to_owned())
}

/// The statement that counts the live seats in bookings and reads the live holds, as its parts before and after the
/// rows of customers.
fn live_claims(dialect: Dialect) -> (&'static str, String) {
    // Citus needs the plain column to find the worker, and sees its value only where the rows are merged into the query.
    let (same, before) = match dialect {
        Dialect::Citus => (
            " AND t.schedule_id = r.schedule_id",
            "WITH customer AS NOT MATERIALIZED (SELECT * FROM",
        ),
        Dialect::Postgres | Dialect::Sqlite => ("", "WITH customer AS (SELECT * FROM"),
    };
    let of = |table, is_live| dialect.look_up(table, &format!("{LIVE_CLAIMS}{same} AND {is_live}"));
    let (bookings, holds) = (of("booking", "t.live_seats > 0"), of("hold", "t.status + 0 = 0"));
    let after = format!(
        ") SELECT t.schedule_id, t.customer_id, CAST(sum(t.live_seats) AS BIGINT),
             CAST(NULL AS UUID), CAST(NULL AS BIGINT)
         FROM customer r {bookings} GROUP BY t.schedule_id, t.customer_id
         UNION ALL SELECT t.schedule_id, t.customer_id, CAST(t.seat_count AS BIGINT),
             t.id, t.held_until
         FROM customer r {holds}"
    );
    (before, after)
}

#[cfg(test)]
mod tests {
    use migration::Migrator;
    use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, Statement};
    use sea_orm_migration::MigratorTrait as _;

    use super::*;

    #[tokio::test]
    async fn sqlite_looks_up_live_claims_customer_by_customer_in_their_own_indexes() {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1);
        let db = Database::connect(options).await.unwrap();
        Migrator::up(&db, None).await.unwrap();
        let ada = (ScheduleId(1), CustomerId::parse("ada").unwrap());
        let customers = [ada];
        let set = customer_set(customers.iter());
        let (before, after) = live_claims(Dialect::Sqlite);
        let statement = set.statement(Dialect::Sqlite, Vec::new(), before, &after);
        let plan = format!("EXPLAIN QUERY PLAN {}", statement.sql);
        let rows = db.query_all_raw(Statement { sql: plan, ..statement }).await.unwrap();
        let steps: Vec<String> =
            rows.iter().map(|row| row.try_get("", "detail").unwrap()).collect();
        let searched: Vec<&String> =
            steps.iter().filter(|step| step.starts_with("SEARCH t")).collect();
        let by_both = |index| format!("SEARCH t USING INDEX {index} (<expr>=? AND <expr>=?)");
        let indexes = ["booking_live_of_customer", "hold_live_of_customer"];
        assert_eq!(searched, indexes.map(by_both).iter().collect::<Vec<_>>(), "{steps:?}");
        assert!(!steps.iter().any(|step| step.starts_with("SCAN t")), "{steps:?}");
    }
}

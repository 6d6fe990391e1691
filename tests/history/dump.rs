//! Reads the evidence at the end of a run from the database, Redis and the processes.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::database::Database;
use crate::history::{BookingRow, Entry, Evidence, HoldRow, Sale, ScheduleRow};
use crate::world::{CUSTOMER_LIMIT, World};

/// Reads the locks in Redis first and the tables afterwards.
pub(crate) async fn evidence(world: &World) -> Evidence {
    let keys =
        tokio::task::block_in_place(|| world.redis.cli(&["--raw", "keys", "{sch:*}:seat:*"]));
    let locks = keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect();
    let database = Database::postgres(world.database()).await;
    let rows = async |table: &str| -> Vec<Value> {
        let texts: Vec<String> =
            database.column(&format!("SELECT row_to_json(t)::text FROM {table} t")).await;
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    };
    let idle = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seatlock'
         AND state LIKE 'idle in transaction%' AND state_change < now() - interval '4 seconds'";
    let mut evidence =
        Evidence { locks, idle_in_transaction: database.number(idle).await, ..Evidence::default() };
    for row in rows("schedule_version").await {
        let version = row["version"].as_i64().unwrap();
        let schedule = row["schedule_id"].as_i64().unwrap();
        let customer_limit = (world.schedules[0] == schedule).then_some(CUSTOMER_LIMIT);
        let row = ScheduleRow { version, seats: Vec::new(), customer_limit };
        evidence.schedules.insert(schedule, row);
    }
    let mut seats = rows("seat").await;
    seats.sort_by_key(|row| (row["schedule_id"].as_i64(), row["number"].as_i64()));
    for row in seats {
        let schedule = evidence.schedules.get_mut(&row["schedule_id"].as_i64().unwrap()).unwrap();
        schedule.seats.push((small(&row["state"]), row["held_until"].as_i64()));
    }
    for row in rows("journal").await {
        let key = (row["schedule_id"].as_i64().unwrap(), row["version"].as_i64().unwrap());
        let changes: Vec<Vec<i64>> =
            serde_json::from_str(row["changes"].as_str().unwrap()).unwrap();
        let one = |change: &Vec<i64>| {
            (change[0].try_into().unwrap(), change[1].try_into().unwrap(), change.get(2).copied())
        };
        let changes = changes.iter().map(one).collect();
        evidence.journal.insert(key, Entry { at: row["at"].as_i64().unwrap(), changes });
    }
    evidence.holds = rows("hold").await.iter().map(hold).collect();
    evidence.bookings = rows("booking").await.iter().map(booking).collect();
    evidence.sales = rows("booking_seat").await.iter().map(sale).collect();
    let answers = rows("idempotency").await;
    let answer = |row: &Value| (text(&row["key"]), text(&row["body"]));
    evidence.answers = answers.iter().map(answer).collect();
    let outages = rows("outage").await;
    // The grace of the runs is one second; some more does not hurt.
    let outage = |row: &Value| Some((row["began_at"].as_i64()?, row["ended_at"].as_i64()? + 2_000));
    evidence.outages = outages.iter().filter_map(outage).collect();
    evidence
}

/// Adds the counters of the processes.
pub(crate) fn count(world: &World, evidence: &mut Evidence) {
    let saves =
        |guard: &str| world.counter(&format!("seatlock_guard_saves_total{{guard=\"{guard}\"}}"));
    let guards = ["row_lock", "unique_index", "row_count"];
    evidence.guard_saves = BTreeMap::from(guards.map(|guard| (guard.to_owned(), saves(guard))));
    evidence.breaker_opened =
        world.counter("seatlock_seat_lock_breaker_transitions_total{to=\"open\"}");
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn small(value: &Value) -> u8 {
    value.as_u64().unwrap().try_into().unwrap()
}

/// An id as the API writes it.
fn id(row: &Value, column: &str) -> Option<String> {
    let uuid = row[column].as_str()?.replace('-', "");
    Some(format!("{}-{uuid}", row["schedule_id"]))
}

fn seats(row: &Value) -> Vec<u32> {
    serde_json::from_str(row["seats"].as_str().unwrap()).unwrap()
}

fn hold(row: &Value) -> (String, HoldRow) {
    let hold = HoldRow {
        schedule: row["schedule_id"].as_i64().unwrap(),
        customer: text(&row["customer_id"]),
        seats: seats(row),
        status: i16::from(small(&row["status"])),
        created: row["created_at"].as_i64().unwrap(),
        until: row["held_until"].as_i64().unwrap(),
        booking: id(row, "booking_id"),
    };
    (id(row, "id").unwrap(), hold)
}

fn booking(row: &Value) -> (String, BookingRow) {
    let booking = BookingRow {
        schedule: row["schedule_id"].as_i64().unwrap(),
        customer: text(&row["customer_id"]),
        seats: seats(row),
        hold: id(row, "hold_id"),
        created: row["created_at"].as_i64().unwrap(),
    };
    (id(row, "id").unwrap(), booking)
}

fn sale(row: &Value) -> Sale {
    Sale {
        schedule: row["schedule_id"].as_i64().unwrap(),
        number: row["number"].as_u64().unwrap().try_into().unwrap(),
        booking: id(row, "booking_id").unwrap(),
        released: row["released_at"].as_i64(),
    }
}

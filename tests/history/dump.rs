//! Reads the evidence at the end of a run from the database, Redis and the processes.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use test_support::Database;

use crate::history::Evidence;
use crate::world::{CUSTOMER_LIMIT, World};

/// Transactions that are open and have done nothing for longer than any time-out.
const IDLE: &str = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'seatlock'
    AND state LIKE 'idle in transaction%' AND state_change < now() - interval '4 seconds'";

const JOURNAL: &str = "SELECT json_build_array(json_build_array(schedule_id, version),
        json_build_object('at', at, 'changes', (
            SELECT json_agg(json_build_array(c -> 0, c -> 1, c -> 2))
              FROM json_array_elements(changes::json) c)))::text
    FROM journal";

const ANSWERS: &str = "SELECT json_build_array(key, body)::text FROM idempotency";

/// The grace of the runs is one second; one more does not hurt.
const OUTAGES: &str = "SELECT json_build_array(began_at, ended_at + 2000)::text FROM outage
    WHERE ended_at IS NOT NULL";

/// Reads the locks in Redis first and the tables afterwards.
pub(crate) async fn evidence(world: &World) -> Evidence {
    let keys =
        tokio::task::block_in_place(|| world.redis.cli(&["--raw", "keys", "{sch:*}:seat:*"]));
    let database = Database::postgres(world.database()).await;
    // Ids as the API writes them.
    let id = |column: &str| format!("schedule_id || '-' || replace({column}::text, '-', '')");
    let (own, hold, booking) = (id("id"), id("hold_id"), id("booking_id"));
    let limited = world.schedules[0];
    let schedules = format!(
        "SELECT json_build_array(schedule_id, json_build_object('version', version,
                'customer_limit', CASE schedule_id WHEN {limited} THEN {CUSTOMER_LIMIT} END,
                'seats', (SELECT json_agg(json_build_array(state, held_until) ORDER BY number)
                            FROM seat s WHERE s.schedule_id = v.schedule_id)))::text
           FROM schedule_version v"
    );
    let holds = format!(
        "SELECT json_build_array({own}, json_build_object('schedule', schedule_id,
                'customer', customer_id, 'seats', seats::json, 'status', status,
                'created', created_at, 'until', held_until, 'booking', {booking}))::text
           FROM hold"
    );
    let bookings = format!(
        "SELECT json_build_array({own}, json_build_object('schedule', schedule_id,
                'customer', customer_id, 'seats', seats::json, 'hold', {hold},
                'created', created_at))::text
           FROM booking"
    );
    let sales = format!(
        "SELECT json_build_object('schedule', schedule_id, 'number', number,
                'booking', {booking}, 'released', released_at)::text
           FROM booking_seat"
    );
    Evidence {
        locks: keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect(),
        idle_in_transaction: database.number(IDLE).await,
        schedules: read(&database, &schedules).await,
        journal: read(&database, JOURNAL).await,
        holds: read(&database, &holds).await,
        bookings: read(&database, &bookings).await,
        sales: read(&database, &sales).await,
        answers: read(&database, ANSWERS).await,
        outages: read(&database, OUTAGES).await,
        ..Evidence::default()
    }
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

/// The rows of a query, of which each is a JSON document.
async fn read<T: DeserializeOwned, C: FromIterator<T>>(database: &Database, sql: &str) -> C {
    let rows: Vec<String> = database.column(sql).await;
    let row = |text: &String| {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    };
    rows.iter().map(row).collect()
}

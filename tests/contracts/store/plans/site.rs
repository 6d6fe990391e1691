//! The database whose plans are read: the schedule that is sold, and how everything else grows.

use std::sync::Arc;

use seatlock::domain::ids::ScheduleId;
use seatlock::domain::rules::ScheduleRules;
use seatlock::store::Store;
use test_support::{Postgres, Relay};

use super::super::stage::{SharedLane, Stage, default_rules, first_lane, settings};
use super::log::EXPLAIN;

/// Rows that are added to each table that grows: a thousand for each command of the largest batch.
const GROWTH: u32 = 20_000;

/// A server that logs plans, and two stores on one of its databases.
pub(super) struct Site {
    pub(super) server: Postgres,
    pub(super) stage: Stage,
    /// A store that reads from a replica, which is the primary, and whose connections lead through the relay.
    pub(super) routed: Arc<Store>,
    pub(super) lane: SharedLane,
    pub(super) relay: Relay,
    /// Limits its customers.
    pub(super) schedule: ScheduleId,
    /// Another schedule, of four seats, in which the same customers have claims.
    pub(super) elsewhere: ScheduleId,
    /// Customers who buy repeatedly; a batch has a command of each.
    pub(super) customers: u32,
}

pub(super) fn customer(n: u32) -> String {
    format!("customer {n}")
}

impl Site {
    /// Creates two schedules, and nothing else.
    pub(super) async fn new(customers: u32) -> Self {
        let server = Postgres::start(&EXPLAIN);
        let stage = Stage::on_postgres(&server).await;
        let relay = Relay::to(server.port());
        let name: Vec<String> = stage.database.column("SELECT current_database()::text").await;
        let url = format!("postgres://app@127.0.0.1:{}/{}", relay.port(), name[0]);
        let settings = settings(&[("WRITE_DB_URL", &url), ("READ_DB_URL", &url)]);
        let routed = Store::open(settings, Arc::clone(&stage.metrics)).await.unwrap();
        let lane = first_lane(&routed);
        let rules = ScheduleRules { max_seats_per_customer: Some(10), ..default_rules() };
        let schedule = stage.schedule_with(5 * customers, rules).await.id;
        let elsewhere = stage.schedule(4).await;
        Self { server, stage, routed, lane, relay, schedule, elsewhere, customers }
    }

    /// Creates the indexes of the primary keys again, as a restore does after the other indexes. PostgreSQL prefers the
    /// newest of several indexes that cost the same.
    pub(super) async fn renew_primary_keys(&self) {
        let sql = "SELECT conname::text FROM pg_constraint WHERE contype = 'p'
             AND connamespace = 'public'::regnamespace";
        let keys: Vec<String> = self.stage.database.column(sql).await;
        for key in keys {
            let sql = format!("REINDEX INDEX CONCURRENTLY {key}");
            self.stage.database.execute(&sql).await;
        }
    }

    /// Makes the rows of some tables alike, as in a new installation: all schedules belong to one event, and no block was
    /// lifted.
    pub(super) async fn make_rows_alike(&self) {
        let sql = format!(
            "UPDATE schedule SET event_id = (SELECT event_id FROM schedule WHERE id = {});
             UPDATE block SET lifted = false",
            self.schedule
        );
        self.stage.database.execute(&sql).await;
    }

    /// Adds a hold of each customer that has expired.
    pub(super) async fn let_holds_expire(&self) {
        self.add(
            "INSERT INTO hold SELECT {e}, gen_random_uuid(), 'late', '[0]', 1, 0, 0, 1, NULL",
            self.customers,
        )
        .await;
    }

    /// Adds an answer and the record of a batch for each customer that are old enough to be deleted.
    pub(super) async fn let_records_expire(&self) {
        for statement in [
            "INSERT INTO idempotency SELECT 'shop', 'expired ' || n, 'f', 200, '{}', 1",
            "INSERT INTO batch SELECT ('00000000' || substr(gen_random_uuid()::text, 9))::uuid, 1, 0",
        ] {
            self.add(statement, self.customers).await;
        }
    }

    /// Adds rows to the schedule and to every other table. The customers get thousands of bookings, live ones
    /// elsewhere and cancelled ones here.
    pub(super) async fn grow(&self) {
        for statement in GROWN {
            self.add(statement, GROWTH).await;
        }
    }

    async fn add(&self, statement: &str, rows: u32) {
        let values =
            [("{s}", self.schedule.0), ("{e}", self.elsewhere.0), ("{c}", self.customers.into())];
        let sql = values
            .iter()
            .fold(statement.to_owned(), |sql, (word, value)| sql.replace(word, &value.to_string()));
        let sql = format!("{sql} FROM generate_series(1, {rows}) AS n ON CONFLICT DO NOTHING");
        self.quietly(&sql).await;
    }

    /// Executes a statement that is neither logged nor checked by triggers.
    async fn quietly(&self, sql: &str) {
        let sql = format!(
            "SET auto_explain.log_min_duration = -1; SET session_replication_role = replica; {sql};
             RESET session_replication_role; RESET auto_explain.log_min_duration"
        );
        self.stage.database.execute(&sql).await;
    }

    /// Deletes the outages that this test has caused: on a slow machine each pause is one.
    pub(super) async fn forget_outages(&self) {
        self.quietly("DELETE FROM outage WHERE began_at > 0").await;
    }
}

/// The rows of the statement with the number `n`. What a page may begin with can be read: its seats are in the
/// schedules.
const GROWN: [&str; 29] = [
    "INSERT INTO booking SELECT {s}, gen_random_uuid(), 'stranger ' || n, '[0]', 1, 0, NULL, 0, NULL",
    "INSERT INTO booking SELECT {s}, gen_random_uuid(), 'customer ' || n % 5, '[0]', 0, 1, NULL, 0, 0",
    "INSERT INTO booking SELECT {e}, gen_random_uuid(), 'customer ' || n % 5, '[0]', 1, 0, NULL, 0, NULL",
    "INSERT INTO hold SELECT {s}, gen_random_uuid(), 'stranger ' || n, '[0]', 1, 0, 0, 99999999999999, NULL",
    "INSERT INTO hold SELECT {s}, gen_random_uuid(), 'customer ' || n % 5, '[0]', 1, 3, 0, 0, NULL",
    "INSERT INTO hold SELECT CASE WHEN n <= 60 THEN {e} ELSE 1000000 + n END, gen_random_uuid(),
         'customer ' || n % 5, '[0]', 1, 0, 0, 99999999999999, NULL",
    "INSERT INTO hold SELECT {e}, gen_random_uuid(), 'late', '[0]', 1, 0, 0, n, NULL",
    "INSERT INTO block SELECT {s}, gen_random_uuid(), '[0]', 'camera', true, 0",
    "INSERT INTO block SELECT {e}, gen_random_uuid(), '[0]', 'camera', false, 0",
    "INSERT INTO seat SELECT {e}, 4 + n, 'A-' || n, 0, 0, NULL, NULL, NULL, NULL",
    "INSERT INTO booking_seat SELECT {s}, n % (4 * {c}), gen_random_uuid(), 0",
    "INSERT INTO journal SELECT {s}, -n, gen_random_uuid(), 0, '[]'",
    "INSERT INTO journal SELECT {e}, -n, gen_random_uuid(), 0, '[]'",
    "INSERT INTO batch SELECT ('f' || substr(gen_random_uuid()::text, 2))::uuid, 1, 0",
    "INSERT INTO idempotency SELECT 'shop', 'old ' || n, 'f', 200, '{}', 99999999999999",
    "INSERT INTO idempotency SELECT 'shop', 'due ' || n, 'f', 200, '{}', n",
    "INSERT INTO batch SELECT ('00' || substr(gen_random_uuid()::text, 3))::uuid, 1, 0",
    "INSERT INTO schedule_version SELECT 1000000 + n, 1",
    "INSERT INTO outage SELECT -1000000 + 10 * n, -999995 + 10 * n",
    "INSERT INTO event SELECT 1000000 + n, 'The Tempest', 0",
    "INSERT INTO seat_plan SELECT 'old ' || n, 1, '{}', 1, 0",
    "INSERT INTO schedule SELECT 1000000 + n, 1000001, 0, 'EUR', NULL, NULL, 10, NULL, 1, 'old 1', 1, 1, 0",
    "INSERT INTO queue_message SELECT 1, 1000000000 + n, 'm ' || n, 'e30='",
    "INSERT INTO queue_message SELECT 2, -n, 'm ' || n, 'e30='",
    "INSERT INTO queue_consumer SELECT 100 + n, gen_random_uuid(), 99999999999999",
    "INSERT INTO queue_letter SELECT 'old ' || n, 3, 'e30=', 'unreadable', n",
    "INSERT INTO queue_worker SELECT 'another queue', gen_random_uuid(), 99999999999999",
    "INSERT INTO idempotency SELECT 'another shop', 'old ' || n, 'f', 200, '{}', 99999999999999",
    "INSERT INTO hold SELECT {s}, gen_random_uuid(), 'customer ' || n % 5, '[0]', 1, 1, 0, 99999999999999, NULL",
];

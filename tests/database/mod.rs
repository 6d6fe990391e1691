//! The database as somebody sees it who is not the service: plain SQL, a dump, and an audit of what
//! must always be true between its tables.

use std::collections::BTreeMap;
use std::path::Path;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, TryGetable};

/// Rows that come and go by themselves while a service runs.
const RESTLESS: [&str; 2] = ["heartbeat", "outage"];

/// What must find nothing, and what it would mean if it did.
const NEVER: [(&str, &str); 5] = [
    (
        "a seat is sold that no live booking has",
        "SELECT count(*) FROM seat s WHERE s.state = 2 AND NOT EXISTS (SELECT 1 FROM booking_seat b
         WHERE b.schedule_id = s.schedule_id AND b.number = s.number
         AND b.booking_id = s.booking_id AND b.released_at IS NULL)",
    ),
    (
        "a live booking has a seat that is not sold to it",
        "SELECT count(*) FROM booking_seat b WHERE b.released_at IS NULL AND NOT EXISTS
         (SELECT 1 FROM seat s WHERE s.schedule_id = b.schedule_id AND s.number = b.number
         AND s.state = 2 AND s.booking_id = b.booking_id)",
    ),
    (
        "a booking counts its live seats wrongly",
        "SELECT count(*) FROM booking b WHERE b.live_seats <> (SELECT count(*) FROM booking_seat s
         WHERE s.schedule_id = b.schedule_id AND s.booking_id = b.id AND s.released_at IS NULL)
         OR (b.live_seats = 0) <> (b.status = 1)",
    ),
    (
        "a seat is held by a hold that has ended otherwise",
        "SELECT count(*) FROM seat s WHERE s.state = 1 AND NOT EXISTS (SELECT 1 FROM hold h
         WHERE h.schedule_id = s.schedule_id AND h.id = s.hold_id AND h.status = 0)",
    ),
    (
        "a confirmed hold has no booking",
        "SELECT count(*) FROM hold h WHERE (h.status = 1) <> (h.booking_id IS NOT NULL)",
    ),
];

/// A connection of its own to the database under test.
pub(crate) struct Database {
    connection: DatabaseConnection,
    postgres: bool,
}

impl Database {
    pub(crate) async fn postgres(url: &str) -> Self {
        Self { connection: sea_orm::Database::connect(url).await.unwrap(), postgres: true }
    }

    pub(crate) async fn sqlite(path: &Path) -> Self {
        let url = format!("sqlite://{}?mode=rw", path.display());
        Self { connection: sea_orm::Database::connect(url).await.unwrap(), postgres: false }
    }

    /// From now on no booking of this customer can be stored: an error of class 23.
    pub(crate) async fn forbid(&self, customer: &str) {
        let sql = match self.postgres {
            true => format!(
                "ALTER TABLE booking ADD CONSTRAINT forbidden CHECK (customer_id <> '{customer}')"
            ),
            false => format!(
                "CREATE TRIGGER forbidden BEFORE INSERT ON booking
                 WHEN NEW.customer_id = '{customer}' BEGIN SELECT RAISE(ABORT, 'forbidden'); END"
            ),
        };
        self.execute(&sql).await;
    }

    /// Runs statements without parameters.
    pub(crate) async fn execute(&self, sql: &str) {
        self.connection.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// The first column of the first row: a whole number of 64 bits.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let found = self.column(sql).await;
        *found.first().unwrap_or_else(|| panic!("no row: {sql}"))
    }

    /// The first column of all rows.
    pub(crate) async fn column<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        let rows = self.connection.query_all_raw(statement).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    }

    /// Every row of every table, as text, in an order that depends on nothing else.
    pub(crate) async fn dump(&self) -> String {
        let tables = match self.postgres {
            true => "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
            false => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1"
            }
        };
        let mut dump = String::new();
        for table in self.column::<String>(tables).await {
            if RESTLESS.contains(&table.as_str()) {
                continue;
            }
            let mut rows = self.column::<String>(&self.rows_as_text(&table).await).await;
            rows.sort();
            dump.push_str(&format!("{table}\n  {}\n", rows.join("\n  ")));
        }
        dump
    }

    async fn rows_as_text(&self, table: &str) -> String {
        if self.postgres {
            return format!("SELECT t::text FROM {table} t");
        }
        let columns = format!("SELECT name FROM pragma_table_info('{table}')");
        let columns: Vec<String> = self.column(&columns).await;
        let quoted: Vec<String> = columns.iter().map(|name| format!("quote({name})")).collect();
        format!("SELECT {} FROM {table}", quoted.join(" || ',' || "))
    }

    /// Checks what must be true at any time: the tables agree with each other, and every schedule's
    /// journal has no gap and adds up to its seats.
    pub(crate) async fn audit(&self) {
        for (wrong, sql) in NEVER {
            assert_eq!(self.number(sql).await, 0, "{wrong}");
        }
        for schedule in self.column::<i64>("SELECT schedule_id FROM schedule_version").await {
            self.audit_journal(schedule).await;
        }
    }

    async fn audit_journal(&self, schedule: i64) {
        let of = format!("WHERE schedule_id = {schedule}");
        let version = self.number(&format!("SELECT version FROM schedule_version {of}")).await;
        let versions: Vec<i64> =
            self.column(&format!("SELECT version FROM journal {of} ORDER BY version")).await;
        assert_eq!(versions, (2..=version).collect::<Vec<_>>(), "the journal of {schedule}");

        let entries = format!("SELECT changes FROM journal {of} ORDER BY version");
        let mut told: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for changes in self.column::<String>(&entries).await {
            let changes: Vec<Vec<i64>> = serde_json::from_str(&changes).unwrap();
            told.extend(changes.into_iter().map(|change| (change[0], change[1..].to_vec())));
        }
        let seats = format!(
            "SELECT '[' || number || ',' || state || coalesce(',' || held_until, '') || ']'
             FROM seat {of} ORDER BY number"
        );
        for seat in self.column::<String>(&seats).await {
            let seat: Vec<i64> = serde_json::from_str(&seat).unwrap();
            let told = told.get(&seat[0]).cloned().unwrap_or(vec![0]);
            assert_eq!(seat[1..], told, "seat {} of schedule {schedule}", seat[0]);
        }
    }
}

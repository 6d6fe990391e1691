//! The database without the service: plain SQL, a dump, and the audit.

use std::ffi::OsString;
use std::path::Path;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, TryGetable};

use crate::tool::{command, try_run};

/// Tables whose rows change while an idle service runs.
const VOLATILE_TABLES: [&str; 3] = ["heartbeat", "outage", "queue_worker"];

/// A separate connection to the database under test.
pub struct Database {
    connection: DatabaseConnection,
    postgres: bool,
    /// The variable with which the service uses it, `NAME=value`.
    variable: OsString,
}

impl Database {
    /// A connection to the database of PostgreSQL at this address.
    pub async fn postgres(url: &str) -> Self {
        let connection = sea_orm::Database::connect(url).await.unwrap();
        Self { connection, postgres: true, variable: format!("WRITE_DB_URL={url}").into() }
    }

    /// A connection to this SQLite file.
    pub async fn sqlite(path: &Path) -> Self {
        let url = format!("sqlite://{}?mode=rw", path.display());
        let connection = sea_orm::Database::connect(url).await.unwrap();
        let variable = format!("SQLITE_PATH={}", path.display()).into();
        Self { connection, postgres: false, variable }
    }

    /// Makes each booking of this customer fail with an error of class 23.
    pub async fn forbid(&self, customer: &str) {
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
    pub async fn execute(&self, sql: &str) {
        self.connection.execute_unprepared(sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
    }

    /// The first column of the first row: a whole number of 64 bits.
    pub async fn number(&self, sql: &str) -> i64 {
        let found = self.column(sql).await;
        *found.first().unwrap_or_else(|| panic!("no row: {sql}"))
    }

    /// The first column of all rows.
    pub async fn column<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let statement = Statement::from_string(self.connection.get_database_backend(), sql);
        let rows = self.connection.query_all_raw(statement).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    }

    /// Every row of every table, as text, ordered by its content.
    pub async fn dump(&self) -> String {
        let tables = match self.postgres {
            true => "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
            false => {
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY 1"
            }
        };
        let mut dump = String::new();
        for table in self.column::<String>(tables).await {
            if VOLATILE_TABLES.contains(&table.as_str()) {
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

    /// Checks every invariant with `program verify`.
    pub async fn audit(&self, program: &str) {
        assert_eq!(self.violations(program).await, Ok(Vec::new()));
    }

    /// The violations that `program verify` finds, in order; an error if it could not read the whole database.
    pub async fn violations(&self, program: &str) -> Result<Vec<String>, String> {
        let command = command!["env", &self.variable, program, "verify"];
        let run = move || try_run(Path::new("/"), &command);
        let Err(problem) = tokio::task::spawn_blocking(run).await.unwrap() else {
            return Ok(Vec::new());
        };
        let found = problem.lines().filter_map(|line| line.strip_prefix("violated: "));
        let found: Vec<String> = found.map(str::to_owned).collect();
        let is_complete = problem.lines().any(|line| line.starts_with("audited "));
        if is_complete && !found.is_empty() { Ok(found) } else { Err(problem) }
    }
}

//! The database without the service: plain SQL, a dump, and the audit.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, Statement, TryGetable};
use seatlock::app::store_settings;
use seatlock::config::Config;
use seatlock::domain::audit::Violation;
use seatlock::domain::execution_error::StoreError;
use seatlock::store::{AuditPace, AuditScope, Store};
use seatlock::telemetry::metrics::Metrics;
use tokio::sync::mpsc;

/// Tables whose rows change while an idle service runs.
const VOLATILE_TABLES: [&str; 3] = ["heartbeat", "outage", "queue_worker"];

/// A separate connection to the database under test.
pub(crate) struct Database {
    connection: DatabaseConnection,
    postgres: bool,
    /// The variable that names it to the service.
    variable: (String, String),
}

impl Database {
    pub(crate) async fn postgres(url: &str) -> Self {
        let variable = ("WRITE_DB_URL".to_owned(), url.to_owned());
        Self {
            connection: sea_orm::Database::connect(url).await.unwrap(),
            postgres: true,
            variable,
        }
    }

    pub(crate) async fn sqlite(path: &Path) -> Self {
        let url = format!("sqlite://{}?mode=rw", path.display());
        let variable = ("SQLITE_PATH".to_owned(), path.to_string_lossy().into_owned());
        Self {
            connection: sea_orm::Database::connect(url).await.unwrap(),
            postgres: false,
            variable,
        }
    }

    /// Makes each booking of this customer fail with an error of class 23.
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

    /// Every row of every table, as text, ordered by its content.
    pub(crate) async fn dump(&self) -> String {
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

    /// Checks every invariant, like `seatlock verify`.
    pub(crate) async fn audit(&self) {
        let found = self.violations(AuditScope::Everything).await;
        let found: Vec<String> = found.iter().map(Violation::to_string).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// The violations that an audit finds, in order.
    pub(crate) async fn violations(&self, scope: AuditScope) -> Vec<Violation> {
        self.try_violations(scope).await.unwrap()
    }

    /// What an audit finds, in order; an error if the database becomes unavailable.
    pub(crate) async fn try_violations(
        &self,
        scope: AuditScope,
    ) -> Result<Vec<Violation>, StoreError> {
        let variables = BTreeMap::from([self.variable.clone()]);
        let settings = store_settings(&Config::from_vars(&variables).unwrap());
        let metrics = Arc::new(Metrics::new().unwrap());
        let store = Store::open_to_read(settings, metrics).await.unwrap();
        let (sender, mut receiver) = mpsc::channel(16);
        let found = async {
            let mut found = Vec::new();
            while let Some(violation) = receiver.recv().await {
                found.push(violation);
            }
            found
        };
        let (audited, found) = tokio::join!(store.audit(scope, AuditPace::Full, sender), found);
        store.close().await;
        audited.map(|_| found)
    }
}

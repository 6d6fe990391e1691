//! Connection pools of both databases, and the settings of their sessions.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{AssertSqlSafe, Executor as _};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};

use crate::domain::execution_error::{StoreError, StoreResult};
use crate::store::connection::citus::{self, Engine};
use crate::store::connection::connection_wait::{self, ConnectionWait};
use crate::store::connection::dialect::Dialect;
use crate::store::connection::lineage::{Lineage, verify_sqlite};
use crate::store::connection::login::{APPLICATION, Login};
use crate::store::connection::session::Db;
use crate::store::connection::session_settings::{reader_session, writer_session};
use crate::store::connection::{DbResult, files};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::pool::Pool;

/// The database to use.
#[derive(Clone)]
pub enum Target {
    /// PostgreSQL: a primary, and a replica for reads if there is one.
    Postgres {
        /// The primary.
        write: Arc<Login>,
        /// The replica; reads go to the primary if absent.
        read: Option<Arc<Login>>,
        /// The engine that the configuration states; the database is asked if absent.
        engine: Option<Engine>,
    },
    /// A SQLite file, created if it is missing.
    Sqlite {
        /// The path of the file.
        path: PathBuf,
    },
}

/// Time limits and numbers of connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Write lanes, each with connections of its own; the number depends on the engine if absent (always one lane for
    /// SQLite, which has one writer).
    pub lanes: Option<u32>,
    /// Connections for reading.
    pub read_pool: u32,
    /// The time limit of waiting for a connection.
    pub pool_wait: Duration,
    /// The time limit of waiting for a row lock.
    pub lock_timeout: Duration,
    /// The time limit of one statement.
    pub statement_timeout: Duration,
    /// The time limit of one whole booking transaction.
    pub transaction_timeout: Duration,
    /// The time limit of storing a seat plan, or a schedule with all its seats.
    pub creation_timeout: Duration,
}

impl Target {
    /// The dialect before the database was asked whether it is a Citus cluster.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Postgres { .. } => Dialect::Postgres,
            Self::Sqlite { .. } => Dialect::Sqlite,
        }
    }

    /// The dialect of the database of this connection, which is asked whether it is a Citus cluster.
    pub(crate) async fn ask_dialect(&self, db: &Db) -> StoreResult<Dialect> {
        match self {
            Self::Postgres { engine, read, .. } => {
                citus::dialect(db, *engine, read.is_some()).await
            }
            Self::Sqlite { .. } => Ok(Dialect::Sqlite),
        }
    }

    /// Creates a missing SQLite file, which only its owner may read and write.
    pub(crate) fn prepare(&self) -> StoreResult<()> {
        let Self::Sqlite { path } = self else { return Ok(()) };
        files::create(path).map_err(|error| {
            StoreError::Unfit(format!("the file {} cannot be created: {error}", path.display()))
        })
    }

    /// Whether reads go to a database that may lag behind the primary.
    pub(crate) fn has_replica(&self) -> bool {
        matches!(self, Self::Postgres { read: Some(_), .. })
    }

    /// The login of the primary; `None` for SQLite.
    pub(crate) fn writer_login(&self) -> Option<&Arc<Login>> {
        match self {
            Self::Postgres { write, .. } => Some(write),
            Self::Sqlite { .. } => None,
        }
    }

    /// The login of the database for reads; `None` for SQLite.
    pub(crate) fn reader_login(&self) -> Option<&Arc<Login>> {
        match self {
            Self::Postgres { write, read, .. } => Some(read.as_ref().unwrap_or(write)),
            Self::Sqlite { .. } => None,
        }
    }

    pub(crate) fn writer_options(
        &self,
        limits: &Limits,
        connections: u32,
        lineage: &Arc<Lineage>,
    ) -> ConnectOptions {
        match self {
            Self::Postgres { write, .. } => {
                let (statement, lock) = (limits.statement_timeout, limits.lock_timeout);
                let session = writer_session(statement, lock, limits.transaction_timeout);
                postgres(write, limits, connections, session, Some(Arc::clone(lineage)))
            }
            Self::Sqlite { path } => sqlite(path, limits, connections, false),
        }
    }

    pub(crate) fn reader_options(&self, limits: &Limits) -> ConnectOptions {
        match self {
            Self::Postgres { write, read, .. } => {
                let login = read.as_ref().unwrap_or(write);
                let session = reader_session(limits.statement_timeout, limits.lock_timeout);
                postgres(login, limits, limits.read_pool, session, None)
            }
            Self::Sqlite { path } => sqlite(path, limits, limits.read_pool, true),
        }
    }
}

fn pooled(url: String, limits: &Limits, connections: u32) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .min_connections(0)
        .connect_lazy(true)
        .acquire_timeout(limits.pool_wait)
        .connect_timeout(limits.pool_wait)
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(Duration::from_secs(30))
        .sqlx_logging(false);
    connection_wait::measure_reused(&mut options);
    options
}

fn postgres(
    login: &Login,
    limits: &Limits,
    connections: u32,
    session: String,
    lineage: Option<Arc<Lineage>>,
) -> ConnectOptions {
    let mut options = pooled(login.url().to_owned(), limits, connections);
    options.set_application_name(APPLICATION);
    login.set_fixed(&mut options);
    options.map_sqlx_postgres_pool_opts(move |pool| {
        let session = session.clone();
        let lineage = lineage.clone();
        pool.after_connect(move |connection, _| {
            let session = session.clone();
            let lineage = lineage.clone();
            Box::pin(async move {
                connection.execute(AssertSqlSafe(session)).await?;
                if let Some(lineage) = lineage {
                    lineage.verify(connection).await?;
                }
                connection_wait::acquired();
                Ok(())
            })
        })
    });
    options
}

fn sqlite(path: &Path, limits: &Limits, connections: u32, read: bool) -> ConnectOptions {
    // The path is not put into the URL, where `?`, `%` and `#` would have a meaning.
    let mut options = pooled("sqlite:".to_owned(), limits, connections);
    options.map_sqlx_sqlite_pool_opts(move |pool| {
        pool.after_connect(move |connection, _| {
            Box::pin(async move {
                if !read {
                    verify_sqlite(connection).await?;
                }
                connection_wait::acquired();
                Ok(())
            })
        })
    });
    let wait = limits.lock_timeout;
    let path = literal(path);
    options.map_sqlx_sqlite_opts(move |options| {
        let options = options.filename(&path).busy_timeout(wait).foreign_keys(true);
        if read {
            return options.read_only(true);
        }
        let options = options.create_if_missing(true);
        // FULL: COMMIT returns only after the data is on the disk, so an answer is never sent before that.
        options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full)
    });
    options
}

/// The same path in a form that SQLite does not interpret: it would read a name that begins with `file:` as a URL,
/// and `:memory:` as a database in memory.
pub(crate) fn literal(path: &Path) -> PathBuf {
    if path.is_absolute() { path.to_owned() } else { Path::new(".").join(path) }
}

/// Refuses a PostgreSQL server that may lose acknowledged commits.
pub(crate) async fn check_durability(db: &Db) -> StoreResult<()> {
    let sql = "SELECT current_setting('fsync'), current_setting('synchronous_commit')";
    let (fsync, commit) =
        db.fetch_one::<(String, String)>(sql, Vec::new()).await?.unwrap_or_default();
    if fsync == "on" && commit != "off" {
        return Ok(());
    }
    Err(StoreError::Unfit(format!(
        "postgresql runs with fsync={fsync} and synchronous_commit={commit}, so it may lose acknowledged \
         bookings; set fsync to on, and synchronous_commit to any value except off"
    )))
}

/// The most parameters of a statement: those of a batch that writes every table in one statement. Rows, whatever their
/// number, are one array per column or one document (`RowSet`).
const PARAMETERS_MAX: usize = 74;

/// Opens a pool. A debug build, and so every test, checks the number of parameters of each statement.
async fn connect(options: ConnectOptions) -> DbResult<DatabaseConnection> {
    let mut connection = Database::connect(options).await?;
    if cfg!(debug_assertions) {
        connection.set_metric_callback(|info| {
            let count = info.statement.values.as_ref().map_or(0, |values| values.0.len());
            debug_assert!(count <= PARAMETERS_MAX, "{count} parameters: {}", info.statement.sql);
        });
    }
    Ok(connection)
}

/// A pool that can be replaced as a whole. Work that exceeded its time limit leaves its connection in an unknown
/// state: the connection may wait for a server that never answers, and must not be used again.
pub(crate) struct Connections {
    pool: Pool,
    options: ConnectOptions,
    /// The login, if its password may change.
    login: Option<Arc<Login>>,
    current: Mutex<Current>,
}

/// A pool, and the number of the password with which it opens connections.
struct Current {
    connection: DatabaseConnection,
    password: u64,
}

impl Connections {
    /// Opens the pool. It connects to the database when it is first used.
    pub(crate) async fn open(
        pool: Pool,
        options: ConnectOptions,
        login: Option<&Arc<Login>>,
    ) -> DbResult<Self> {
        let connection = connect(options.clone()).await?;
        let current = Mutex::new(Current { connection, password: 0 });
        Ok(Self { pool, options, login: login.and_then(Login::changing), current })
    }

    /// Begins to measure how long work waits for a connection of this pool.
    pub(crate) fn wait(&self, metrics: &Arc<Metrics>) -> ConnectionWait {
        ConnectionWait::begin(self.pool, &self.options, self.login.clone(), metrics)
    }

    /// The most connections of the pool.
    pub(crate) fn max(&self) -> u64 {
        self.options.get_max_connections().map_or(0, u64::from)
    }

    pub(crate) fn get(&self) -> DatabaseConnection {
        self.current.lock().connection.clone()
    }

    /// The pool, for work that may open a connection: with the newest password. Waits only if the password may change
    /// and is due.
    pub(crate) async fn ready(&self) -> DbResult<DatabaseConnection> {
        let Some(login) = &self.login else { return Ok(self.get()) };
        let (password, options) = login.newest().await?;
        let mut current = self.current.lock();
        if current.password != password {
            let pool = current.connection.get_postgres_connection_pool();
            pool.set_connect_options(PgConnectOptions::clone(&options));
            current.password = password;
        }
        Ok(current.connection.clone())
    }

    /// Replaces the pool by a new one. Work that is running keeps its connection of the old pool.
    pub(crate) async fn renew(&self) -> DbResult<()> {
        let fresh = connect(self.options.clone()).await?;
        let fresh = Current { connection: fresh, password: 0 };
        let old = std::mem::replace(&mut *self.current.lock(), fresh);
        // Not awaited: closing waits for connections whose server may never answer.
        tokio::spawn(old.connection.close());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use sea_orm::{ConnectionTrait as _, Value};

    use super::*;

    async fn query_with(parameters: usize) {
        let mut options = ConnectOptions::new("sqlite::memory:");
        options.max_connections(1);
        let db = connect(options).await.unwrap();
        let placeholders: Vec<String> =
            (1..=parameters).map(|number| format!("${number}")).collect();
        let sql = format!("SELECT {}", placeholders.join(", "));
        let values = vec![Value::from(1); parameters];
        db.query_one_raw(Dialect::Sqlite.statement(sql, values)).await.unwrap();
    }

    #[tokio::test]
    async fn a_statement_may_have_a_fixed_number_of_parameters() {
        query_with(PARAMETERS_MAX).await;
    }

    #[tokio::test]
    #[should_panic(expected = "75 parameters: SELECT $1, $2")]
    async fn a_statement_with_a_parameter_for_each_value_is_found() {
        query_with(PARAMETERS_MAX + 1).await;
    }
}

//! The database, PostgreSQL or SQLite, through sea-orm.
//!
//! [`Lane::run_batch`] is the booking transaction; `queries` has a file per subject for everything else. Every unit
//! of work runs in a task of its own. When a client disconnects or a deadline passes, only the waiting is cancelled,
//! never the transaction: sqlx 0.9.0 would return the connection to the pool with the transaction open.

mod audit;
pub(crate) mod batch;
pub(crate) mod connection;
mod queries;
mod schema;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::DbErr;

use crate::domain::answer_codec::AnswerCodec;
use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::BatchId;
use crate::domain::rules::Policy;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::pool::Pool;
use crate::telemetry::request_context;

pub use audit::{ANSWERS_AT_A_TIME, AuditPace, AuditScope, Audited};
pub use batch::{BatchReport, CommandResult, IsActive, Lane};
pub use connection::citus::Engine;
pub use connection::connect::{Limits, Target};
pub use connection::login::{Login, PasswordSource};
pub use connection::routing::{REPLICA_BEHIND, ReadFrom};
pub use queries::api_keys::KeysRevision;
pub use queries::holds::Holder;
pub use queries::journal::Journal;
pub use queries::plans::StoredPlan;
pub use queries::queue::{Fetched, StoredMessage};
pub use queries::queue_dead_letters::{DeadLettersRemoved, StoredDeadLetter};
pub use queries::seats::Snapshot;
pub use queries::sweep::PURGE_ROWS;
pub use schema::compatibility::Schema;

use connection::connect::Connections;
use connection::dialect::Dialect;
use connection::errors::{self, ErrorClass};
use connection::lineage::Lineage;
use connection::routing::{Routing, monotonic_ms};
use connection::session::Db;

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::Type(text) => return Self::Corrupt(text.clone()),
            DbErr::ConnectionAcquire(_) => return Self::Unavailable(error.to_string()),
            DbErr::Conn(_) => return Self::Unavailable(errors::with_remedy(&error)),
            _ => {}
        }
        match errors::classify(&error) {
            ErrorClass::ReadOnly => Self::ReadOnly,
            ErrorClass::Data | ErrorClass::Unique | ErrorClass::Refused => {
                Self::Corrupt(error.to_string())
            }
            ErrorClass::Retry
            | ErrorClass::Stale
            | ErrorClass::Interrupted
            | ErrorClass::Unavailable => Self::Unavailable(error.to_string()),
        }
    }
}

/// The settings of a store.
#[derive(Clone)]
pub struct Settings {
    /// The database.
    pub target: Target,
    /// Times and sizes.
    pub limits: Limits,
    /// Limits that decisions need.
    pub policy: Policy,
    /// Renders recorded answers, and reads them for the audit.
    pub codec: &'static dyn AnswerCodec,
}

/// One database: its connections, and the methods that send statements to it.
pub struct Store {
    settings: Settings,
    dialect: Dialect,
    metrics: Arc<Metrics>,
    read: Connections,
    /// Writes outside the booking engine, and reads of the primary.
    write: Connections,
    /// For the heartbeat alone: a full pool must not make the primary seem unavailable.
    heartbeat: Connections,
    lineage: Arc<Lineage>,
    routing: Routing,
    /// When a batch was last committed, as of `monotonic_ms`; 0 for never.
    committed_at: AtomicU64,
    /// The connections of each lane of the booking engine.
    lanes: Vec<Arc<Connections>>,
    lanes_taken: AtomicBool,
}

/// Lanes of PostgreSQL: few lanes make large batches.
const LANES: u32 = 2;

/// Lanes of Citus. A batch has one schedule there, and the schedules are on several workers.
const LANES_OF_CITUS: u32 = 16;

/// Connections for writes outside the booking engine: the admin API and background jobs.
const ADMIN_CONNECTIONS: u32 = 3;

/// Connections of a lane. When the pool takes a connection back, it checks it with a round trip. The next batch uses the
/// other one, so it does not wait for that.
const LANE_CONNECTIONS: u32 = 2;

impl Store {
    /// Opens the pools, and asks a PostgreSQL server whether it is a Citus cluster. Reads the passwords that may change; a
    /// missing SQLite file is created. SQLite has one writer, so one lane.
    pub async fn open(settings: Settings, metrics: Arc<Metrics>) -> StoreResult<Arc<Self>> {
        settings.target.prepare()?;
        let lineage = Arc::default();
        let writer = |pool, connections| {
            let options = settings.target.writer_options(&settings.limits, connections, &lineage);
            Connections::open(pool, options, settings.target.writer_login())
        };
        let admin =
            if settings.target.dialect() == Dialect::Sqlite { 1 } else { ADMIN_CONNECTIONS };
        let write = writer(Pool::Write, admin).await?;
        let lanes_of = |lanes| settings.limits.lanes.unwrap_or(lanes).max(1);
        let (lane_count, of_lane) = match Self::dialect_of(&settings.target, &write).await? {
            Dialect::Postgres => (lanes_of(LANES), LANE_CONNECTIONS),
            Dialect::Citus => (lanes_of(LANES_OF_CITUS), LANE_CONNECTIONS),
            Dialect::Sqlite => (1, 1),
        };
        let mut lanes = Vec::new();
        for _ in 0..lane_count {
            lanes.push(Arc::new(writer(Pool::Lanes, of_lane).await?));
        }
        let heartbeat = writer(Pool::Beat, 1).await?;
        Self::from_pools(settings, metrics, write, heartbeat, lanes, lineage).await
    }

    /// Opens a store that only reads: it has no lanes, and the database refuses its writes. A SQLite file is
    /// not created.
    pub async fn open_to_read(settings: Settings, metrics: Arc<Metrics>) -> StoreResult<Arc<Self>> {
        let reader = |pool| {
            let options = settings.target.reader_options(&settings.limits);
            Connections::open(pool, options, settings.target.reader_login())
        };
        let write = reader(Pool::Write).await?;
        let heartbeat = reader(Pool::Beat).await?;
        Self::from_pools(settings, metrics, write, heartbeat, Vec::new(), Arc::default()).await
    }

    async fn from_pools(
        settings: Settings,
        metrics: Arc<Metrics>,
        write: Connections,
        heartbeat: Connections,
        lanes: Vec<Arc<Connections>>,
        lineage: Arc<Lineage>,
    ) -> StoreResult<Arc<Self>> {
        let logins = [settings.target.writer_login(), settings.target.reader_login()];
        for login in logins.into_iter().flatten().filter_map(Login::changing) {
            // A command may take longer than a statement may wait for its connection.
            login.newest().await?;
        }
        let options = settings.target.reader_options(&settings.limits);
        let read = Connections::open(Pool::Read, options, settings.target.reader_login()).await?;
        Ok(Arc::new(Self {
            dialect: Self::dialect_of(&settings.target, &write).await?,
            settings,
            metrics,
            read,
            write,
            heartbeat,
            lineage,
            routing: Routing::default(),
            committed_at: AtomicU64::new(0),
            lanes,
            lanes_taken: AtomicBool::new(false),
        }))
    }

    /// The dialect of the database, which is asked whether it is a Citus cluster.
    async fn dialect_of(target: &Target, write: &Connections) -> StoreResult<Dialect> {
        target.ask_dialect(&Db::new(write.ready().await?, target.dialect())).await
    }

    /// A warning for each file of the database that other users of this machine may read or replace, with the
    /// remedy.
    #[must_use]
    pub fn file_warnings(&self) -> Vec<String> {
        match &self.settings.target {
            Target::Sqlite { path } => connection::files::warnings(path),
            Target::Postgres { .. } => Vec::new(),
        }
    }

    /// What cannot be found out about the history of the database, with the consequence; `None` if nothing, or before
    /// the first connection that writes.
    #[must_use]
    pub fn history_warning(&self) -> Option<String> {
        self.lineage.warning()
    }

    /// The lanes of the booking engine, each with connections of its own. The second call returns none.
    #[must_use]
    pub fn take_lanes(self: &Arc<Self>) -> Vec<Lane> {
        if self.lanes_taken.swap(true, Ordering::Relaxed) {
            return Vec::new();
        }
        let lanes = self.lanes.len();
        let lane = |(number, connections)| Lane::new(Arc::clone(self), connections, number, lanes);
        self.lanes.iter().cloned().enumerate().map(lane).collect()
    }

    /// Whether a batch was committed within this time: if so, the primary is writable, whatever else fails.
    #[must_use]
    pub fn has_committed_within(&self, time: Duration) -> bool {
        let at = self.committed_at.load(Ordering::Relaxed);
        at > 0 && Duration::from_millis(monotonic_ms().saturating_sub(at)) < time
    }

    fn record_commit(&self, batch: BatchId) {
        // The history of the coordinator does not depend on the worker that has the batch.
        if self.dialect != Dialect::Citus {
            self.lineage.record_commit(batch);
        }
        self.committed_at.store(monotonic_ms().max(1), Ordering::Relaxed);
    }

    /// Refuses a database that may lose acknowledged commits.
    pub async fn check_durability(&self) -> StoreResult<()> {
        match self.dialect {
            Dialect::Postgres | Dialect::Citus => {
                let db = Db::new(self.write.ready().await?, self.dialect);
                connection::connect::check_durability(&db).await
            }
            // Every connection of this program sets the journal mode and `synchronous`.
            Dialect::Sqlite => Ok(()),
        }
    }

    /// Reads one row from the replica, or from the primary if there is no replica. Returns the lag of the replica,
    /// which is the age of its heartbeat; `None` without a replica. Fails if the read takes longer than `limit`.
    pub async fn ping(&self, limit: Duration) -> StoreResult<Option<Duration>> {
        let sql =
            format!("SELECT {} - beat_at, beat_at FROM heartbeat WHERE id = 1", self.dialect.now());
        let work = |db: Db| async move { db.fetch_one::<(i64, i64)>(sql, Vec::new()).await };
        let heartbeat = self.bounded(&self.read, limit, work).await?;
        // Before the first heartbeat a replica cannot be behind.
        let heartbeat = heartbeat.filter(|(_, beat_at)| self.has_replica() && *beat_at > 0);
        let lag = heartbeat.map(|(age, _)| Duration::from_millis(u64::try_from(age).unwrap_or(0)));
        self.metrics.map.replica_lag_seconds.set(lag.map_or(0.0, |lag| lag.as_secs_f64()));
        Ok(lag)
    }

    /// Closes every pool after running work has ended.
    pub async fn close(&self) {
        for pool in &self.lanes {
            drop(pool.get().close().await);
        }
        for pool in [&self.heartbeat, &self.write, &self.read] {
            drop(pool.get().close().await);
        }
    }

    /// Runs `work` on a connection to the primary, outside the lanes, with the time limit of a statement.
    pub(crate) async fn on_primary<T, E, F>(&self, work: impl FnOnce(Db) -> F) -> StoreResult<T>
    where
        T: Send + 'static,
        E: Into<StoreError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.bounded(&self.write, self.settings.limits.statement_timeout, work).await
    }

    /// Runs `work` on a connection of the pool, in a task of its own, and waits at most `limit` for it. The pool is
    /// replaced if the work takes longer, since its connections may wait for a server that is gone, or if the server
    /// is read-only, since it is then a demoted primary.
    pub(crate) async fn bounded<T, E, F>(
        &self,
        pool: &Connections,
        limit: Duration,
        work: impl FnOnce(Db) -> F,
    ) -> StoreResult<T>
    where
        T: Send + 'static,
        E: Into<StoreError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        // The command of a password may run for longer than the limit, but no statement was sent then.
        let Ok(connection) = tokio::time::timeout(limit, pool.ready()).await else {
            let why = "the password for the database could not be read in time";
            return Err(StoreError::Unavailable(why.to_owned()));
        };
        let work = work(Db::new(connection?, self.dialect));
        let work = pool.wait(&self.metrics).measure(work);
        let failed = match tokio::time::timeout(limit, request_context::spawn(work)).await {
            Ok(Ok(Ok(done))) => return Ok(done),
            Ok(Ok(Err(error))) => match error.into() {
                StoreError::ReadOnly => StoreError::ReadOnly,
                error => return Err(error),
            },
            Ok(Err(panic)) => {
                return Err(StoreError::Corrupt(format!("a query panicked: {panic}")));
            }
            Err(_) => StoreError::Timeout,
        };
        if let Err(error) = pool.renew().await {
            log::warn!("a connection pool could not be replaced: {error}");
        }
        Err(failed)
    }
}

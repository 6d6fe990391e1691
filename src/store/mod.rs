//! The durable truth: one sea-orm code base over PostgreSQL and SQLite.
//!
//! [`Store::run_batch`] is the booking transaction; the other files read and write what surrounds it, a
//! file per subject. Every unit of work runs in a task of its own: a client that leaves, or a deadline,
//! drops only the waiting, never a transaction half way (sqlx 0.9.0 would hand it back to the pool open).

mod audit;
pub(crate) mod batch;
pub(crate) mod connection;
mod queries;
mod schema;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr};

use crate::domain::execution_error::StoreError;
use crate::domain::rules::Policy;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::pool::Pool;
use crate::telemetry::request_context;

pub use audit::{ANSWERS_AT_A_TIME, AnswerReader, AuditPace, AuditScope, Audited};
pub use batch::write::Renderer;
pub use batch::{BatchReport, CommandResult, IsActive};
pub use connection::connect::{Limits, Target};
pub use connection::routing::{REPLICA_BEHIND, ReadFrom};
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
use connection::routing::{Routing, life_ms};

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match &error {
            DbErr::Type(text) => return Self::Corrupt(text.clone()),
            DbErr::ConnectionAcquire(_) => return Self::Unavailable(error.to_string()),
            _ => {}
        }
        match errors::meaning(&error) {
            ErrorClass::ReadOnly => Self::ReadOnly,
            ErrorClass::Data | ErrorClass::Unique | ErrorClass::Refused => {
                Self::Corrupt(error.to_string())
            }
            ErrorClass::Again | ErrorClass::Stale | ErrorClass::Unavailable => {
                Self::Unavailable(error.to_string())
            }
        }
    }
}

/// What the store needs to know.
#[derive(Clone)]
pub struct Settings {
    /// Which database.
    pub target: Target,
    /// Times and sizes.
    pub limits: Limits,
    /// Limits that decisions need.
    pub policy: Policy,
    /// Makes the recorded answer of an effect.
    pub render: Renderer,
    /// Reads it again, for the audit.
    pub read_answer: AnswerReader,
}

/// Connections to one database, and everything that is asked of it.
pub struct Store {
    settings: Settings,
    dialect: Dialect,
    metrics: Arc<Metrics>,
    /// Everything that only reads.
    read: Connections,
    /// Everything that writes outside the booking engine, and reads of the primary.
    write: Connections,
    /// The heartbeat's own, so that no other work can make the primary seem dead.
    beat: Connections,
    routing: Routing,
    /// When a batch was last committed, in milliseconds of the process' life; 0 for never.
    committed_at: AtomicU64,
    /// One connection per lane of the booking engine.
    lanes: Vec<Connections>,
}

/// Connections for what writes outside the booking engine: the box office, heartbeats, sweeps.
const OFFICE_CONNECTIONS: u32 = 3;

impl Store {
    /// Opens the pools without connecting; a missing SQLite file is created. SQLite has one writer, so one lane.
    pub async fn open(settings: Settings, metrics: Arc<Metrics>) -> Result<Arc<Self>, StoreError> {
        settings.target.prepare()?;
        let dialect = settings.target.dialect();
        let (lane_count, office) = match dialect {
            Dialect::Postgres => (settings.limits.lanes.max(1), OFFICE_CONNECTIONS),
            Dialect::Sqlite => (1, 1),
        };
        let lineage = Arc::default();
        let writer = |pool, connections| {
            let options = settings.target.writer(&settings.limits, connections, &lineage);
            Connections::open(pool, options)
        };
        let mut lanes = Vec::new();
        for _ in 0..lane_count {
            lanes.push(writer(Pool::Lanes, 1).await?);
        }
        let (write, beat) = (writer(Pool::Write, office).await?, writer(Pool::Beat, 1).await?);
        let reader = settings.target.reader(&settings.limits);
        let read = Connections::open(Pool::Read, reader).await?;
        let (routing, committed_at) = (Routing::default(), AtomicU64::new(0));
        let store =
            Self { settings, dialect, metrics, read, write, beat, routing, committed_at, lanes };
        Ok(Arc::new(store))
    }

    /// Opens the pool where reads go, and no other: what writes has no lane, or is refused by the
    /// database. A SQLite file is not created.
    pub async fn open_to_read(
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, StoreError> {
        let dialect = settings.target.dialect();
        let reader = |pool| Connections::open(pool, settings.target.reader(&settings.limits));
        let read = reader(Pool::Read).await?;
        let (write, beat) = (reader(Pool::Write).await?, reader(Pool::Beat).await?);
        let (routing, committed_at) = (Routing::default(), AtomicU64::new(0));
        let lanes = Vec::new();
        let store =
            Self { settings, dialect, metrics, read, write, beat, routing, committed_at, lanes };
        Ok(Arc::new(store))
    }

    /// A line for each file of the database that other users of this machine may read or replace; what is
    /// wrong and the remedy.
    #[must_use]
    pub fn file_warnings(&self) -> Vec<String> {
        match &self.settings.target {
            Target::Sqlite { path } => connection::files::warnings(path),
            Target::Postgres { .. } => Vec::new(),
        }
    }

    /// How many batches can run at once.
    #[must_use]
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// Whether a batch was committed within this time: then the primary is writable, whatever else fails.
    #[must_use]
    pub fn has_committed_within(&self, time: Duration) -> bool {
        let at = self.committed_at.load(Ordering::Relaxed);
        at > 0 && Duration::from_millis(life_ms().saturating_sub(at)) < time
    }

    fn note_commit(&self) {
        self.committed_at.store(life_ms().max(1), Ordering::Relaxed);
    }

    /// Refuses a database that may forget what it has acknowledged.
    pub async fn check_durability(&self) -> Result<(), StoreError> {
        match self.dialect {
            Dialect::Postgres => connection::connect::check_durability(&self.write.get()).await,
            // Our own connections set journal mode and synchronous; nobody else's matter.
            Dialect::Sqlite => Ok(()),
        }
    }

    /// Reads one row where reads go: the heartbeat, whose age tells how far behind the replica is, if reads
    /// go to one. Fails if it takes longer than `limit`.
    pub async fn ping(self: &Arc<Self>, limit: Duration) -> Result<Option<Duration>, StoreError> {
        let dialect = self.dialect;
        let work = move |db: DatabaseConnection| async move {
            let sql =
                format!("SELECT {} - beat_at, beat_at FROM heartbeat WHERE id = 1", dialect.now());
            let row = db.query_one_raw(dialect.statement(sql, Vec::new())).await?;
            row.map(|row| row.try_get_many_by_index::<(i64, i64)>()).transpose()
        };
        let beat = self.bounded(&self.read, limit, work).await?;
        // Before the first beat of all there is nothing to be behind of.
        let beat = beat.filter(|(_, beat_at)| self.has_replica() && *beat_at > 0);
        let lag = beat.map(|(age, _)| Duration::from_millis(u64::try_from(age).unwrap_or(0)));
        let seconds = lag.map_or(0.0, |lag| lag.as_secs_f64());
        self.metrics.map.replica_lag_seconds.set(seconds);
        Ok(lag)
    }

    /// Closes every pool; what is running is finished first.
    pub async fn close(&self) {
        for pool in self.lanes.iter().chain([&self.beat, &self.write, &self.read]) {
            drop(pool.get().close().await);
        }
    }

    /// Does work on a connection to the primary, beside the lanes, for as long as a statement may take.
    pub(crate) async fn on_primary<T, E, F>(
        &self,
        work: impl FnOnce(DatabaseConnection) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: Into<StoreError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        self.bounded(&self.write, self.settings.limits.statement_timeout, work).await
    }

    /// Does work on a connection of the pool, in a task of its own, and waits for it, but not longer than
    /// `limit`. A pool whose work overran may be stuck with a server that is gone, and one whose server
    /// is read-only with a primary that was demoted: it is replaced.
    pub(crate) async fn bounded<T, E, F>(
        &self,
        pool: &Connections,
        limit: Duration,
        work: impl FnOnce(DatabaseConnection) -> F,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        E: Into<StoreError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let work = pool.waiting(&self.metrics).during(work(pool.get()));
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

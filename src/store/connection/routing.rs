//! Routing of reads: to the replica while it works, otherwise to the primary, within a share of its pool.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::{StoreError, StoreResult};
use crate::domain::ids::ScheduleId;
use crate::store::Store;
use crate::store::connection::DbResult;
use crate::store::connection::connect::Connections;
use crate::store::connection::dialect::Dialect;
use crate::store::connection::errors::lost_connection;
use crate::store::connection::session::Db;

/// A replica whose newest heartbeat is older than this is behind. Heartbeats are written each second.
pub const REPLICA_BEHIND: Duration = Duration::from_millis(2_500);

/// The database to read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The replica, if there is one and it works.
    Anywhere,
    /// The primary.
    Primary,
}

/// A replica that failed is not used for this long.
const REPLICA_BACKOFF: Duration = Duration::from_secs(1);

/// Concurrent reads on the primary while the replica is unavailable: the rest of the pool is left to writers.
const PRIMARY_SHARE: usize = 2;

/// The state of routing.
pub(crate) struct Routing {
    /// The replica is not used before this time, in milliseconds as of [`monotonic_ms`].
    backoff_until: AtomicU64,
    primary_reads: Semaphore,
    /// The database's clock minus this machine's, in milliseconds, as of the last heartbeat.
    offset_ms: AtomicI64,
}

impl Default for Routing {
    fn default() -> Self {
        let primary_reads = Semaphore::new(PRIMARY_SHARE);
        Self { backoff_until: AtomicU64::new(0), primary_reads, offset_ms: AtomicI64::new(0) }
    }
}

/// Milliseconds since the first call in this process.
pub(crate) fn monotonic_ms() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn system_ms() -> i64 {
    EpochMs::from(SystemTime::now()).0
}

/// The future of a read.
pub(crate) trait ReadFuture<T>: Future<Output = DbResult<T>> + Send + 'static {}

impl<T, F: Future<Output = DbResult<T>> + Send + 'static> ReadFuture<T> for F {}

impl Store {
    /// Whether reads go to a database that may lag behind the primary.
    #[must_use]
    pub fn has_replica(&self) -> bool {
        self.settings.target.has_replica()
    }

    /// Whether the database is a file on this machine.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.dialect == Dialect::Sqlite
    }

    /// The database's clock, estimated from the last heartbeat. The estimate is good enough for an early refusal. Only
    /// the database's own clock decides whether seats are granted.
    #[must_use]
    pub fn clock(&self) -> EpochMs {
        EpochMs(system_ms().saturating_add(self.routing.offset_ms.load(Ordering::Relaxed)))
    }

    /// Records `now`, the database's clock, which was read some time after `sent_ms` on this machine's clock. The
    /// estimate may be fast but is never slow, so no seat is refused because of a hold that has expired.
    pub(crate) fn set_clock(&self, now: EpochMs, sent_ms: i64) {
        let offset = now.0.saturating_sub(sent_ms);
        self.routing.offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Reads from the given database, or from the primary while the replica fails.
    pub(crate) async fn read_from<T: Send + 'static, F: ReadFuture<T>>(
        &self,
        from: ReadFrom,
        query: impl Fn(Db) -> F,
    ) -> StoreResult<T> {
        if !self.has_replica() {
            return self.read_on(&self.read, &query).await;
        }
        let usable = monotonic_ms() >= self.routing.backoff_until.load(Ordering::Relaxed);
        if from == ReadFrom::Anywhere && usable {
            match self.read_on(&self.read, &query).await {
                Err(error @ StoreError::Unavailable(_)) => {
                    log::warn!(
                        "the read replica does not answer, reads go to the primary: {error}"
                    );
                    let backoff = u64::try_from(REPLICA_BACKOFF.as_millis()).unwrap_or(0);
                    self.routing.backoff_until.store(monotonic_ms() + backoff, Ordering::Relaxed);
                }
                answered => return answered,
            }
        }
        let wait = self.settings.limits.pool_wait;
        let permit = tokio::time::timeout(wait, self.routing.primary_reads.acquire()).await;
        let Ok(Ok(_permit)) = permit else {
            let problem = "too many reads on the primary while the replica is not used";
            return Err(StoreError::Unavailable(problem.to_owned()));
        };
        self.read_on(&self.write, &query).await
    }

    /// Reads on a connection of the pool. A connection that was cut while it was idle fails when it is used, so the
    /// read is sent again on the next connection, at most once for each connection of the pool.
    async fn read_on<T: Send + 'static, F: ReadFuture<T>>(
        &self,
        pool: &Connections,
        query: impl Fn(Db) -> F,
    ) -> StoreResult<T> {
        let limit = self.settings.limits.statement_timeout;
        for retries_left in (0..=self.settings.limits.read_pool).rev() {
            let unless_lost = |db| {
                let answer = query(db);
                async move {
                    match answer.await {
                        Err(error) if retries_left > 0 && lost_connection(&error) => Ok(None),
                        answer => answer.map(Some),
                    }
                }
            };
            match self.bounded(pool, limit, unless_lost).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                // Unlike a write, a read that took too long had no effect.
                Err(StoreError::Timeout) => break,
                Err(error) => return Err(error),
            }
        }
        Err(StoreError::Unavailable("no answer in time".to_owned()))
    }

    /// Reads at version `at_least` of the schedule or later: the version that the caller has seen. Reads from the
    /// primary if the replica has not reached that version, or if no schedule is given.
    pub(crate) async fn read_since<T: Send + 'static, F: ReadFuture<T>>(
        &self,
        from: ReadFrom,
        schedule: Option<ScheduleId>,
        at_least: i64,
        query: impl Fn(Db) -> F,
    ) -> StoreResult<T> {
        let from = match schedule {
            _ if at_least <= 0 || !self.has_replica() => from,
            Some(schedule) if self.replica_is_at(schedule, at_least).await => from,
            _ => ReadFrom::Primary,
        };
        self.read_from(from, query).await
    }

    /// Whether the replica has reached this version of a schedule.
    async fn replica_is_at(&self, schedule: ScheduleId, version: i64) -> bool {
        let sql = "SELECT version FROM schedule_version WHERE schedule_id = $1";
        let found = self.read_from(ReadFrom::Anywhere, move |db| async move {
            db.fetch_one::<i64>(sql, vec![schedule.0.into()]).await
        });
        found.await.ok().flatten().is_some_and(|found| found >= version)
    }

    /// Reads one row. If the replica does not have the row, it is read from the primary.
    pub(crate) async fn find<T: Send + 'static, F: ReadFuture<Option<T>>>(
        &self,
        query: impl Fn(Db) -> F,
    ) -> StoreResult<Option<T>> {
        self.find_since(None, 0, query).await
    }

    /// Like [`Self::find`], of `schedule` at the version `at_least` or later as in [`Self::read_since`].
    pub(crate) async fn find_since<T: Send + 'static, F: ReadFuture<Option<T>>>(
        &self,
        schedule: Option<ScheduleId>,
        at_least: i64,
        query: impl Fn(Db) -> F,
    ) -> StoreResult<Option<T>> {
        let found = self.read_since(ReadFrom::Anywhere, schedule, at_least, &query).await?;
        if found.is_some() || !self.has_replica() {
            return Ok(found);
        }
        self.read_from(ReadFrom::Primary, &query).await
    }
}

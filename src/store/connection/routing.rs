//! Where reads go: the replica while it is well, the primary within a share of its pool when it is not.

use std::future::Future;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr};
use tokio::sync::Semaphore;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::ScheduleId;

use crate::store::Store;
use crate::store::connection::connect::Connections;
use crate::store::connection::dialect::Dialect;
use crate::store::connection::errors::lost_connection;

/// A replica whose newest heartbeat is older than this is behind, and what it tells is not news: beats come
/// each second.
pub const REPLICA_BEHIND: Duration = Duration::from_millis(2_500);

/// Which database a read asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The replica, if there is one and it is well.
    Anywhere,
    /// The primary: what it does not have, nobody has.
    Primary,
}

/// A replica that failed is not asked again for this long.
const REPLICA_REST: Duration = Duration::from_secs(1);

/// Reads on the primary at the same time, while the replica is away: the rest of the pool stays with the
/// writers.
const PRIMARY_SHARE: usize = 2;

/// The state of routing.
pub(crate) struct Routing {
    /// Milliseconds of the process' life until which the replica rests.
    resting_until: AtomicU64,
    share: Semaphore,
    /// The database's clock minus this machine's, in milliseconds, as of the last heartbeat.
    offset_ms: AtomicI64,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            resting_until: AtomicU64::new(0),
            share: Semaphore::new(PRIMARY_SHARE),
            offset_ms: AtomicI64::new(0),
        }
    }
}

/// Milliseconds since the process first asked for them.
pub(crate) fn life_ms() -> u64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    u64::try_from(BEGAN.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn system_ms() -> i64 {
    EpochMs::from(SystemTime::now()).0
}

/// A read that took too long had no effect, unlike a write.
fn read<T>(result: Result<T, StoreError>) -> Result<T, StoreError> {
    result.map_err(|error| match error {
        StoreError::Timeout => StoreError::Unavailable("no answer in time".to_owned()),
        error => error,
    })
}

impl Store {
    /// Whether reads go to a database that may lag behind the primary.
    #[must_use]
    pub fn has_replica(&self) -> bool {
        self.settings.target.has_replica()
    }

    /// Whether the database is a file on this machine, and not a server that processes elsewhere may use.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.dialect == Dialect::Sqlite
    }

    /// What the database's clock says by now, as far as the last heartbeat can tell. Good enough to leave
    /// a refusal to the database, never to make a grant.
    #[must_use]
    pub fn clock(&self) -> EpochMs {
        EpochMs(system_ms().saturating_add(self.routing.offset_ms.load(Ordering::Relaxed)))
    }

    /// Notes what the database's clock said at some time after `asked_ms` of this machine's. Taking the
    /// asking for the saying lets our idea of its clock run ahead, never behind: no hold is refused past
    /// its end.
    pub(crate) fn set_clock(&self, now: EpochMs, asked_ms: i64) {
        let offset = now.0.saturating_sub(asked_ms);
        self.routing.offset_ms.store(offset, Ordering::Relaxed);
    }

    /// Reads from the database named; a replica that fails is replaced by the primary, for a while.
    pub(crate) async fn read_from<T, F, W>(
        self: &Arc<Self>,
        from: ReadFrom,
        query: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
        W: Fn(DatabaseConnection) -> F,
    {
        let limit = self.settings.limits.statement_timeout;
        if !self.settings.target.has_replica() {
            return read(self.read_on(&self.read, limit, &query).await);
        }
        let rested = life_ms() >= self.routing.resting_until.load(Ordering::Relaxed);
        if from == ReadFrom::Anywhere && rested {
            match read(self.read_on(&self.read, limit, &query).await) {
                Err(error @ StoreError::Unavailable(_)) => {
                    log::warn!(
                        "the read replica does not answer, the primary does its work: {error}"
                    );
                    let rest = u64::try_from(REPLICA_REST.as_millis()).unwrap_or(0);
                    self.routing.resting_until.store(life_ms() + rest, Ordering::Relaxed);
                }
                answered => return answered,
            }
        }
        let wait = self.settings.limits.pool_wait;
        let Ok(Ok(_share)) = tokio::time::timeout(wait, self.routing.share.acquire()).await else {
            return Err(StoreError::Unavailable("reads have used up their share".to_owned()));
        };
        read(self.read_on(&self.write, limit, &query).await)
    }

    /// Reads on a connection of the pool. Those that were cut while they waited there are found out by
    /// being used; the read is sent again on the next one, at most until all have been tried.
    async fn read_on<T, F, W>(
        &self,
        pool: &Connections,
        limit: Duration,
        query: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
        W: Fn(DatabaseConnection) -> F,
    {
        for _ in 0..self.settings.limits.read_pool {
            let unless_lost = |db| {
                let answer = query(db);
                async move {
                    match answer.await {
                        Err(error) if lost_connection(&error) => Ok::<_, DbErr>(None),
                        answer => answer.map(Some),
                    }
                }
            };
            if let Some(found) = self.bounded(pool, limit, unless_lost).await? {
                return Ok(found);
            }
        }
        self.bounded(pool, limit, &query).await
    }

    /// Reads where reads go, but not from a replica that has not come as far as the caller: to a version of a
    /// schedule, or of one that is not named.
    pub(crate) async fn read_since<T, F, W>(
        self: &Arc<Self>,
        from: ReadFrom,
        (schedule, at_least): (Option<ScheduleId>, i64),
        query: W,
    ) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DbErr>> + Send + 'static,
        W: Fn(DatabaseConnection) -> F,
    {
        let from = match schedule {
            _ if at_least <= 0 || !self.has_replica() => from,
            Some(schedule) if self.replica_is_at(schedule, at_least).await => from,
            _ => ReadFrom::Primary,
        };
        self.read_from(from, query).await
    }

    /// Whether the replica has come to this version of a schedule.
    async fn replica_is_at(self: &Arc<Self>, schedule: ScheduleId, version: i64) -> bool {
        let dialect = self.dialect;
        let sql = "SELECT version FROM schedule_version WHERE schedule_id = $1";
        let found = self.read_from(ReadFrom::Anywhere, move |db| async move {
            let row = db.query_one_raw(dialect.statement(sql, vec![schedule.0.into()])).await?;
            row.map(|row| row.try_get_by_index::<i64>(0)).transpose()
        });
        found.await.ok().flatten().is_some_and(|found| found >= version)
    }

    /// Reads one thing where reads go. What a lagging replica does not have is asked of the primary before
    /// it counts as absent.
    pub(crate) async fn find<T, F, W>(self: &Arc<Self>, query: W) -> Result<Option<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<Option<T>, DbErr>> + Send + 'static,
        W: Fn(DatabaseConnection) -> F,
    {
        self.find_since((None, 0), query).await
    }

    /// The same, with what the caller has seen as in [`Self::read_since`].
    pub(crate) async fn find_since<T, F, W>(
        self: &Arc<Self>,
        seen: (Option<ScheduleId>, i64),
        query: W,
    ) -> Result<Option<T>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<Option<T>, DbErr>> + Send + 'static,
        W: Fn(DatabaseConnection) -> F,
    {
        let found = self.read_since(ReadFrom::Anywhere, seen, &query).await?;
        if found.is_some() || !self.has_replica() {
            return Ok(found);
        }
        self.read_from(ReadFrom::Primary, &query).await
    }
}

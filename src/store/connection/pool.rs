//! What the connection pools tell of themselves: how many connections there are, and how long work waits
//! for one.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::{ConnectOptions, DatabaseConnection};

use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::pool::Pool;

use crate::store::Store;
use crate::store::connection::connect::Connections;
use crate::store::connection::dialect::Dialect;

tokio::task_local! {
    /// What the work of this task waits for.
    static WAITING: Waiting;
}

/// Work that is about to need a connection, and notes how long it waits for its first.
pub(crate) struct Waiting {
    pool: Pool,
    metrics: Arc<Metrics>,
    began: Instant,
    patience: Duration,
    found: Cell<bool>,
}

impl Waiting {
    pub(crate) fn begin(pool: Pool, options: &ConnectOptions, metrics: &Arc<Metrics>) -> Self {
        Self {
            pool,
            metrics: Arc::clone(metrics),
            began: Instant::now(),
            patience: options.get_acquire_timeout().unwrap_or(Duration::MAX),
            found: Cell::new(false),
        }
    }

    /// Does the work, all of it in this one task.
    pub(crate) async fn during<T>(self, work: impl Future<Output = T>) -> T {
        WAITING.scope(self, work).await
    }
}

impl Drop for Waiting {
    /// Also where the work is given up: what has waited longer than it may has found no connection.
    fn drop(&mut self) {
        if !self.found.get() && self.began.elapsed() >= self.patience {
            self.metrics.pool.timed_out(self.pool);
        }
    }
}

/// To be called by a pool's hooks, and when a new connection is ready for work, in the task that is handed
/// it.
pub(crate) fn found() {
    // Work that nobody measures, such as a migration, has no such thing.
    let _ = WAITING.try_with(|waiting| {
        if !waiting.found.replace(true) {
            waiting.metrics.pool.waited(waiting.pool, waiting.began.elapsed());
        }
    });
}

/// Has the pools made with these options tell of every connection that they hand out, but for new ones.
pub(crate) fn tell(options: &mut ConnectOptions) {
    options.map_sqlx_postgres_before_acquire(|_, _| {
        found();
        Box::pin(std::future::ready(Ok(true)))
    });
    options.map_sqlx_sqlite_before_acquire(|_, _| {
        found();
        Box::pin(std::future::ready(Ok(true)))
    });
}

/// Connections in use, and idle ones.
fn open(connection: &DatabaseConnection, dialect: Dialect) -> (u64, u64) {
    let (size, idle) = match dialect {
        Dialect::Postgres => {
            let pool = connection.get_postgres_connection_pool();
            (pool.size(), pool.num_idle())
        }
        Dialect::Sqlite => {
            let pool = connection.get_sqlite_connection_pool();
            (pool.size(), pool.num_idle())
        }
    };
    let idle = u64::try_from(idle).unwrap_or(u64::MAX);
    (u64::from(size).saturating_sub(idle), idle)
}

impl Store {
    /// Sets the gauges of the connection pools as they are now; waits for nothing.
    pub fn note_pools(&self) {
        let one = std::slice::from_ref::<Connections>;
        let pools = [
            (Pool::Lanes, self.lanes.as_slice()),
            (Pool::Beat, one(&self.beat)),
            (Pool::Write, one(&self.write)),
            (Pool::Read, one(&self.read)),
        ];
        for (pool, all) in pools {
            let sum = all.iter().fold((0, 0, 0), |(in_use, idle, max), connections| {
                let (working, resting) = open(&connections.get(), self.dialect);
                (in_use + working, idle + resting, max + connections.max())
            });
            self.metrics.pool.set(pool, sum);
        }
    }
}

//! How long work waits for a connection of a pool.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::ConnectOptions;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::pool::Pool;

tokio::task_local! {
    static CURRENT: ConnectionWait;
}

/// Work that needs a connection; measures how long it waits for its first.
pub(crate) struct ConnectionWait {
    pool: Pool,
    metrics: Arc<Metrics>,
    began: Instant,
    limit: Duration,
    acquired: Cell<bool>,
}

impl ConnectionWait {
    pub(crate) fn begin(pool: Pool, options: &ConnectOptions, metrics: &Arc<Metrics>) -> Self {
        Self {
            pool,
            metrics: Arc::clone(metrics),
            began: Instant::now(),
            limit: options.get_acquire_timeout().unwrap_or(Duration::MAX),
            acquired: Cell::new(false),
        }
    }

    /// Does the work, all of it in this one task.
    pub(crate) async fn measure<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

impl Drop for ConnectionWait {
    /// Also runs where the work is cancelled: a wait beyond the limit has found no connection.
    fn drop(&mut self) {
        if !self.acquired.get() && self.began.elapsed() >= self.limit {
            self.metrics.pool.timed_out(self.pool);
        }
    }
}

/// Ends the measurement. Call it in the task that gets the connection, when that is ready for work.
pub(crate) fn acquired() {
    // Work that is not measured, such as a migration, has no `CURRENT`.
    let _ = CURRENT.try_with(|wait| {
        if !wait.acquired.replace(true) {
            wait.metrics.pool.waited(wait.pool, wait.began.elapsed());
        }
    });
}

/// Has pools with these options call [`acquired`] for each connection they hand out, except new ones.
pub(crate) fn measure_reused(options: &mut ConnectOptions) {
    options.map_sqlx_postgres_before_acquire(|_, _| {
        acquired();
        Box::pin(std::future::ready(Ok(true)))
    });
    options.map_sqlx_sqlite_before_acquire(|_, _| {
        acquired();
        Box::pin(std::future::ready(Ok(true)))
    });
}

//! How long work waits for a connection of a pool.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::ConnectOptions;

use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::pool::Pool;

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

//! How long work waits for a connection of a pool.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sea_orm::ConnectOptions;

use crate::store::connection::login::Login;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::pool::Pool;

tokio::task_local! {
    static CURRENT: ConnectionWait;
}

/// Measures how long work waits for its first connection.
pub(crate) struct ConnectionWait {
    pool: Pool,
    metrics: Arc<Metrics>,
    began: Instant,
    limit: Duration,
    login: Option<Arc<Login>>,
    acquired: Cell<bool>,
}

impl ConnectionWait {
    pub(crate) fn begin(
        pool: Pool,
        options: &ConnectOptions,
        login: Option<Arc<Login>>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self {
            pool,
            metrics: Arc::clone(metrics),
            began: Instant::now(),
            limit: options.get_acquire_timeout().unwrap_or(Duration::MAX),
            login,
            acquired: Cell::new(false),
        }
    }

    /// Runs the work and measures its wait. The work must get its connection in the current task.
    pub(crate) async fn measure<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

impl Drop for ConnectionWait {
    /// Counts a timeout if the work got no connection within the limit, also if the work was cancelled. The password of
    /// a login with which no connection was made is doubted.
    fn drop(&mut self) {
        if self.acquired.get() {
            return;
        }
        if self.began.elapsed() >= self.limit {
            self.metrics.pool.timed_out(self.pool);
        }
        if let Some(login) = &self.login {
            login.doubt();
        }
    }
}

/// Ends the measurement. Call this in the task that gets the connection, when the connection is ready for use.
pub(crate) fn acquired() {
    // Work that is not measured, such as a migration, has no `CURRENT`.
    let _ = CURRENT.try_with(|wait| {
        if !wait.acquired.replace(true) {
            wait.metrics.pool.waited(wait.pool, wait.began.elapsed());
        }
    });
}

/// Makes pools with these options call [`acquired`] for each connection that they reuse. New connections call it at
/// the end of `after_connect`.
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

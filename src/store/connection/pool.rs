//! The gauges of the connection pools.

use sea_orm::DatabaseConnection;

use crate::store::Store;
use crate::store::connection::dialect::Dialect;
use crate::telemetry::metrics::pool::Pool;

/// The number of connections in use, and the number of idle ones.
fn in_use_and_idle(connection: &DatabaseConnection, dialect: Dialect) -> (u64, u64) {
    let (size, idle) = match dialect {
        Dialect::Postgres | Dialect::Citus => {
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
    /// Sets the gauges of the connection pools; does not wait.
    pub fn record_pools(&self) {
        let lanes = self.lanes.iter().map(|lane| &**lane).collect();
        let pools = [
            (Pool::Lanes, lanes),
            (Pool::Beat, vec![&self.heartbeat]),
            (Pool::Write, vec![&self.write]),
            (Pool::Read, vec![&self.read]),
        ];
        for (pool, all) in pools {
            let (in_use, idle, max) =
                all.iter().fold((0, 0, 0), |(in_use, idle, max), connections| {
                    let (more_in_use, more_idle) =
                        in_use_and_idle(&connections.get(), self.dialect);
                    (in_use + more_in_use, idle + more_idle, max + connections.max())
                });
            self.metrics.pool.set(pool, in_use, idle, max);
        }
    }
}

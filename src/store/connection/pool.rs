//! How many connections the pools have, in use and idle.

use sea_orm::DatabaseConnection;

use crate::store::Store;
use crate::store::connection::connect::Connections;
use crate::store::connection::dialect::Dialect;
use crate::telemetry::metrics::pool::Pool;

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

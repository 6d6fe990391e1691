//! One server: its connection pool, and the round trip of a pipeline.

use std::time::Duration;

use deadpool::managed::{self, Metrics, RecycleResult};
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Pipeline, RedisError, RedisResult, Value};
use deadpool_redis::{Manager, PoolConfig, Runtime, Timeouts};

use super::connect::RedisConnector;
use super::failure::{is_failover_error, pool_error};
use super::settings::Address;

/// A connection that was used within this time is used again without a check, which costs a round trip.
const CHECK_AFTER: Duration = Duration::from_secs(1);

/// Makes connections, and checks those that were idle.
struct NodeManager(Manager);

type Pool = managed::Pool<NodeManager>;

impl managed::Manager for NodeManager {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> RedisResult<MultiplexedConnection> {
        self.0.create().await
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &Metrics,
    ) -> RecycleResult<RedisError> {
        match metrics.last_used() < CHECK_AFTER {
            true => Ok(()),
            false => self.0.recycle(connection, metrics).await,
        }
    }
}

/// One server. The first pipeline connects.
pub(super) struct Node {
    pub(super) address: Address,
    pool: Pool,
}

impl Node {
    /// Creates the pool. Fails on settings that are invalid for any server.
    pub(super) fn new(address: &Address, connector: &RedisConnector) -> RedisResult<Self> {
        let info = connector.info(address)?;
        let manager = Manager::new_with_config(info, connector.config())?;
        let timeout = Some(connector.round_trip);
        let config = PoolConfig {
            max_size: connector.pool_size,
            timeouts: Timeouts { wait: timeout, create: timeout, recycle: timeout },
            ..PoolConfig::default()
        };
        let pool =
            Pool::builder(NodeManager(manager)).config(config).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { address: address.clone(), pool })
    }

    /// The current state of the pool.
    pub(super) fn pool(&self) -> PoolStatus {
        let status = self.pool.status();
        let idle = status.available.min(status.size);
        PoolStatus {
            in_use: status.size - idle,
            idle,
            max: status.max_size,
            waiting: status.waiting,
        }
    }

    /// Sends a pipeline in one round trip. Returns the answer or error of each command; the error of one command does
    /// not affect the others.
    pub(super) async fn send(&self, pipeline: &mut Pipeline) -> RedisResult<RedisReplies> {
        let mut close_idle = CloseIdleOnDrop { pool: &self.pool, armed: true };
        let mut connection = self.pool.get().await.map_err(pool_error)?;
        let answers: RedisReplies = pipeline.ignore_errors().query_async(&mut *connection).await?;
        close_idle.armed =
            answers.iter().any(|answer| answer.as_ref().is_err_and(is_failover_error));
        Ok(answers)
    }
}

/// The current connections to one server or several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections in use.
    pub in_use: usize,
    /// Connections not in use.
    pub idle: usize,
    /// The most connections.
    pub max: usize,
    /// Calls waiting for a connection.
    pub waiting: usize,
}

/// The answer or error of a command.
pub(super) type RedisReply = RedisResult<Value>;

/// One answer for each command, in the order of the commands.
pub(super) type RedisReplies = Vec<RedisReply>;

/// Closes all idle connections of the pool on drop, unless it is disarmed. When a call fails or is dropped, often all
/// connections to the server are dead, and each of them would cause a time-out of a later call. This value must be
/// declared before the connection, so that the connection is in the pool again when this value is dropped.
struct CloseIdleOnDrop<'a> {
    pool: &'a Pool,
    armed: bool,
}

impl Drop for CloseIdleOnDrop<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.pool.retain(|_, _| false);
        }
    }
}

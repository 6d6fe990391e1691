//! One server: its pool, and the round trip of a pipeline.

use deadpool_redis::redis::{Pipeline, RedisResult, Value};
use deadpool_redis::{Manager, Pool, PoolConfig, Runtime, Timeouts};

use super::connect::Connector;
use super::failure::{of_pool, shuns_us};
use super::settings::Address;

/// One server. Connects when it is first asked.
pub(super) struct Node {
    pub(super) address: Address,
    pool: Pool,
}

impl Node {
    /// Fails on settings that no server could suit.
    pub(super) fn new(address: &Address, connector: &Connector) -> RedisResult<Self> {
        let info = connector.info(address)?;
        let manager = Manager::new_with_config(info, connector.config())?;
        let patience = Some(connector.round_trip);
        let config = PoolConfig {
            max_size: connector.pool_size,
            timeouts: Timeouts { wait: patience, create: patience, recycle: patience },
            ..PoolConfig::default()
        };
        let pool = Pool::builder(manager).config(config).runtime(Runtime::Tokio1).build();
        let pool = pool.map_err(|error| std::io::Error::other(error.to_string()))?;
        Ok(Self { address: address.clone(), pool })
    }

    /// How the pool of connections stands.
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

    /// One checkout, one round trip. Each command's own answer or error: in a pipeline one command's error
    /// says nothing about the others.
    pub(super) async fn send(&self, pipeline: &mut Pipeline) -> RedisResult<Answers> {
        let mut suspicion = Suspicion { pool: &self.pool, cleared: false };
        let mut connection = self.pool.get().await.map_err(of_pool)?;
        let answers: Answers = pipeline.ignore_errors().query_async(&mut connection).await?;
        suspicion.cleared =
            !answers.iter().filter_map(|answer| answer.as_ref().err()).any(shuns_us);
        Ok(answers)
    }
}

/// Connections to one server or several, as they are now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections working for somebody.
    pub in_use: usize,
    /// Connections waiting for work.
    pub idle: usize,
    /// Connections there may be.
    pub max: usize,
    /// Calls waiting for a connection.
    pub waiting: usize,
}

/// A command's own answer or error.
pub(super) type Answer = RedisResult<Value>;

/// One for each command, in their order.
pub(super) type Answers = Vec<Answer>;

/// Until it is cleared, every idle connection of the pool is thrown away when this goes out of scope: a
/// call that failed or was cancelled often means that the server is gone, and the pool's connections with
/// it. Kept, each would cost a later call a time-out of its own before the pool noticed. Must be declared
/// before the connection, which is then back in the pool by the time this is dropped.
struct Suspicion<'a> {
    pool: &'a Pool,
    cleared: bool,
}

impl Drop for Suspicion<'_> {
    fn drop(&mut self) {
        if !self.cleared {
            self.pool.retain(|_, _| false);
        }
    }
}

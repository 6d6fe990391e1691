//! The client of Redis for each topology: standalone, Sentinel or Cluster, encrypted or not. It is independent of the
//! purpose of the commands.
//!
//! One model covers all topologies: every slot has a master, and each master has a pool of connections. A standalone
//! server has all the slots. With Sentinels, the master that they name has all the slots. In a cluster, the slots are
//! divided among several masters. `discovery` finds the masters, `servers` caches them until a call fails, and
//! `pipeline` sends commands to them.

use std::sync::Arc;

use futures_util::stream::Stream;

pub use deadpool_redis::redis::{Cmd, RedisResult, Value, cmd};

mod connect;
mod discovery;
mod failure;
mod node;
mod pipeline;
mod script;
mod servers;
mod settings;
mod slots;
mod subscription;
mod tls;

pub use failure::RedisFailure;
pub use node::PoolStatus;
pub use script::Script;
pub use settings::{Address, RedisSettings, Tls, Topology};

use servers::Servers;

/// A client of Redis. Clones share its connections.
#[derive(Clone)]
pub struct Redis {
    servers: Arc<Servers>,
}

impl Redis {
    /// Creates a client; the first command connects. Fails on settings that are invalid for any server.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisFailure> {
        Ok(Self { servers: Arc::new(Servers::new(settings)?) })
    }

    /// Sends the commands, and returns the answer or error of each command, in the order of the commands. An error of
    /// the whole call means that no command was answered. Each command without an answer may have been executed.
    ///
    /// A call uses one connection and one pipeline; in a cluster, one for each server that has a slot of the commands.
    /// The slot of a command is that of its first key. All commands of a call without a key are sent to the same
    /// server. Redirections are followed within the time limit of one round trip. Commands of one slot are executed in
    /// order. A call that fails, or that the caller drops, closes the idle connections to the servers concerned, and
    /// makes the next call discover the servers again.
    pub async fn send(&self, commands: &[Cmd]) -> Result<Vec<RedisResult<Value>>, RedisFailure> {
        self.send_with(commands, &[]).await
    }

    /// Like [`Self::send`], for commands that call scripts ([`Script::call`]). A server may not have a script, for
    /// example after a restart, a failover or SCRIPT FLUSH. Then all `scripts` are loaded into the server, and exactly
    /// the refused calls are sent again, because they had no effect. In this case, and while a slot moves, an earlier
    /// command of a list can be executed after a later one.
    pub async fn send_with(
        &self,
        commands: &[Cmd],
        scripts: &[&Script],
    ) -> Result<Vec<RedisResult<Value>>, RedisFailure> {
        Ok(pipeline::execute(&self.servers, commands, scripts).await?)
    }

    /// The current state of the connections, without those of subscriptions. Does not wait.
    #[must_use]
    pub fn pools(&self) -> PoolStatus {
        self.servers.pools()
    }

    /// Subscribes to a channel. Returns the messages that are published from now on, received through a separate
    /// connection: to the server, to the current master, or to any master of a cluster. The stream ends when the
    /// connection ends, within about three seconds after the server stops answering or Sentinels name another master,
    /// and when the reader is 1,024 messages behind. Then the reader must subscribe again, and get missed information
    /// from another source.
    pub async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<impl Stream<Item = Vec<u8>> + Send + Unpin + use<>, RedisFailure> {
        Ok(subscription::subscribe(&self.servers, channel).await?)
    }
}

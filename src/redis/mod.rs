//! The client of Redis, in each topology: standalone, Sentinel or Cluster, encrypted or not. It does
//! not depend on what the commands are for.
//!
//! One model covers all topologies: every slot has a master, and each master has a pool of connections.
//! Standalone, one server has all the slots. With Sentinels, the master that they name has all the slots. In a
//! cluster, several masters share them. `discovery` finds the masters, `servers` keeps them until a call fails,
//! and `pipeline` sends commands to them.

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
    /// Prepares the pools; the first command connects. Fails on settings that are invalid for any server.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisFailure> {
        Ok(Self { servers: Arc::new(Servers::new(settings)?) })
    }

    /// Sends the commands, and returns the answer or error of each command, in the order of the commands. An
    /// error of the whole call means that no command was answered. Each command without an answer may have
    /// been executed.
    ///
    /// One checkout and one pipeline; in a cluster, one for each server that has a slot of the commands. The
    /// slot of a command is that of its first key. Commands without a key go to a random server, all those of
    /// one call to the same one. Redirections are followed until the time of one round trip is over. Commands
    /// of one slot are executed in order. A call that fails, or that the caller drops, closes the idle
    /// connections to the servers concerned, and makes the next call discover the servers again.
    pub async fn send(&self, commands: &[Cmd]) -> Result<Vec<RedisResult<Value>>, RedisFailure> {
        self.send_with(commands, &[]).await
    }

    /// As [`Self::send`], for commands that call scripts ([`Script::call`]). If a server does not know a script,
    /// after a restart, a failover or SCRIPT FLUSH, all `scripts` are loaded there, and exactly those calls are
    /// sent again that were refused, because they had no effect. Only in this case an earlier command of a list
    /// can be executed after a later one.
    pub async fn send_with(
        &self,
        commands: &[Cmd],
        scripts: &[&Script],
    ) -> Result<Vec<RedisResult<Value>>, RedisFailure> {
        Ok(pipeline::execute(&self.servers, commands, scripts).await?)
    }

    /// The current state of its connections, without those of subscriptions. Does not wait.
    #[must_use]
    pub fn pools(&self) -> PoolStatus {
        self.servers.pools()
    }

    /// The messages published on the channel from now on, through a connection of its own: to the server, to
    /// the current master, or to any master of a cluster. The stream ends with the connection, within about
    /// three seconds after the server stops answering or Sentinels name another master, and when its reader is
    /// 1,024 messages behind. A reader that needs further messages subscribes again, and reads elsewhere what it
    /// may have missed.
    pub async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<impl Stream<Item = Vec<u8>> + Send + Unpin + use<>, RedisFailure> {
        Ok(subscription::subscribe(&self.servers, channel).await?)
    }
}

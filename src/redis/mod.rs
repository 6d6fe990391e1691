//! Connections to Redis, in each of its forms: standalone, Sentinel, Cluster, encrypted or not. Knows nothing of seats.
//!
//! All forms are one: every slot has a master, and each master has a pool of connections. Standalone, one
//! server has all the slots; with Sentinels, the master that they name; in a cluster, many share them.
//! `discovery` finds out who, `topology` remembers it until a call fails, `exchange` sends.

use std::sync::Arc;

use futures_util::stream::Stream;

pub use deadpool_redis::redis::{Cmd, RedisResult, Value, cmd};

mod connect;
mod discovery;
mod exchange;
mod failure;
mod node;
mod script;
mod settings;
mod slots;
mod subscription;
mod tls;
mod topology;

pub use failure::RedisFailure;
pub use node::PoolStatus;
pub use script::Script;
pub use settings::{Address, Form, RedisSettings, Tls};

use topology::Topology;

/// A Redis. Clones share its connections.
#[derive(Clone)]
pub struct Redis {
    topology: Arc<Topology>,
}

impl Redis {
    /// Prepares the pools; connects with the first command. Fails on settings that no server could suit.
    pub fn new(settings: &RedisSettings) -> Result<Self, RedisFailure> {
        Ok(Self { topology: Arc::new(Topology::new(settings)?) })
    }

    /// Each command's own answer or error, in their order; an error as a whole means that there was not
    /// one answer. Anything but an answer means that the command may or may not have been executed.
    ///
    /// One checkout and one pipeline; in a cluster one for each server that has a slot of the commands
    /// (the slot of a command's first key; commands without a key go to any server, each call's to one of its
    /// own choice). Redirections are
    /// followed for as long as one round trip may take. Commands of one slot are executed in order. A call that fails, or that its caller gives
    /// up, throws away the idle connections of the servers concerned, and makes the next call find out
    /// anew who is to be asked.
    pub async fn send(&self, commands: &[Cmd]) -> Result<Vec<RedisResult<Value>>, RedisFailure> {
        self.send_with(commands, &[]).await
    }

    /// As [`Self::send`], for calls of scripts among the commands ([`Script::call`]): where a server does
    /// not know one, after a restart, a failover or SCRIPT FLUSH, all `scripts` are loaded there and
    /// exactly the calls that found none are sent again, since those had no effect. Only then an earlier
    /// command of a list can come after a later one.
    pub async fn send_with(
        &self,
        commands: &[Cmd],
        scripts: &[&Script],
    ) -> Result<Vec<RedisResult<Value>>, RedisFailure> {
        Ok(exchange::exchange(&self.topology, commands, scripts).await?)
    }

    /// Its connections as they are now, those of subscriptions left out; waits for nothing.
    #[must_use]
    pub fn pools(&self) -> PoolStatus {
        self.topology.pools()
    }

    /// What is published on the channel from now on, through a connection of its own: to the server; the
    /// current master; any master of a cluster. The stream ends with the connection, within about three
    /// seconds when the server does not answer or Sentinels have another master, or when its reader is 1,024
    /// messages behind; whoever still wants to know subscribes again, and looks up what may have been
    /// missed.
    pub async fn subscribe(
        &self,
        channel: &str,
    ) -> Result<impl Stream<Item = Vec<u8>> + Send + Unpin + use<>, RedisFailure> {
        Ok(subscription::subscribe(&self.topology, channel).await?)
    }
}

//! Discovers the masters: requests the master from Sentinels, or the slots from nodes of a cluster.
//!
//! The request is sent to several servers at the same time, and the first success is used, so that unavailable servers
//! cause no delay.

use std::future::Future;
use std::sync::Arc;

use deadpool_redis::redis::{self, Cmd, Pipeline, RedisResult, Value};
use futures_util::future::select_ok;

use super::connect::RedisConnector;
use super::failure::other_error;
use super::node::Node;
use super::settings::Address;
use super::slots::SlotMap;

/// The most servers to which a request is sent at the same time.
const CONCURRENT_MAX: usize = 5;

/// The master that a Sentinel returns for the name `name`. Its role is checked with ROLE, because a Sentinel may not
/// know of a failover yet, and a demoted master refuses every write. `connector` connects to Sentinels.
pub(super) async fn master(
    sentinels: &[Address],
    connector: &RedisConnector,
    name: &str,
    node: &impl Fn(&Address) -> RedisResult<Arc<Node>>,
) -> RedisResult<SlotMap> {
    first_success(sentinels.iter().map(|sentinel| async move {
        let master = query_sentinel(connector, sentinel, name).await?;
        match query(&*node(&master)?, redis::cmd("ROLE")).await? {
            Value::Array(role) if role.first().is_some_and(|role| is_text(role, b"master")) => {
                Ok(SlotMap::single(master))
            }
            _ => Err(other_error(format!("{master}, named by {sentinel}, is not a master"))),
        }
    }))
    .await
}

async fn query_sentinel(
    connector: &RedisConnector,
    sentinel: &Address,
    name: &str,
) -> RedisResult<Address> {
    let client = connector.client(sentinel)?;
    let mut connection =
        client.get_multiplexed_async_connection_with_config(&connector.config()).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let master: Option<(String, u16)> = command.query_async(&mut connection).await?;
    let unknown = || other_error(format!("the sentinel {sentinel} has no master {name:?}"));
    master.map(|(host, port)| Address { host, port }).ok_or_else(unknown)
}

/// The slots of the cluster, as one of the nodes answers them.
pub(super) async fn slots(
    nodes: Vec<&Address>,
    node: &impl Fn(&Address) -> RedisResult<Arc<Node>>,
) -> RedisResult<SlotMap> {
    first_success(nodes.into_iter().map(|address| async move {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = query(&*node(address)?, command).await?;
        let unknown = || other_error(format!("{address} does not have the slots of the cluster"));
        SlotMap::parse(&answer, &address.host).ok_or_else(unknown)
    }))
    .await
}

/// The result of the first future that succeeds. If there are too many futures, the ones to run are chosen at random,
/// so that no server is omitted each time.
pub(super) async fn first_success<T>(
    candidates: impl Iterator<Item = impl Future<Output = RedisResult<T>>>,
) -> RedisResult<T> {
    let mut candidates: Vec<_> = candidates.map(Box::pin).collect();
    fastrand::shuffle(&mut candidates);
    candidates.truncate(CONCURRENT_MAX);
    if candidates.is_empty() {
        return Err(other_error("there is no server to ask".to_owned()));
    }
    select_ok(candidates).await.map(|(result, _)| result)
}

async fn query(node: &Node, command: Cmd) -> RedisResult<Value> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.add_command(command);
    let mut answers = node.send(&mut pipeline).await?;
    answers.pop().unwrap_or_else(|| Err(other_error(format!("{} gave no answer", node.address))))
}

fn is_text(value: &Value, text: &[u8]) -> bool {
    match value {
        Value::BulkString(value) => value == text,
        Value::SimpleString(value) => value.as_bytes() == text,
        _ => false,
    }
}

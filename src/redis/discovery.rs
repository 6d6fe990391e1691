//! Finding out who has the slots: by asking Sentinels for the master, or nodes for the cluster's map.
//!
//! Everybody is asked at once and the first good answer counts, so that servers that are away cost no
//! time.

use std::future::Future;
use std::io;
use std::sync::Arc;

use deadpool_redis::redis::{self, Cmd, Pipeline, RedisResult, Value};
use futures_util::future::select_ok;

use super::connect::Connector;
use super::node::Node;
use super::settings::Address;
use super::slots::SlotMap;

/// The most servers asked at once.
const ASKED_AT_ONCE: usize = 5;

/// The master that a Sentinel names and that says of itself that it is one: a Sentinel may not yet know
/// of a failover, and a demoted master refuses every write.
pub(super) async fn master(
    sentinels: &[Address],
    (connector, name): (&Connector, &str),
    node: &impl Fn(&Address) -> RedisResult<Arc<Node>>,
) -> RedisResult<SlotMap> {
    first_good(sentinels.iter().map(|sentinel| async move {
        let named = name_of_master(connector, sentinel, name).await?;
        match answer(&*node(&named)?, redis::cmd("ROLE")).await? {
            Value::Array(role) if role.first().is_some_and(|role| is_text(role, b"master")) => {
                Ok(SlotMap::single(named))
            }
            _ => Err(wrong(format!("{named}, which {sentinel} names, is no master"))),
        }
    }))
    .await
}

async fn name_of_master(
    connector: &Connector,
    sentinel: &Address,
    name: &str,
) -> RedisResult<Address> {
    let client = connector.client(sentinel)?;
    let mut connection =
        client.get_multiplexed_async_connection_with_config(&connector.config()).await?;
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
    let named: Option<(String, u16)> = question.query_async(&mut connection).await?;
    let unknown = || wrong(format!("the sentinel {sentinel} knows no master {name:?}"));
    named.map(|(host, port)| Address { host, port }).ok_or_else(unknown)
}

/// The map of the cluster as one of its nodes has it.
pub(super) async fn slots(
    nodes: Vec<&Address>,
    node: &impl Fn(&Address) -> RedisResult<Arc<Node>>,
) -> RedisResult<SlotMap> {
    first_good(nodes.into_iter().map(|address| async move {
        let mut question = redis::cmd("CLUSTER");
        question.arg("SLOTS");
        let answer = answer(&*node(address)?, question).await?;
        let unknown = || wrong(format!("{address} does not know who has the cluster's slots"));
        SlotMap::read(&answer, &address.host).ok_or_else(unknown)
    }))
    .await
}

/// What the first of the futures to succeed gives; begins with any of them, so that no server is always
/// among those that are left out.
pub(super) async fn first_good<T>(
    candidates: impl Iterator<Item = impl Future<Output = RedisResult<T>>>,
) -> RedisResult<T> {
    let mut candidates: Vec<_> = candidates.map(Box::pin).collect();
    fastrand::shuffle(&mut candidates);
    candidates.truncate(ASKED_AT_ONCE);
    if candidates.is_empty() {
        return Err(wrong("there is no server to ask".to_owned()));
    }
    select_ok(candidates).await.map(|(good, _)| good)
}

async fn answer(node: &Node, question: Cmd) -> RedisResult<Value> {
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.add_command(question);
    let mut answers = node.send(&mut pipeline).await?;
    answers.pop().unwrap_or_else(|| Err(wrong(format!("{} gave no answer", node.address))))
}

fn is_text(value: &Value, text: &[u8]) -> bool {
    match value {
        Value::BulkString(value) => value == text,
        Value::SimpleString(value) => value.as_bytes() == text,
        _ => false,
    }
}

pub(super) fn wrong(text: String) -> redis::RedisError {
    io::Error::other(text).into()
}

//! A Redis Cluster whose nodes can be killed and whose slots can be moved.

use std::time::Duration;

use crate::port::free_port;
use crate::redis::{Access, Redis};
use crate::wait::holds_within;

/// The longest time until the nodes agree, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The number of slots of a cluster.
const SLOTS: usize = 16_384;

/// Three masters, each with a third of the slots, and optionally one replica of each. A node that does not answer for
/// two seconds is considered failed; the slots of the other nodes are still served.
///
/// All nodes are killed on drop and when the test process ends.
pub struct RedisCluster {
    /// The masters, then the replicas.
    nodes: Vec<Redis>,
    access: Access,
}

impl RedisCluster {
    /// How many masters there are at the start.
    pub const MASTERS: usize = 3;

    /// Starts the nodes, and waits until the cluster is complete for each node. With `replicas` each master has one
    /// replica.
    #[must_use]
    pub fn start(access: &Access, replicas: bool) -> Self {
        let count = if replicas { 2 * Self::MASTERS } else { Self::MASTERS };
        let cluster = Self { nodes: join(count, access), access: access.clone() };
        let whole = || cluster.nodes.iter().all(|node| is_whole(node, count));
        assert!(holds_within(TIMEOUT, whole), "the nodes do not agree: {}", cluster.nodes[0].log());
        let (masters, followers) = cluster.nodes.split_at(Self::MASTERS);
        for (master, follower) in masters.iter().zip(followers) {
            done(&follower.cli(&["cluster", "replicate", &id(master)]));
            let in_sync =
                || follower.cli(&["info", "replication"]).contains("master_link_status:up");
            assert!(holds_within(TIMEOUT, in_sync), "no replica follows: {}", follower.log());
        }
        cluster
    }

    /// The nodes: the three initial masters, then their replicas in the same order.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The slot of a key.
    pub fn slot_of(&self, key: &str) -> u16 {
        let slot = self.nodes[0].cli(&["cluster", "keyslot", key]);
        slot.parse().unwrap_or_else(|_| panic!("no slot: {slot}"))
    }

    /// The index of the initial master of a slot.
    pub fn first_owner(&self, slot: u16) -> usize {
        usize::from(slot) * Self::MASTERS / SLOTS
    }

    /// Waits until the replica of a killed master has replaced it.
    pub fn wait_until_replaced(&self, master: usize) {
        let replica = &self.nodes[Self::MASTERS + master];
        let promoted =
            || replica.cli(&["role"]).starts_with("master") && is_whole(replica, self.nodes.len());
        assert!(holds_within(TIMEOUT, promoted), "it is not promoted: {}", replica.log());
    }

    /// Waits until, for every node, all slots are served and no node has failed.
    pub fn wait_until_whole(&self) {
        let whole = |node: &Redis| {
            let nodes = node.cli(&["cluster", "nodes"]);
            is_whole(node, self.nodes.len()) && !nodes.contains("fail")
        };
        assert!(holds_within(TIMEOUT, || self.nodes.iter().all(whole)), "a part stays unavailable");
    }

    /// Begins to move a slot: requests for keys that `from` does not have are redirected to `to`.
    pub fn begin_move(&self, slot: u16, from: usize, to: usize) {
        let (from, to, slot) = (&self.nodes[from], &self.nodes[to], slot.to_string());
        done(&to.cli(&["cluster", "setslot", &slot, "importing", &id(from)]));
        done(&from.cli(&["cluster", "setslot", &slot, "migrating", &id(to)]));
    }

    /// Moves the slot's keys and ends the move.
    pub fn end_move(&self, slot: u16, from: usize, to: usize) {
        let (slot, target) = (slot.to_string(), id(&self.nodes[to]));
        let port = self.nodes[to].port().to_string();
        loop {
            let keys = self.nodes[from].cli(&["cluster", "getkeysinslot", &slot, "100"]);
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["migrate", "127.0.0.1", &port, "", "0", "5000"];
            if let Some(password) = &self.access.password {
                migrate.extend(["auth", password]);
            }
            migrate.push("keys");
            migrate.extend(keys);
            // NOKEY means that all keys have expired or were deleted meanwhile.
            let answer = self.nodes[from].cli(&migrate);
            assert!(["OK", "NOKEY"].contains(&answer.as_str()), "{answer}");
        }
        // The new owner is set first on the new owner itself, otherwise no node would have the slot for a moment.
        for node in [to, from] {
            done(&self.nodes[node].cli(&["cluster", "setslot", &slot, "node", &target]));
        }
    }
}

/// Starts nodes, assigns slots to the first three, and makes the nodes known to each other.
fn join(count: usize, access: &Access) -> Vec<Redis> {
    let (nodes, buses): (Vec<Redis>, Vec<String>) = (0..count).map(|_| node(access)).unzip();
    for (place, node) in nodes.iter().enumerate() {
        // Each node gets another epoch, because the nodes would have to resolve equal epochs first.
        done(&node.cli(&["cluster", "set-config-epoch", &(place + 1).to_string()]));
        if place < RedisCluster::MASTERS {
            let bound = |place: usize| (place * SLOTS).div_ceil(RedisCluster::MASTERS);
            let (first, last) = (bound(place), bound(place + 1) - 1);
            let range = [first.to_string(), last.to_string()];
            done(&node.cli(&["cluster", "addslotsrange", &range[0], &range[1]]));
        }
    }
    for (node, bus) in nodes.iter().zip(&buses).skip(1) {
        let port = node.port().to_string();
        done(&nodes[0].cli(&["cluster", "meet", "127.0.0.1", &port, bus]));
    }
    nodes
}

/// Starts a node, and returns it with the port of its cluster bus. The default port, 10,000 above that of the node, may
/// be in use by an outgoing connection.
fn node(access: &Access) -> (Redis, String) {
    let bus = free_port().to_string();
    let mut options = vec![
        ("cluster-enabled", "yes"),
        ("cluster-port", &bus),
        ("cluster-node-timeout", "2000"),
        ("cluster-require-full-coverage", "no"),
        ("repl-diskless-sync-delay", "0"),
        ("databases", "1"),
    ];
    if access.certificates.is_some() {
        options.push(("tls-cluster", "yes"));
    }
    options.extend(access.password.as_deref().map(|password| ("masterauth", password)));
    let node = Redis::start_with(&options, access);
    (node, bus)
}

fn id(node: &Redis) -> String {
    node.cli(&["cluster", "myid"])
}

fn is_whole(node: &Redis, count: usize) -> bool {
    let info = node.cli(&["cluster", "info"]);
    let has = |wanted: &str| info.lines().any(|line| line.trim() == wanted);
    has("cluster_state:ok")
        && has("cluster_slots_ok:16384")
        && has(&format!("cluster_known_nodes:{count}"))
}

fn done(answer: &str) {
    assert_eq!(answer, "OK", "a node refuses");
}

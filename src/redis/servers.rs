//! The servers and their slots as the last discovery found them. A failed call makes them stale.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::RedisResult;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::connect::{RedisConnector, login};
use super::discovery;
use super::failure::other_error;
use super::node::{Node, PoolStatus};
use super::settings::{Address, RedisSettings, Topology};
use super::slots::SlotMap;
use super::tls::RedisTls;

/// The shortest time between two discoveries, even if many calls fail.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(100);

/// The servers, and the slots of each.
pub(super) struct Servers {
    topology: Topology,
    connector: RedisConnector,
    /// The connector for Sentinels, which have another password than the servers.
    sentinel_connector: RedisConnector,
    view: Mutex<View>,
    /// Locked by the only task that discovers the servers.
    discovering: Arc<tokio::sync::Mutex<()>>,
}

/// The result of the last discovery.
struct View {
    nodes: HashMap<Address, Arc<Node>>,
    slots: Option<Arc<SlotMap>>,
    /// Whether a call has failed since the last discovery.
    stale: bool,
    discovered_at: Option<Instant>,
}

impl Servers {
    pub(super) fn new(settings: &RedisSettings) -> RedisResult<Self> {
        let (db, sentinel_password) = match &settings.topology {
            Topology::Standalone { db, .. } => (*db, None),
            Topology::Sentinel { db, password, .. } => (*db, password.as_ref()),
            Topology::Cluster { .. } => (0, None),
        };
        let connector = RedisConnector {
            login: login(settings.username.as_ref(), settings.password.as_ref(), db),
            encryption: settings.tls.as_ref().map(RedisTls::new).transpose()?,
            pool_size: settings.pool_size,
            round_trip: settings.round_trip,
        };
        let sentinel_connector =
            RedisConnector { login: login(None, sentinel_password, 0), ..connector.clone() };
        let (first_address, slots) = match &settings.topology {
            Topology::Standalone { address, .. } => {
                (Some(address), Some(Arc::new(SlotMap::single(address.clone()))))
            }
            Topology::Sentinel { sentinels, .. } => (sentinels.first(), None),
            Topology::Cluster { seeds } => (seeds.first(), None),
        };
        let view = View { nodes: HashMap::new(), slots, stale: false, discovered_at: None };
        let servers = Self {
            topology: settings.topology.clone(),
            connector,
            sentinel_connector,
            view: Mutex::new(view),
            discovering: Arc::default(),
        };
        // So that settings that are invalid for any server fail now, and not at the first request.
        first_address.map(|address| servers.node(address)).transpose()?;
        Ok(servers)
    }

    /// Whether the slot of a command determines the server to which it is sent.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster { .. })
    }

    /// The sum of the pools of all known servers.
    pub(super) fn pools(&self) -> PoolStatus {
        self.view.lock().nodes.values().map(|node| node.pool()).fold(
            PoolStatus::default(),
            |sum, pool| PoolStatus {
                in_use: sum.in_use + pool.in_use,
                idle: sum.idle + pool.idle,
                max: sum.max + pool.max,
                waiting: sum.waiting + pool.waiting,
            },
        )
    }

    pub(super) fn connector(&self) -> &RedisConnector {
        &self.connector
    }

    /// The master of each slot. If the masters are unknown or stale, discovers them first. If the discovery fails,
    /// returns the stale ones.
    pub(super) async fn slots(self: &Arc<Self>) -> RedisResult<Arc<SlotMap>> {
        let (current, last) = {
            let view = self.view.lock();
            (view.current_slots(), view.slots.clone())
        };
        if let Some(slots) = current {
            return Ok(slots);
        }
        let discovered = match Arc::clone(&self.discovering).try_lock_owned() {
            // In a separate task: if this call times out before the end of the discovery, the next call uses the
            // result.
            Ok(guard) => {
                let servers = Arc::clone(self);
                let task = tokio::spawn(async move {
                    let _guard = guard;
                    servers.discover().await
                });
                task.await.unwrap_or_else(|panic| Err(other_error(panic.to_string())))
            }
            Err(_) => {
                drop(self.discovering.lock().await);
                let failed = || other_error("no server could be discovered".to_owned());
                self.view.lock().current_slots().ok_or_else(failed)
            }
        };
        match (discovered, last) {
            (Err(error), Some(last)) => {
                log::debug!("redis is used at the servers discovered last: {error}");
                Ok(last)
            }
            (discovered, _) => discovered,
        }
    }

    /// The last known master, without a discovery; `None` in a cluster.
    pub(super) fn master(&self) -> Option<Address> {
        if self.is_cluster() {
            return None;
        }
        self.view.lock().slots.as_ref()?.master_of(0).cloned()
    }

    /// Makes the known masters stale, after a failure that may be due to a change of the masters.
    pub(super) fn invalidate(&self) {
        // A standalone server never changes.
        if !matches!(self.topology, Topology::Standalone { .. }) {
            self.view.lock().stale = true;
        }
    }

    /// Sets the master of a slot, after its former master has sent a redirection.
    pub(super) fn redirect(&self, slot: u16, master: Address) {
        let mut view = self.view.lock();
        view.slots = view.slots.as_ref().map(|slots| Arc::new(slots.with(slot, master)));
    }

    /// The server at an address.
    pub(super) fn node(&self, address: &Address) -> RedisResult<Arc<Node>> {
        let mut view = self.view.lock();
        if let Some(node) = view.nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node::new(address, &self.connector)?);
        view.nodes.insert(address.clone(), Arc::clone(&node));
        Ok(node)
    }

    async fn discover(&self) -> RedisResult<Arc<SlotMap>> {
        let before = {
            let mut view = self.view.lock();
            view.stale = false;
            view.discovered_at = Some(Instant::now());
            view.slots.clone()
        };
        let node = |address: &Address| self.node(address);
        let discovered = match &self.topology {
            Topology::Standalone { address, .. } => Ok(SlotMap::single(address.clone())),
            Topology::Sentinel { sentinels, master, .. } => {
                discovery::master(sentinels, &self.sentinel_connector, master, &node).await
            }
            Topology::Cluster { seeds } => {
                let masters = before.as_ref().map(|slots| slots.masters()).unwrap_or_default();
                discovery::slots(masters.into_iter().chain(seeds).collect(), &node).await
            }
        };
        let mut view = self.view.lock();
        match discovered {
            Ok(slots) => {
                let slots = Arc::new(slots);
                let masters = slots.masters();
                if before.is_none_or(|before| before.masters() != masters) {
                    log::info!("redis is used at {}", listed(&masters));
                }
                // Closes the connections to servers without a slot, such as a demoted master.
                view.nodes.retain(|address, _| masters.contains(&address));
                view.slots = Some(Arc::clone(&slots));
                Ok(slots)
            }
            Err(error) => {
                view.stale = true;
                Err(error)
            }
        }
    }
}

impl View {
    /// The slots, unless they have to be discovered again.
    fn current_slots(&self) -> Option<Arc<SlotMap>> {
        let too_soon = || self.discovered_at.is_some_and(|at| at.elapsed() < DISCOVERY_INTERVAL);
        self.slots.as_ref().filter(|_| !self.stale || too_soon()).map(Arc::clone)
    }
}

fn listed(addresses: &[&Address]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| address.to_string()).collect();
    addresses.join(", ")
}

//! Which servers there are and what is known of them, kept until a failure makes it doubtful.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::RedisResult;

use super::connect::{Connector, login};
use super::discovery::{self, wrong};
use super::node::{Node, PoolStatus};
use super::settings::{Address, Form, RedisSettings};
use super::slots::SlotMap;
use super::tls::Encryption;

/// While something is known, it is not asked anew more often than this, however many calls fail.
const REST: Duration = Duration::from_millis(100);

/// The servers, and which of them has what.
pub(super) struct Topology {
    form: Form,
    connector: Connector,
    /// How Sentinels are reached: they have a password of their own.
    sentinels: Connector,
    known: Mutex<Known>,
    /// Held by the one task that is finding out.
    asking: Arc<tokio::sync::Mutex<()>>,
}

struct Known {
    nodes: HashMap<Address, Arc<Node>>,
    slots: Option<Arc<SlotMap>>,
    /// A call has failed since.
    doubtful: bool,
    asked: Option<Instant>,
}

impl Topology {
    pub(super) fn new(settings: &RedisSettings) -> RedisResult<Self> {
        let (db, password) = match &settings.form {
            Form::Standalone { db, .. } => (*db, None),
            Form::Sentinel { db, password, .. } => (*db, password.as_ref()),
            Form::Cluster { .. } => (0, None),
        };
        let connector = Connector {
            login: login(settings.username.as_ref(), settings.password.as_ref(), db),
            encryption: settings.tls.as_ref().map(Encryption::new).transpose()?,
            pool_size: settings.pool_size,
            round_trip: settings.round_trip,
        };
        let sentinels = Connector { login: login(None, password, 0), ..connector.clone() };
        let slots = match &settings.form {
            Form::Standalone { address, .. } => Some(Arc::new(SlotMap::single(address.clone()))),
            Form::Sentinel { .. } | Form::Cluster { .. } => None,
        };
        let known = Known { nodes: HashMap::new(), slots, doubtful: false, asked: None };
        let topology = Self {
            form: settings.form.clone(),
            connector,
            sentinels,
            known: Mutex::new(known),
            asking: Arc::default(),
        };
        // Settings that suit no server are told now, not with the first request.
        topology.first_address().map(|address| topology.node(address)).transpose()?;
        Ok(topology)
    }

    /// Whether a command's slot decides where it goes.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.form, Form::Cluster { .. })
    }

    /// The pools of all servers known now, added up.
    pub(super) fn pools(&self) -> PoolStatus {
        self.known().nodes.values().map(|node| node.pool()).fold(
            PoolStatus::default(),
            |sum, pool| PoolStatus {
                in_use: sum.in_use + pool.in_use,
                idle: sum.idle + pool.idle,
                max: sum.max + pool.max,
                waiting: sum.waiting + pool.waiting,
            },
        )
    }

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Who has what. Finds out if nothing is known or a call has failed; what was known before is good
    /// enough if nobody can say better.
    pub(super) async fn slots(self: &Arc<Self>) -> RedisResult<Arc<SlotMap>> {
        let (fresh, known) = {
            let known = self.known();
            (known.fresh(), known.slots.clone())
        };
        if let Some(slots) = fresh {
            return Ok(slots);
        }
        let found = match Arc::clone(&self.asking).try_lock_owned() {
            // A task of its own: the caller's time may be over before there is an answer, and the next
            // one shall find it.
            Ok(turn) => {
                let topology = Arc::clone(self);
                let task = tokio::spawn(async move {
                    let _turn = turn;
                    topology.find_out().await
                });
                task.await.unwrap_or_else(|panic| Err(wrong(panic.to_string())))
            }
            Err(_) => {
                drop(self.asking.lock().await);
                let nobody = || wrong("nobody could say which server is to be asked".to_owned());
                self.known().fresh().ok_or_else(nobody)
            }
        };
        match (found, known) {
            (Err(error), Some(known)) => {
                log::debug!("redis is asked as it was known before: {error}");
                Ok(known)
            }
            (found, _) => found,
        }
    }

    /// The master as far as it is known, without asking anybody; `None` in a cluster.
    pub(super) fn master(&self) -> Option<Address> {
        if self.is_cluster() {
            return None;
        }
        self.known().slots.as_ref()?.master_of(0).cloned()
    }

    /// A call has failed in a way that may mean that servers have changed their places.
    pub(super) fn doubt(&self) {
        // There is nothing to find out about a single server.
        if !matches!(self.form, Form::Standalone { .. }) {
            self.known().doubtful = true;
        }
    }

    /// A server has said who has the slot now.
    pub(super) fn moved(&self, slot: u16, master: Address) {
        let mut known = self.known();
        known.slots = known.slots.as_ref().map(|slots| Arc::new(slots.with(slot, master)));
    }

    /// The server at an address.
    pub(super) fn node(&self, address: &Address) -> RedisResult<Arc<Node>> {
        let mut known = self.known();
        if let Some(node) = known.nodes.get(address) {
            return Ok(Arc::clone(node));
        }
        let node = Arc::new(Node::new(address, &self.connector)?);
        known.nodes.insert(address.clone(), Arc::clone(&node));
        Ok(node)
    }

    async fn find_out(&self) -> RedisResult<Arc<SlotMap>> {
        let before = {
            let mut known = self.known();
            known.doubtful = false;
            known.asked = Some(Instant::now());
            known.slots.clone()
        };
        let node = |address: &Address| self.node(address);
        let found = match &self.form {
            Form::Standalone { address, .. } => Ok(SlotMap::single(address.clone())),
            Form::Sentinel { sentinels, master, .. } => {
                discovery::master(sentinels, (&self.sentinels, master), &node).await
            }
            Form::Cluster { seeds } => {
                let masters = before.as_ref().map(|slots| slots.masters()).unwrap_or_default();
                discovery::slots(masters.into_iter().chain(seeds).collect(), &node).await
            }
        };
        let mut known = self.known();
        match found {
            Ok(slots) => {
                let slots = Arc::new(slots);
                // A server without a slot, such as a demoted master, loses its connections.
                let masters = slots.masters();
                if before.is_none_or(|before| before.masters() != masters) {
                    log::info!("redis is asked at {}", listed(&masters));
                }
                known.nodes.retain(|address, _| masters.contains(&address));
                known.slots = Some(Arc::clone(&slots));
                Ok(slots)
            }
            Err(error) => {
                known.doubtful = true;
                Err(error)
            }
        }
    }

    fn first_address(&self) -> Option<&Address> {
        match &self.form {
            Form::Standalone { address, .. } => Some(address),
            Form::Sentinel { sentinels, .. } => sentinels.first(),
            Form::Cluster { seeds } => seeds.first(),
        }
    }

    /// Also after a panic of another thread: what is known is whole between any two of its changes.
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// What need not be asked again.
    fn fresh(&self) -> Option<Arc<SlotMap>> {
        let rests = || self.asked.is_some_and(|asked| asked.elapsed() < REST);
        self.slots.as_ref().filter(|_| !self.doubtful || rests()).map(Arc::clone)
    }
}

fn listed(addresses: &[&Address]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| address.to_string()).collect();
    addresses.join(", ")
}

//! The backends that coordinate replicas: Redis, or the memory of a single replica.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::breaker::BreakerState;
use crate::config::Config;
use crate::lock::SeatLocks;
use crate::lock::guarded::{GuardSettings, Guarded};
use crate::lock::in_process::InProcessLocks;
use crate::lock::redis::RedisLocks;
use crate::queue::{WaitingList, WaitingListLimits};
use crate::redis::{PoolStatus, Redis, RedisFailure};
use crate::seat_map::SharedMaps;
use crate::telemetry::metrics::Metrics;

use super::redis;

/// The backends of one service.
pub(super) struct Coordination {
    pub(super) locks: Arc<dyn SeatLocks>,
    pub(super) shared_maps: Option<Arc<SharedMaps>>,
    /// The waiting list of queued requests.
    pub(super) waiting: WaitingList,
    /// The circuit breaker of the locks; absent for locks in this process.
    pub(super) breaker: Option<watch::Receiver<BreakerState>>,
    /// The task that maintains the locks until it is aborted.
    pub(super) lock_maintenance: Option<JoinHandle<()>>,
}

impl Coordination {
    /// Connects the backends as configured.
    pub(super) fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, RedisFailure> {
        let limits =
            WaitingListLimits { max: config.queue.max, customer_max: config.queue.customer_max };
        let Some(settings) = &config.redis else {
            return Ok(Self {
                locks: Arc::new(InProcessLocks::new()),
                shared_maps: None,
                waiting: WaitingList::in_process(limits),
                breaker: None,
                lock_maintenance: None,
            });
        };
        let redis = Redis::new(&redis::settings(settings, config.seat_lock.round_trip))?;
        let connections = redis.clone();
        metrics.before_reading(move |metrics| {
            let PoolStatus { in_use, idle, max, waiting } = connections.pools();
            metrics.redis_pool.set(in_use, idle, max, waiting);
        });
        let budget = config.seat_lock.round_trip;
        let guard = GuardSettings { budget, ..GuardSettings::default() };
        let locks = RedisLocks::new(redis.clone());
        let locks = Arc::new(Guarded::new(locks, guard, Arc::clone(metrics)));
        let breaker = locks.watch();
        let waiting = WaitingList::shared(redis.clone(), breaker.clone(), budget, limits);
        let shared_maps = SharedMaps::new(
            redis,
            settings.client.database,
            breaker.clone(),
            settings.client.seat_cache_ttl,
            Arc::clone(metrics),
        );
        Ok(Self {
            lock_maintenance: Some(locks.spawn_maintenance()),
            locks,
            shared_maps: Some(Arc::new(shared_maps)),
            waiting,
            breaker: Some(breaker),
        })
    }
}

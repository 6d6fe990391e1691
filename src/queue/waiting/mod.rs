//! The waiting list of each schedule, in the order in which its requests were accepted.
//!
//! A waiting list gives a request its position, and limits the requests of one customer. It does not affect which
//! requests are executed, nor their order; the queue decides that. Waiting lists are stored in Redis if the processes
//! share one, otherwise in memory. If a list is lost, positions and limits are lost, but no request.

mod in_process;
mod redis;
mod throughput;

use std::time::Duration;

use tokio::sync::watch;

use crate::breaker::BreakerState;
use crate::domain::clock::EpochMs;
use crate::domain::ids::{RequestId, ScheduleId};
use crate::redis::Redis;

use in_process::InProcessWaitingLists;
use redis::RedisWaitingLists;
use throughput::Throughput;

/// A request to add to a waiting list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The request.
    pub id: RequestId,
    /// Its customer.
    pub customer: String,
    /// The current time.
    pub now: EpochMs,
    /// The deadline of the request, after which it does not wait any more.
    pub until: EpochMs,
}

/// Whether a request was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// The request was added at this position, from 1.
    At(u64),
    /// The customer already has as many waiting requests as allowed.
    CustomerFull,
    /// The schedule already has as many waiting requests as allowed.
    Full,
}

/// The position of a waiting request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueuePosition {
    /// From 1.
    pub position: u64,
    /// Whether the request is being executed.
    pub running: bool,
    /// The throughput of the schedule, in executed requests per second, if known.
    pub per_second: Option<f64>,
}

/// How many requests may wait.
#[derive(Debug, Clone, Copy)]
pub struct WaitingListLimits {
    /// The most requests for one schedule.
    pub max: u64,
    /// The most requests of one customer for one schedule.
    pub customer_max: u32,
}

/// The waiting lists of all schedules.
pub struct WaitingList {
    shared: Option<RedisWaitingLists>,
    own: InProcessWaitingLists,
    throughput: Throughput,
    limits: WaitingListLimits,
}

impl WaitingList {
    /// Creates waiting lists in the memory of this process.
    #[must_use]
    pub fn in_process(limits: WaitingListLimits) -> Self {
        let own = InProcessWaitingLists::default();
        let throughput = Throughput::default();
        Self { shared: None, own, throughput, limits }
    }

    /// Creates waiting lists that all processes share in Redis. While the breaker of Redis is open, or Redis does not
    /// answer within `budget`, each process uses its own lists. Must be called inside a tokio runtime.
    #[must_use]
    pub fn shared(
        redis: Redis,
        breaker: watch::Receiver<BreakerState>,
        budget: Duration,
        limits: WaitingListLimits,
    ) -> Self {
        let shared = RedisWaitingLists::start(redis, breaker, budget, limits);
        Self { shared: Some(shared), ..Self::in_process(limits) }
    }

    /// Adds a request to the list of its schedule, within the limits.
    pub async fn add(&self, entry: QueueEntry) -> Entry {
        if let Some(shared) = &self.shared
            && let Some(result) = shared.add(&entry).await
        {
            return result;
        }
        self.own.add(entry, self.limits)
    }

    /// Marks a request as running, together with all requests of its schedule that were accepted before it.
    pub async fn mark_running(&self, id: RequestId) {
        self.own.mark_running(id);
        if let Some(shared) = &self.shared {
            shared.mark_running(id).await;
        }
    }

    /// Removes requests of one schedule, each given with its customer. If `executed`, they count for the throughput;
    /// otherwise they were not published.
    pub async fn remove(
        &self,
        schedule: ScheduleId,
        requests: &[(RequestId, String)],
        executed: bool,
    ) {
        self.own.remove(requests);
        let per_second = executed.then(|| self.throughput.note(schedule, requests.len())).flatten();
        if let Some(shared) = &self.shared {
            shared.remove(schedule, requests, per_second).await;
        }
    }

    /// The throughput of a schedule as this process has measured it, in executed requests per second.
    #[must_use]
    pub fn throughput(&self, schedule: ScheduleId) -> Option<f64> {
        self.throughput.of(schedule)
    }

    /// The position of a request. `None` if no list that can be read has the request.
    pub async fn position(&self, id: RequestId) -> Option<QueuePosition> {
        if let Some(shared) = &self.shared
            && let Some(position) = shared.position(id).await
        {
            return Some(position);
        }
        let (position, running) = self.own.position(id)?;
        Some(QueuePosition { position, running, per_second: self.throughput.of(id.schedule) })
    }
}

/// The estimated waiting time in seconds, rounded up. `None` if it cannot be estimated.
#[must_use]
pub fn estimate_s(position: &QueuePosition) -> Option<u64> {
    let seconds = (position.position as f64 / position.per_second?).ceil();
    // A throughput near zero gives no useful estimate.
    (seconds.is_finite() && seconds < 1e6).then_some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_needs_a_throughput() {
        let at = |position, per_second| QueuePosition { position, running: false, per_second };
        assert_eq!(estimate_s(&at(1, Some(1_000.0))), Some(1));
        assert_eq!(estimate_s(&at(2_500, Some(1_000.0))), Some(3));
        assert_eq!(estimate_s(&at(10, None)), None);
        assert_eq!(estimate_s(&at(10, Some(0.0))), None);
    }
}

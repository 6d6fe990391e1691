//! Who waits: the line of each schedule, in the order in which its requests were accepted.
//!
//! It tells a customer's place, and keeps one customer's requests from filling the line. It decides
//! nothing: what is executed, and in which order, is the queue's affair. So it lives in Redis where
//! processes share one, or in memory, and losing it costs places and limits, never a request.

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

/// A request that is about to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueEntry {
    /// The request.
    pub id: RequestId,
    /// Whose it is.
    pub customer: String,
    /// Now, and until when it may be executed; whoever is late has left the line.
    pub now: EpochMs,
    /// From then on it does not wait any more.
    pub until: EpochMs,
}

/// Whether a request may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is in the line, at this place from 1.
    At(u64),
    /// As many requests of its customer wait as may.
    CustomerFull,
    /// As many requests wait for its schedule as may.
    Full,
}

/// How a request stands that still waits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueuePosition {
    /// From 1.
    pub place: u64,
    /// Whether it is being executed.
    pub running: bool,
    /// How many requests of its schedule are executed in a second, if that is known.
    pub per_second: Option<f64>,
}

/// How many may wait.
#[derive(Debug, Clone, Copy)]
pub struct WaitingListLimits {
    /// Requests for one schedule.
    pub max: u64,
    /// Of those, requests of one customer.
    pub customer_max: u32,
}

/// The lines of all schedules.
pub struct WaitingList {
    shared: Option<RedisWaitingLists>,
    own: InProcessWaitingLists,
    pace: Throughput,
    limits: WaitingListLimits,
}

impl WaitingList {
    /// Lines that only this process knows.
    #[must_use]
    pub fn in_process(limits: WaitingListLimits) -> Self {
        Self {
            shared: None,
            own: InProcessWaitingLists::default(),
            pace: Throughput::default(),
            limits,
        }
    }

    /// Lines that all processes share through Redis; while that is away, its breaker open or its answer
    /// not there within `budget`, each has its own. Must be called inside a tokio runtime.
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

    /// Lets a request into the line of its schedule, if it may.
    pub async fn enter(&self, newcomer: QueueEntry) -> Entry {
        if let Some(shared) = &self.shared
            && let Some(entry) = shared.enter(&newcomer).await
        {
            return entry;
        }
        self.own.enter(newcomer, self.limits)
    }

    /// Says that requests of a schedule are being executed: this one, and those accepted before it.
    pub async fn start(&self, until: RequestId) {
        self.own.start(until);
        if let Some(shared) = &self.shared {
            shared.start_running(until).await;
        }
    }

    /// Lets requests of one schedule out of the line: they were executed, or not even published. Each with
    /// its customer. `executed` ones tell how fast the line moves.
    pub async fn leave(
        &self,
        schedule: ScheduleId,
        requests: &[(RequestId, String)],
        executed: bool,
    ) {
        self.own.leave(requests);
        let per_second = executed.then(|| self.pace.note(schedule, requests.len())).flatten();
        if let Some(shared) = &self.shared {
            shared.leave(schedule, requests, per_second).await;
        }
    }

    /// How many requests of a schedule are executed in a second, as far as this process knows.
    #[must_use]
    pub fn pace(&self, schedule: ScheduleId) -> Option<f64> {
        self.pace.of(schedule)
    }

    /// How a request stands; none if it is in no line that is known here.
    pub async fn standing(&self, id: RequestId) -> Option<QueuePosition> {
        if let Some(shared) = &self.shared
            && let Some(standing) = shared.standing(id).await
        {
            return Some(standing);
        }
        let (place, running) = self.own.standing(id)?;
        Some(QueuePosition { place, running, per_second: self.pace.of(id.schedule) })
    }
}

/// How many seconds a place is worth at a pace, rounded up.
#[must_use]
pub fn estimate_s(standing: &QueuePosition) -> Option<u64> {
    let seconds = (standing.place as f64 / standing.per_second?).ceil();
    // Longer than anybody waits: a pace that is nearly none tells nothing.
    (seconds.is_finite() && seconds < 1e6).then_some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_needs_a_pace() {
        let at = |place, per_second| QueuePosition { place, running: false, per_second };
        assert_eq!(estimate_s(&at(1, Some(1_000.0))), Some(1));
        assert_eq!(estimate_s(&at(2_500, Some(1_000.0))), Some(3));
        assert_eq!(estimate_s(&at(10, None)), None);
        assert_eq!(estimate_s(&at(10, Some(0.0))), None);
    }
}

//! The consumers of the queue: a task per partition, which submits its requests to the lanes in their order.
//!
//! Up to two batches of a partition are in the lane at the same time: while one commits, the next gathers. When a
//! request fails for a temporary reason, no request behind it is executed; after a pause all of them are submitted
//! again, in order. A request that had its effect already gets its recorded outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::domain::effect::RecordedAnswer;
use crate::domain::execution_error::ExecutionError;
use crate::domain::ids::RequestId;
use crate::faults::{self, FailPoint};
use crate::queue::{
    Deliveries, Message, Outcomes, Partition, Queue, QueueError, QueuedRequest, UNSETTLED_MAX,
    WaitingList,
};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_context;

use crate::actors::booking::{Lanes, SubmitError};
use crate::telemetry::health::Health;

mod assignment;
mod backoff;
mod dead_letters;
mod in_flight;

use assignment::{AssignmentTask, WorkerAssignment};
use backoff::PartitionBackoff;
use in_flight::{ExecutionsInFlight, Permit};

/// The shortest time between two updates of a partition's running request in the waiting list.
const RUNNING_INTERVAL: Duration = Duration::from_millis(100);

/// A request that fails this often, after its deadline, while other requests are executed, is a poison message.
const MAX_DELIVERY_ATTEMPTS: u32 = 8;

/// A commit within this time shows that the database executes requests.
const RECENT_COMMIT: Duration = Duration::from_secs(5);

/// What the consumers of a process work with.
pub struct QueueConsumers {
    /// The source of the requests.
    pub queue: Arc<dyn Queue>,
    /// Execute the requests.
    pub lanes: Arc<Lanes>,
    /// Whether the database is writable.
    pub health: Arc<Health>,
    /// Has the recorded outcomes.
    pub store: Arc<Store>,
    /// The positions of waiting requests.
    pub waiting: Arc<WaitingList>,
    /// Notified of completed requests.
    pub outcomes: Arc<Outcomes>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// How many requests of one partition may be in its lane.
    pub window: usize,
    /// How many requests of all partitions may be in the lanes; the rest is left for direct requests.
    pub permits: usize,
    /// The longest that one execution may take.
    pub timeout: Duration,
    /// Renders the recorded outcome of a request that cannot be executed.
    pub render_dead_letter: fn(RequestId) -> RecordedAnswer,
    /// The status of the recorded answer to an expired request.
    pub expired_status: u16,
}

/// The running consumers of a process.
pub struct Consuming {
    assignment: watch::Sender<WorkerAssignment>,
    tasks: JoinSet<()>,
}

impl Consuming {
    /// Stops taking deliveries; those that are being executed are finished and settled. Returns false if this was not
    /// complete by `deadline`: the rest is delivered again, to other processes.
    pub async fn stop_by(mut self, deadline: std::time::Instant) -> bool {
        self.assignment.send_modify(|assignment| assignment.stopped = true);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout_at(deadline.into(), all).await.is_ok()
    }
}

impl QueueConsumers {
    /// Starts a task per partition, and one that assigns partitions to this process. Must be called inside a tokio
    /// runtime.
    #[must_use]
    pub fn start(self, partitions: u16) -> Consuming {
        // A consumer that waits for a message holds a permit already.
        let permits = Arc::new(Semaphore::new(self.permits.max(usize::from(partitions) * 2)));
        let with = Arc::new(self);
        let assignment = watch::Sender::new(WorkerAssignment::default());
        let mut tasks = JoinSet::new();
        let assigning = AssignmentTask {
            store: Arc::clone(&with.store),
            assignment: assignment.clone(),
            partitions,
            gauge: with.metrics.queue.partitions.clone(),
        };
        tasks.spawn(assigning.run(with.queue.worker_group()));
        for partition in Partition::all(partitions) {
            let paused = with.metrics.queue.paused_partitions.clone();
            let consumer = Consumer {
                with: Arc::clone(&with),
                partition,
                assignment: assignment.subscribe(),
                permits: Arc::clone(&permits),
                running_marked: None,
                backoff: PartitionBackoff::new(partition, paused),
            };
            tasks.spawn(consumer.run());
        }
        Consuming { assignment, tasks }
    }
}

/// The consumer of one partition.
struct Consumer {
    with: Arc<QueueConsumers>,
    partition: Partition,
    assignment: watch::Receiver<WorkerAssignment>,
    permits: Arc<Semaphore>,
    /// When the running request was last written to the waiting list.
    running_marked: Option<Instant>,
    backoff: PartitionBackoff,
}

impl Consumer {
    /// Consumes whenever the partition is assigned to this process, until the process stops. After an error or a
    /// panic the partition is opened again, and what was not settled is delivered again.
    async fn run(mut self) {
        while self.assigned().await {
            let consumed = AssertUnwindSafe(self.consume()).catch_unwind().await;
            match consumed.unwrap_or_else(|_| Err(QueueError::new("its consumer panicked"))) {
                Ok(()) => self.backoff.succeed(),
                Err(error) => {
                    if !self.backoff.is_active() {
                        log::warn!("partition {} of the queue: {error}", self.partition.0);
                    }
                    self.pause().await;
                }
            }
        }
    }

    /// Waits until the partition is assigned to this process; returns false when the process stops.
    async fn assigned(&mut self) -> bool {
        let partition = self.partition;
        if !self.assignment.borrow().includes(partition) {
            // After a failure the partition is not paused any more: another process consumes it.
            self.backoff.reset();
        }
        let assigned = self.assignment.wait_for(|now| now.stopped || now.includes(partition));
        assigned.await.is_ok_and(|now| !now.stopped)
    }

    /// Consumes until the partition is assigned to another process, and all that was begun is settled.
    async fn consume(&mut self) -> Result<(), QueueError> {
        let mut deliveries = self.with.queue.open(self.partition).await?;
        let mut in_flight = ExecutionsInFlight::new(
            Arc::clone(&self.with.lanes),
            self.with.timeout,
            self.with.window.min(usize::from(UNSETTLED_MAX)),
            self.with.expired_status,
        );
        let opened = Instant::now();
        loop {
            let assigned = self.assignment.borrow_and_update().includes(self.partition);
            if !assigned && in_flight.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                _ = self.assignment.changed(), if assigned => {}
                result = in_flight.first_completed(), if !in_flight.is_empty() => {
                    if let Err(failure) = result {
                        if self.is_reassigned() {
                            // The other process executes what is not settled.
                            return Ok(());
                        }
                        self.handle_failure(&mut in_flight, &mut *deliveries, &failure).await?;
                    }
                    self.settle(&mut in_flight, &mut *deliveries).await?;
                }
                next = next(&self.permits, &mut *deliveries), if assigned && in_flight.has_room() => {
                    let (permit, message) = next?;
                    self.submit(&mut in_flight, permit, message);
                }
                () = PartitionBackoff::recovered(opened),
                    if self.backoff.is_active() && in_flight.is_empty() => self.backoff.succeed(),
            }
        }
    }

    /// Whether another process consumes the partition now, and this one does not stop.
    fn is_reassigned(&self) -> bool {
        let assignment = self.assignment.borrow();
        !assignment.stopped && !assignment.includes(self.partition)
    }

    /// Submits the requests of a message. Those after the first take a permit only if one is free, because a message
    /// is not split.
    fn submit(
        &mut self,
        in_flight: &mut ExecutionsInFlight,
        permit: OwnedSemaphorePermit,
        message: Message,
    ) {
        let mut first = Some(permit);
        for (message, request) in QueuedRequest::decode_all(message) {
            let permit =
                first.take().or_else(|| Arc::clone(&self.permits).try_acquire_owned().ok());
            let permit = Permit::new(permit, &self.with.metrics.queue.in_flight);
            if let Ok(request) = &request {
                self.mark_running(request.queued.id);
            }
            in_flight.push(message, request, permit);
        }
        in_flight.end_message();
    }

    /// Writes to the waiting list from time to time, in the background, which request is being executed.
    fn mark_running(&mut self, id: RequestId) {
        if self.running_marked.is_none_or(|marked| marked.elapsed() >= RUNNING_INTERVAL) {
            self.running_marked = Some(Instant::now());
            let waiting = Arc::clone(&self.with.waiting);
            request_context::spawn(async move { waiting.mark_running(id).await });
        }
    }

    /// Settles the oldest completed requests, and notifies those who wait for them.
    async fn settle(
        &mut self,
        in_flight: &mut ExecutionsInFlight,
        deliveries: &mut dyn Deliveries,
    ) -> Result<(), QueueError> {
        let mut completed = in_flight.take_completed();
        if completed.is_empty() {
            return Ok(());
        }
        for (one, executed) in &mut completed {
            if let Err(reason) = &one.request {
                *executed = self.dead_letter(one.message.clone(), None, reason).await?;
            }
        }
        faults::reach(FailPoint::BeforeSettle).await.map_err(QueueError::new)?;
        let messages = completed.iter().filter(|(one, _)| one.ends_message).count();
        if messages > 0 {
            deliveries.settle(messages).await?;
        }
        self.backoff.succeed();
        let metrics = &self.with.metrics.queue;
        let now = self.with.store.clock();
        let mut settled = Vec::with_capacity(completed.len());
        for (one, executed) in completed {
            metrics.executed(executed);
            if let Ok(request) = one.request {
                let id = request.queued.id;
                metrics.wait_seconds.observe(now.since(id.made_at()).as_secs_f64());
                settled.push((id, request.customer()));
            }
        }
        self.with.outcomes.notify(settled.iter().map(|(id, _)| id));
        self.remove_from_waiting_list(settled);
        Ok(())
    }

    /// Removes executed requests from the waiting list, in the background.
    fn remove_from_waiting_list(&self, mut requests: Vec<(RequestId, String)>) {
        requests.sort_by_key(|(id, _)| id.schedule);
        let waiting = Arc::clone(&self.with.waiting);
        request_context::spawn(async move {
            for chunk in requests.chunk_by(|(one, _), (next, _)| one.schedule == next.schedule) {
                if let Some((id, _)) = chunk.first() {
                    waiting.remove(id.schedule, chunk, true).await;
                }
            }
        });
    }

    /// Handles the failure of the oldest request. A poison message becomes a dead letter, and the others are
    /// executed; after any other failure all requests are submitted again after a pause.
    async fn handle_failure(
        &mut self,
        in_flight: &mut ExecutionsInFlight,
        deliveries: &mut dyn Deliveries,
        failure: &SubmitError,
    ) -> Result<(), QueueError> {
        let poison = match failure {
            SubmitError::Failed(ExecutionError::Impossible(reason)) => Some(reason.clone()),
            SubmitError::Failed(_) if self.is_poison_message(in_flight) => {
                Some(failure.to_string())
            }
            _ => None,
        };
        if let Some(reason) = poison {
            if let Some(first) = in_flight.first()
                && let Ok(request) = &first.request
            {
                let id = request.queued.id;
                let executed = self.dead_letter(first.message.clone(), Some(id), &reason).await?;
                in_flight.complete_first(executed);
            }
            return self.settle(in_flight, deliveries).await;
        }
        if !self.backoff.is_active() {
            log::warn!("partition {} of the queue is paused: {failure}", self.partition.0);
            self.with.metrics.queue.interruptions_total.inc();
        }
        self.pause().await;
        in_flight.retry();
        Ok(())
    }

    /// Whether the oldest request itself is the reason of its failures: its deadline is long over, the database
    /// executes others, and it has failed many times.
    fn is_poison_message(&self, in_flight: &ExecutionsInFlight) -> bool {
        in_flight.first().is_some_and(|first| {
            first.attempts >= MAX_DELIVERY_ATTEMPTS
                && first.request.as_ref().is_ok_and(|request| {
                    self.with.store.clock() > request.queued.not_after.plus(self.with.timeout * 2)
                })
                && self.with.health.writable()
                && self.with.store.has_committed_within(RECENT_COMMIT)
        })
    }

    async fn pause(&mut self) {
        self.backoff.pause(&self.with.health, self.assignment.clone()).await;
    }
}

/// Waits for a permit, then for the next delivery. Cancellation-safe.
async fn next(
    permits: &Arc<Semaphore>,
    deliveries: &mut dyn Deliveries,
) -> Result<(OwnedSemaphorePermit, Message), QueueError> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(QueueError::new)?;
    Ok((permit, deliveries.next().await?))
}

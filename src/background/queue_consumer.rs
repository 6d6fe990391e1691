//! The consumers of the queue: one task per partition, which submits the requests of the partition to the lanes, in
//! order.
//!
//! While one batch of a partition commits, the requests of the next batch wait in the lane. When a request fails for a
//! temporary reason, no later request of the partition is executed; after a pause all of them are submitted again, in
//! order. A request that already had its effect gets its recorded outcome.

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

/// A request is a poison message if it has failed this often, its deadline has passed, and other requests are executed.
const MAX_DELIVERY_ATTEMPTS: u32 = 8;

/// A commit within this time shows that the database executes requests.
const RECENT_COMMIT: Duration = Duration::from_secs(5);

/// What the consumers of a process need.
pub struct QueueConsumers {
    /// The source of the requests.
    pub queue: Arc<dyn Queue>,
    /// The lanes that execute the requests.
    pub lanes: Arc<Lanes>,
    /// Tells whether the database is writable.
    pub health: Arc<Health>,
    /// The database with the recorded outcomes.
    pub store: Arc<Store>,
    /// The positions of waiting requests.
    pub waiting: Arc<WaitingList>,
    /// Notifies the requests of this process that wait for an outcome.
    pub outcomes: Arc<Outcomes>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The most requests of one partition in the lanes.
    pub window: usize,
    /// The most requests of all partitions in the lanes. The rest of the lanes' capacity is left to direct requests.
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
    /// Stops receiving messages. Requests that are being executed are finished and settled. Returns false if that is
    /// not complete by `deadline`; then the unsettled messages are delivered again, to other processes.
    pub async fn stop_by(mut self, deadline: std::time::Instant) -> bool {
        self.assignment.send_modify(|assignment| assignment.stopped = true);
        let all_ended = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout_at(deadline.into(), all_ended).await.is_ok()
    }
}

impl QueueConsumers {
    /// Starts a task per partition, and one that assigns partitions to this process. Must be called inside a tokio
    /// runtime.
    #[must_use]
    pub fn start(self, partitions: u16) -> Consuming {
        // A consumer that waits for a message already holds a permit.
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
                marked_running_at: None,
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
    marked_running_at: Option<Instant>,
    backoff: PartitionBackoff,
}

impl Consumer {
    /// Consumes whenever the partition is assigned to this process, until the process stops. After an error or a
    /// panic the partition is opened again, and unsettled messages are delivered again.
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
            // This process does not pause the partition any more, because another process consumes it.
            self.backoff.reset();
        }
        let assigned = self.assignment.wait_for(|now| now.stopped || now.includes(partition));
        assigned.await.is_ok_and(|now| !now.stopped)
    }

    /// Consumes until the partition is not assigned to this process any more, and everything begun is settled.
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
                            // The other process executes the unsettled requests.
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

    /// Whether another process consumes the partition now. False while this process stops.
    fn is_reassigned(&self) -> bool {
        let assignment = self.assignment.borrow();
        !assignment.stopped && !assignment.includes(self.partition)
    }

    /// Submits all requests of a message, because a message is not split. The requests after the first get a permit
    /// only if one is free.
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

    /// Writes to the waiting list which request is being executed: in the background, at most once per interval.
    fn mark_running(&mut self, id: RequestId) {
        if self.marked_running_at.is_none_or(|at| at.elapsed() >= RUNNING_INTERVAL) {
            self.marked_running_at = Some(Instant::now());
            let waiting = Arc::clone(&self.with.waiting);
            request_context::spawn(async move { waiting.mark_running(id).await });
        }
    }

    /// Settles the oldest completed requests, and notifies the callers that wait for their outcomes.
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

    /// Handles the failure of the oldest request. If it is a poison message, it becomes a dead letter. After any other
    /// failure, all requests are submitted again after a pause.
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

    /// Whether the oldest request itself is the reason of its failures: its deadline passed long ago, the database
    /// executes other requests, and it has failed many times.
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

/// Waits for a permit, then for the next message. Cancellation-safe.
async fn next(
    permits: &Arc<Semaphore>,
    deliveries: &mut dyn Deliveries,
) -> Result<(OwnedSemaphorePermit, Message), QueueError> {
    let permit = Arc::clone(permits).acquire_owned().await.map_err(QueueError::new)?;
    Ok((permit, deliveries.next().await?))
}

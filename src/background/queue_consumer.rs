//! The consumers of the queue in front: a task per partition, which hands its requests to the lanes in
//! their order.
//!
//! Up to two batches of a partition are in the lane at once: while one commits, the next gathers. When one
//! request fails for a reason that may pass, nothing behind it is executed; after a pause all of them are
//! submitted again, in order. What had its effect already is answered with it.

use std::ops::ControlFlow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::domain::command::Queued;
use crate::domain::effect::{Outcome, RecordedAnswer};
use crate::domain::execution_error::ExecutionError;
use crate::domain::ids::RequestId;
use crate::domain::rejection::Rejection;
use crate::faults::{self, FailPoint};
use crate::queue::{
    Deliveries, Message, Outcomes, Partition, Queue, QueueError, QueuedRequest, UNSETTLED_MAX,
    WaitingList,
};
use crate::store::Store;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::queue::Executed;
use crate::telemetry::request_context;

use crate::actors::booking::{Lanes, SubmitError};
use crate::telemetry::health::Health;

mod duty;
mod in_flight;
mod parking;
mod rest;

use duty::{Duty, Sharing};
use in_flight::{ExecutionsInFlight, Permit};
use rest::Backoff;

/// How often it is said, at most, who of a partition is being executed.
const MARK_INTERVAL: Duration = Duration::from_millis(100);

/// A request that fails so often, alone, after its time was over, while others are executed, is a dead
/// letter.
const TRIES_MAX: u32 = 8;

/// What the consumers of a process work with.
pub struct QueueConsumers {
    /// Where requests wait.
    pub queue: Arc<dyn Queue>,
    /// Who executes them.
    pub lanes: Arc<Lanes>,
    /// Whether they can be executed now.
    pub health: Arc<Health>,
    /// Where their outcomes are.
    pub store: Arc<Store>,
    /// Who waits.
    pub waiting: Arc<WaitingList>,
    /// Who waits in this process for an outcome.
    pub outcomes: Arc<Outcomes>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Deliveries of one partition that may be in its lane.
    pub window: usize,
    /// Deliveries of all partitions that may be in the lanes: the rest of their places is for those who
    /// come directly.
    pub places: usize,
    /// How long one of them may take.
    pub patience: Duration,
    /// What is recorded for a request that nobody can execute, and is asked for later.
    pub render_parked: fn(RequestId) -> RecordedAnswer,
    /// The status of the answer that is recorded for a request whose time was over.
    pub expired_status: u16,
}

/// The running consumers of a process.
pub struct Consuming {
    duty: watch::Sender<Duty>,
    tasks: JoinSet<()>,
}

impl Consuming {
    /// Takes no more deliveries; those under way are finished and settled. False if that is not so by
    /// `deadline`: what is left comes again, to others.
    pub async fn stop_by(mut self, deadline: std::time::Instant) -> bool {
        self.duty.send_modify(Duty::end);
        let all = async { while self.tasks.join_next().await.is_some() {} };
        tokio::time::timeout_at(deadline.into(), all).await.is_ok()
    }
}

impl QueueConsumers {
    /// Starts a task per partition, in the tokio runtime of the caller, and one that knows which of them have
    /// something to do in this process.
    #[must_use]
    pub fn start(self, partitions: u16) -> Consuming {
        // A consumer that waits for a message has a place already.
        let places = Arc::new(Semaphore::new(self.places.max(usize::from(partitions) * 2)));
        let this = Arc::new(self);
        let duty = watch::Sender::new(Duty::default());
        let mut tasks = JoinSet::new();
        let sharing = Sharing {
            store: Arc::clone(&this.store),
            duty: duty.clone(),
            partitions,
            gauge: this.metrics.queue.partitions.clone(),
        };
        tasks.spawn(sharing.run(this.queue.shared_as()));
        for partition in Partition::all(partitions) {
            let consumer = Consumer {
                with: Arc::clone(&this),
                partition,
                duty: duty.subscribe(),
                places: Arc::clone(&places),
                marked: None,
                rest: Backoff::new(partition, this.metrics.queue.paused_partitions.clone()),
            };
            tasks.spawn(consumer.run());
        }
        Consuming { duty, tasks }
    }
}

/// The consumer of one partition.
struct Consumer {
    with: Arc<QueueConsumers>,
    partition: Partition,
    duty: watch::Receiver<Duty>,
    places: Arc<Semaphore>,
    /// When it was last said who is being executed.
    marked: Option<Instant>,
    rest: Backoff,
}

impl Consumer {
    /// Consumes whenever the partition is this process's, until the process stops, whatever happens to the
    /// queue. A panic ends the work on one opening of the partition, and what was not settled comes again.
    async fn run(mut self) {
        while self.has_work().await {
            let consumed = AssertUnwindSafe(self.consume()).catch_unwind().await;
            let error = match consumed {
                Ok(Ok(())) => {
                    self.rest.end();
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => QueueError::new("its consumer failed"),
            };
            if !self.rest.is_on() {
                log::warn!("partition {} of the queue: {error}", self.partition.0);
            }
            self.rest().await;
        }
    }

    /// Waits until the partition is this process's; false when the process stops.
    async fn has_work(&mut self) -> bool {
        let partition = self.partition;
        if !self.duty.borrow().includes(partition) {
            // A failure may have been the last thing here: the partition is not paused, it is elsewhere.
            self.rest.give_up();
        }
        let wanted = self.duty.wait_for(|duty| duty.is_over() || duty.includes(partition)).await;
        wanted.is_ok_and(|duty| !duty.is_over())
    }

    /// Consumes until the partition is not this process's any more, and what was begun is settled.
    async fn consume(&mut self) -> Result<(), QueueError> {
        let mut deliveries = self.with.queue.open(self.partition).await?;
        let window = self.with.window.min(usize::from(UNSETTLED_MAX));
        let mut flight = ExecutionsInFlight::new(window, self.with.expired_status);
        let opened = Instant::now();
        loop {
            let on_duty = self.duty.borrow_and_update().includes(self.partition);
            if !on_duty && flight.is_empty() {
                return Ok(());
            }
            tokio::select! {
                biased;
                _ = self.duty.changed(), if on_duty => {}
                step = flight.landed(), if !flight.is_empty() => {
                    if let ControlFlow::Break(failure) = step {
                        if self.is_given_up() {
                            // Another process goes on with what is not settled.
                            return Ok(());
                        }
                        self.interrupted(&mut flight, &mut *deliveries, &failure).await?;
                    }
                    self.settle(&mut flight, &mut *deliveries).await?;
                }
                next = next(&self.places, &mut *deliveries), if on_duty && flight.has_room() => {
                    let (place, message) = next?;
                    self.begin(&mut flight, place, message);
                }
                () = Backoff::quiet(opened), if self.rest.is_on() && flight.is_empty() => {
                    self.rest.end();
                }
            }
        }
    }

    /// Whether the partition is another process's now, while this one works on.
    fn is_given_up(&self) -> bool {
        let duty = self.duty.borrow();
        !duty.is_over() && !duty.includes(self.partition)
    }

    /// Puts the requests of a message behind those under way. Those behind the first take what places
    /// there are: a message is not taken apart.
    fn begin(
        &mut self,
        flight: &mut ExecutionsInFlight,
        place: OwnedSemaphorePermit,
        message: Message,
    ) {
        let mut place = Some(place);
        for (message, request) in QueuedRequest::read_all(message) {
            let permit = place.take().or_else(|| Arc::clone(&self.places).try_acquire_owned().ok());
            let place = Permit::new(permit, &self.with.metrics.queue.in_flight);
            if let Ok(request) = &request {
                self.mark(request.queued.id);
            }
            flight.push((message, request), place, (&self.with.lanes, self.with.patience));
        }
        flight.end_message();
    }

    /// Says who is being executed, from time to time; nobody waits for it.
    fn mark(&mut self, id: RequestId) {
        if self.marked.is_none_or(|marked| marked.elapsed() >= MARK_INTERVAL) {
            self.marked = Some(Instant::now());
            let waiting = Arc::clone(&self.with.waiting);
            request_context::spawn(async move { waiting.start(id).await });
        }
    }

    /// Settles what has landed, in order, and tells those who wait for it.
    async fn settle(
        &mut self,
        flight: &mut ExecutionsInFlight,
        deliveries: &mut dyn Deliveries,
    ) -> Result<(), QueueError> {
        let mut landed = flight.take_landed();
        if landed.is_empty() {
            return Ok(());
        }
        for one in &mut landed {
            if let Err(reason) = &one.request {
                one.executed = self.park(one.message.clone(), None, reason).await?;
            }
        }
        faults::reach(FailPoint::BeforeSettle).await.map_err(QueueError::new)?;
        let messages = landed.iter().filter(|one| one.ends_message).count();
        if messages > 0 {
            deliveries.settle(messages).await?;
        }
        self.rest.end();
        let metrics = &self.with.metrics.queue;
        let now = self.with.store.clock();
        let mut left = Vec::with_capacity(landed.len());
        for one in landed {
            metrics.executed(one.executed);
            if let Ok(request) = one.request {
                let id = request.queued.id;
                metrics.wait_seconds.observe(now.since(id.made_at()).as_secs_f64());
                left.push((id, request.customer()));
            }
        }
        self.with.outcomes.tell(left.iter().map(|(id, _)| id));
        self.leave(left);
        Ok(())
    }

    /// Lets requests out of their lines, schedule by schedule; nobody waits for it.
    fn leave(&self, mut left: Vec<(RequestId, String)>) {
        left.sort_by_key(|(id, _)| id.schedule);
        let with = Arc::clone(&self.with);
        request_context::spawn(async move {
            for of_schedule in left.chunk_by(|(one, _), (next, _)| one.schedule == next.schedule) {
                if let Some((id, _)) = of_schedule.first() {
                    with.waiting.leave(id.schedule, of_schedule, true).await;
                }
            }
        });
    }

    /// The oldest request failed. If that may pass, everything under way is begun again after a pause;
    /// otherwise it is parked, and the others go on.
    async fn interrupted(
        &mut self,
        flight: &mut ExecutionsInFlight,
        deliveries: &mut dyn Deliveries,
        failure: &SubmitError,
    ) -> Result<(), QueueError> {
        let hopeless = match failure {
            SubmitError::Failed(ExecutionError::Impossible(reason)) => Some(reason.clone()),
            SubmitError::Failed(_) if self.is_beyond_hope(flight) => Some(failure.to_string()),
            _ => None,
        };
        if let Some(reason) = hopeless {
            if let Some((message, id)) = flight.first() {
                let given_up = self.park(message, Some(id), &reason).await?;
                flight.give_up_first(given_up);
            }
            return self.settle(flight, deliveries).await;
        }
        if !self.rest.is_on() {
            log::warn!("partition {} of the queue waits: {failure}", self.partition.0);
            self.with.metrics.queue.interruptions_total.inc();
        }
        self.rest().await;
        flight.begin_again((&self.with.lanes, self.with.patience));
        Ok(())
    }

    /// Whether the oldest request keeps failing by itself: it is long over, the database takes writes, and
    /// still it fails.
    fn is_beyond_hope(&self, flight: &ExecutionsInFlight) -> bool {
        let late = flight.first_queued().is_some_and(|Queued { not_after, .. }| {
            self.with.store.clock() > not_after.plus(self.with.patience * 2)
        });
        let works = self.with.health.writable()
            && self.with.store.has_committed_within(Duration::from_secs(5));
        late && works && flight.tries_of_first() >= TRIES_MAX
    }

    async fn rest(&mut self) {
        self.rest.take(&self.with.health, self.duty.clone()).await;
    }
}

/// The next delivery, once there is a place for it in the lanes. Giving up waiting loses nothing.
async fn next(
    places: &Arc<Semaphore>,
    deliveries: &mut dyn Deliveries,
) -> Result<(OwnedSemaphorePermit, Message), QueueError> {
    let place = Arc::clone(places).acquire_owned().await.map_err(QueueError::new)?;
    Ok((place, deliveries.next().await?))
}

/// How an execution is counted. A status request after the deadline may have recorded "expired" before it.
fn executed(outcome: &Outcome, expired_status: u16) -> Executed {
    match outcome {
        Outcome::Done(_) => Executed::Done,
        Outcome::Refused(Rejection::TooLate) => Executed::Expired,
        Outcome::Replayed(answer) if answer.status == expired_status => Executed::Expired,
        Outcome::Refused(_) => Executed::Refused,
        Outcome::Repeated(_) | Outcome::Replayed(_) | Outcome::NotRecorded => Executed::Repeated,
    }
}

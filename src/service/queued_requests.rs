//! Requests that go through the queue: they are accepted first, executed in order later, and polled by the client.
//!
//! 1. The waiting list of the schedule admits the request, unless it is full.
//! 2. The queue confirms the request; from then on it is executed, or expires.
//! 3. The consumer ([`crate::background::queue_consumer`]) records the outcome with the effect, under the id of the
//!    request. Until then the position of the request comes from the waiting list.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::{ContextV7, Timestamp, Uuid};

use crate::batcher::{Batcher, BatcherLimits};
use crate::domain::clock::EpochMs;
use crate::domain::command::{Action, Keyed, Queued, RequestKey};
use crate::domain::effect::RecordedAnswer;
use crate::domain::execution_error::StoreError;
use crate::domain::ids::{RequestId, ScheduleId};
use crate::queue::{
    Entry, Message, Outcomes, PUBLISH_LIMIT, Partition, PublishError, Queue, QueueEntry,
    QueuePosition, QueuedRequest, WaitingList,
};
use crate::store::Store;
use crate::telemetry::metrics::queue::Accepted;

pub use crate::queue::estimate_s;

/// How often an outcome is looked up in the database, in case another process has recorded it.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// The most outcomes that one query looks up, and the most lookups that wait for a query.
const LOOKUPS: BatcherLimits = BatcherLimits { batch_max: 512, pending_max: 16_384 };

/// The most requests in one message, and the most requests of one partition that wait for a message.
const MESSAGES: BatcherLimits = BatcherLimits { batch_max: 128, pending_max: 8_192 };

/// How much the clock of this machine may differ from that of the database.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// The progress of a queued request.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestProgress {
    /// The request waits, or is being executed; with its position, if that is known.
    Waiting(Option<QueuePosition>),
    /// The request has the outcome with which a direct request would have been answered, or it has expired.
    Decided(RecordedAnswer),
}

/// A queued request and its progress.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestStatus {
    /// Its identifier.
    pub id: RequestId,
    /// Its progress.
    pub progress: RequestProgress,
    /// From this time on the request is not executed.
    pub not_after: EpochMs,
}

impl RequestStatus {
    /// Whether the request has an outcome.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        matches!(self.progress, RequestProgress::Decided(_))
    }
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnqueueError {
    /// The waiting list or the queue is full. No effect.
    Full,
    /// The customer has as many waiting requests as allowed. No effect.
    CustomerFull,
    /// The queue is unavailable; the reason is for the log. No effect.
    Unavailable(String),
    /// The queue did not confirm the request: it may be executed.
    Unknown,
    /// The command cannot be queued: a fault of this program.
    NotQueueable,
}

impl EnqueueError {
    /// The label of the error in the metrics.
    pub(crate) fn label(&self) -> Accepted {
        match self {
            Self::Full => Accepted::Full,
            Self::CustomerFull => Accepted::CustomerFull,
            Self::Unavailable(_) | Self::NotQueueable => Accepted::Away,
            Self::Unknown => Accepted::Unknown,
        }
    }
}

/// A request that waits to be sent to the queue.
struct OutboundMessage {
    id: RequestId,
    line: Vec<u8>,
    /// Set by the sender when it sends the message, or by the request when it times out; the first of the two decides.
    settled: Arc<AtomicBool>,
    confirm: oneshot::Sender<Result<(), PublishError>>,
}

/// Accepts requests for the queue, and looks up their progress and outcome.
pub struct QueuedRequests {
    /// One sender for each partition. Requests that arrive while a message is being confirmed share the next message.
    senders: Vec<Batcher<OutboundMessage>>,
    waiting: Arc<WaitingList>,
    outcomes: Arc<Outcomes>,
    store: Arc<Store>,
    lookups: Batcher<Lookup>,
    expiries: Batcher<Lookup>,
    ids: Mutex<ContextV7>,
    limits: RequestLimits,
}

/// The settings of queued requests.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The number of partitions of the queue, the same in every process.
    pub partitions: u16,
    /// How long a request may wait.
    pub deadline: Duration,
    /// How long its outcome is kept.
    pub outcome_ttl: Duration,
    /// Renders the outcome of a request that was not executed in time.
    pub render_expired: fn(RequestId) -> RecordedAnswer,
}

impl RequestLimits {
    fn not_after(&self, id: RequestId) -> EpochMs {
        id.made_at().plus(self.deadline)
    }
}

/// An outcome that is being looked up.
struct Lookup {
    id: RequestId,
    reply: oneshot::Sender<Result<Option<RecordedAnswer>, StoreError>>,
}

impl QueuedRequests {
    /// Starts the batchers. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        queue: &Arc<dyn Queue>,
        waiting: Arc<WaitingList>,
        outcomes: Arc<Outcomes>,
        store: Arc<Store>,
        limits: RequestLimits,
    ) -> Self {
        let from = Arc::clone(&store);
        let lookups = Batcher::start(LOOKUPS, move |batch| look_up(Arc::clone(&from), batch));
        let from = Arc::clone(&store);
        let expiries =
            Batcher::start(LOOKUPS, move |batch| expire(Arc::clone(&from), limits, batch));
        let senders = Partition::all(limits.partitions).map(|partition| {
            let queue = Arc::clone(queue);
            Batcher::start(MESSAGES, move |batch| send(Arc::clone(&queue), partition, batch))
        });
        let senders = senders.collect();
        let ids = Mutex::new(ContextV7::new());
        Self { senders, waiting, outcomes, store, lookups, expiries, ids, limits }
    }

    /// Accepts a request to hold, book or confirm.
    pub async fn accept(
        &self,
        schedule: ScheduleId,
        action: Action,
        keyed: Option<Keyed>,
    ) -> Result<RequestStatus, EnqueueError> {
        let now = self.store.clock();
        let id = RequestId { schedule, uuid: self.new_uuid(now) };
        let not_after = self.limits.not_after(id);
        let request = QueuedRequest::of(Queued { id, not_after }, action, keyed);
        let request = request.ok_or(EnqueueError::NotQueueable)?;
        let customer = request.customer();
        let entry = QueueEntry { id, customer: customer.clone(), now, until: not_after };
        let position = match self.waiting.add(entry).await {
            Entry::At(position) => position,
            Entry::CustomerFull => return Err(EnqueueError::CustomerFull),
            Entry::Full => return Err(EnqueueError::Full),
        };
        let error = match self.publish(&request).await {
            Ok(()) => {
                let per_second = self.waiting.throughput(schedule);
                let queue_position = QueuePosition { position, running: false, per_second };
                let progress = RequestProgress::Waiting(Some(queue_position));
                return Ok(RequestStatus { id, progress, not_after });
            }
            // The queue may have the request, so the request keeps its position.
            Err(PublishError::Unknown) => return Err(EnqueueError::Unknown),
            Err(PublishError::Full) => EnqueueError::Full,
            Err(PublishError::Unavailable(reason) | PublishError::Rejected(reason)) => {
                EnqueueError::Unavailable(reason)
            }
        };
        self.waiting.remove(schedule, &[(id, customer)], false).await;
        Err(error)
    }

    /// Sends a request to the queue, in one message with those that arrive at the same time.
    async fn publish(&self, request: &QueuedRequest) -> Result<(), PublishError> {
        let id = request.queued.id;
        let partition = Partition::of(id.schedule, self.limits.partitions);
        let sender = self.senders.get(usize::from(partition.0)).ok_or(PublishError::Full)?;
        let (confirm, confirmed) = oneshot::channel();
        let settled = Arc::new(AtomicBool::new(false));
        let message =
            OutboundMessage { id, line: request.encode(), settled: Arc::clone(&settled), confirm };
        sender.push(message).map_err(|_| PublishError::Full)?;
        match tokio::time::timeout(PUBLISH_LIMIT, confirmed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PublishError::Unknown),
            Err(_) if settled.swap(true, Ordering::SeqCst) => Err(PublishError::Unknown),
            Err(_) => Err(PublishError::Unavailable("the request was not sent in time".to_owned())),
        }
    }

    /// The status of a request; `None` if no request of this installation can have this id.
    pub async fn status(&self, id: RequestId) -> Result<Option<RequestStatus>, StoreError> {
        let decided = self.decided(id).await;
        self.status_of(id, decided).await
    }

    /// The status of a request as soon as it has an outcome, or after `wait_max`.
    pub async fn wait(
        &self,
        id: RequestId,
        wait_max: Duration,
    ) -> Result<Option<RequestStatus>, StoreError> {
        let until = Instant::now() + wait_max;
        let waiter = self.outcomes.wait_for(id);
        loop {
            let recorded_here = waiter.notified();
            let decided = self.decided(id).await;
            if Instant::now() >= until || !matches!(decided, Ok(None)) {
                return self.status_of(id, decided).await;
            }
            let next_poll = until.min(Instant::now() + POLL_INTERVAL);
            let _ = tokio::time::timeout_at(next_poll, recorded_here).await;
        }
    }

    /// Wakes every [`Self::wait`] when the service is stopping.
    pub fn wake_all(&self) {
        self.outcomes.notify_all();
    }

    async fn status_of(
        &self,
        id: RequestId,
        decided: Result<Option<RecordedAnswer>, StoreError>,
    ) -> Result<Option<RequestStatus>, StoreError> {
        let not_after = self.limits.not_after(id);
        let status = |progress| Ok(Some(RequestStatus { id, progress, not_after }));
        match decided {
            Ok(Some(answer)) => return status(RequestProgress::Decided(answer)),
            Ok(None) if self.is_out_of_range(id) => return Ok(None),
            // The request will not be executed any more; it is not known yet whether it was executed before.
            Ok(None) if self.is_overdue(id) => return status(RequestProgress::Waiting(None)),
            _ => {}
        }
        let position = self.waiting.position(id).await;
        match decided {
            Err(error) if position.is_none() => Err(error),
            // The request waits, so the database has no outcome of it.
            _ => status(RequestProgress::Waiting(position)),
        }
    }

    /// Whether the time in an id is in the future, or so long ago that the outcome has been deleted.
    fn is_out_of_range(&self, id: RequestId) -> bool {
        let made_at = id.made_at();
        made_at > self.store.clock().plus(MAX_CLOCK_SKEW)
            || self.store.clock() > made_at.plus(self.limits.outcome_ttl)
    }

    fn is_overdue(&self, id: RequestId) -> bool {
        self.store.clock() >= self.limits.not_after(id)
    }

    /// The outcome of a request. An overdue request without one is recorded as expired, unless it is being executed.
    async fn decided(&self, id: RequestId) -> Result<Option<RecordedAnswer>, StoreError> {
        let found = look_up_batched(&self.lookups, id).await?;
        if found.is_some() || !self.is_overdue(id) || self.is_out_of_range(id) {
            return Ok(found);
        }
        // After an error the database is read-only, or the request is being executed: a later lookup decides.
        Ok(look_up_batched(&self.expiries, id).await.unwrap_or_default())
    }

    /// A new UUID. The ids of one process are in the order in which it accepted the requests.
    fn new_uuid(&self, now: EpochMs) -> Uuid {
        let ms = u64::try_from(now.0).unwrap_or(0);
        let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
        Uuid::new_v7(Timestamp::from_unix(&*self.ids.lock(), ms / 1_000, nanos))
    }
}

/// Sends requests of one partition in one message, in their order.
async fn send(queue: Arc<dyn Queue>, partition: Partition, mut batch: Vec<OutboundMessage>) {
    batch.retain(|message| !message.settled.swap(true, Ordering::SeqCst));
    let Some(first) = batch.first() else { return };
    let lines: Vec<&[u8]> = batch.iter().map(|message| message.line.as_slice()).collect();
    let message = Message { id: first.id.to_string(), body: lines.join(&b'\n') };
    let result = queue.publish(partition, message).await;
    for OutboundMessage { confirm, .. } in batch {
        drop(confirm.send(result.clone()));
    }
}

/// Looks up an outcome, in one batch with the lookups of the same time.
async fn look_up_batched(
    batcher: &Batcher<Lookup>,
    id: RequestId,
) -> Result<Option<RecordedAnswer>, StoreError> {
    let (reply, answer) = oneshot::channel();
    let overloaded = || StoreError::Unavailable("too many outcomes are being looked up".to_owned());
    batcher.push(Lookup { id, reply }).map_err(|_| overloaded())?;
    answer.await.unwrap_or_else(|_| Err(overloaded()))
}

async fn look_up(store: Arc<Store>, batch: Vec<Lookup>) {
    let ids: Vec<RequestId> = batch.iter().map(|lookup| lookup.id).collect();
    answer(batch, &store.recorded_answers(&ids).await);
}

/// Records the requests without an outcome as expired.
async fn expire(store: Arc<Store>, limits: RequestLimits, batch: Vec<Lookup>) {
    let expired = |lookup: &Lookup| {
        let answer = (limits.render_expired)(lookup.id);
        (lookup.id, (answer, limits.not_after(lookup.id)))
    };
    let found = store.record_overdue(batch.iter().map(expired).collect()).await;
    answer(batch, &found);
}

fn answer(batch: Vec<Lookup>, found: &Result<HashMap<RequestKey, RecordedAnswer>, StoreError>) {
    for Lookup { id, reply } in batch {
        let answer = found.as_ref().map(|found| found.get(&Queued::key(id)).cloned());
        drop(reply.send(answer.map_err(Clone::clone)));
    }
}

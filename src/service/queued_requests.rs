//! Requests that go through the queue in front: accepted now, executed in their order, asked for later.
//!
//! 1. The line of the schedule lets the request in, unless too many wait.
//! 2. The queue confirms that it has it; from then on it is executed, or expires.
//! 3. Its outcome is recorded with its effect, under its own id, by whoever executes it
//!    ([`crate::background::queue_consumer`]). Until it is there, the line tells how the request stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::{ContextV7, Timestamp, Uuid};

use crate::batcher::{AdmissionError, Batcher, BatcherLimits};
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

pub use crate::queue::estimate_s;

/// How often an outcome is looked for that another process may have recorded.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Outcomes looked up in one query.
const LOOKUPS: BatcherLimits = BatcherLimits { batch_max: 512, pending_max: 16_384 };

/// How far this machine's idea of the database's clock may be off.
const AHEAD: Duration = Duration::from_secs(60);

/// How a request through the queue stands.
#[derive(Debug, Clone, PartialEq)]
pub enum RequestProgress {
    /// It waits, or is being executed; how it stands in its line, if that is known.
    Waiting(Option<QueuePosition>),
    /// It was decided: the answer that the direct way would have given, or that its time was over.
    Decided(RecordedAnswer),
}

/// A request and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// Which request.
    pub id: RequestId,
    /// How it stands.
    pub progress: RequestProgress,
    /// From then on it is not executed any more.
    pub not_after: EpochMs,
}

impl Status {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !matches!(self.progress, RequestProgress::Waiting(_))
    }
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnqueueError {
    /// The line, or the queue, is full. It had no effect.
    Full,
    /// As many requests of its customer wait as may. It had no effect.
    CustomerFull,
    /// The queue is away; the reason is for the log. It had no effect.
    Away(String),
    /// The queue did not confirm: it may be executed.
    Unknown,
    /// What it asks for does not go through the queue: a fault of this program.
    NotQueued,
}

/// Requests of one partition in one message.
const MESSAGES: BatcherLimits = BatcherLimits { batch_max: 128, pending_max: 8_192 };

/// A request on its way into the queue.
struct OutboundMessage {
    id: RequestId,
    line: Vec<u8>,
    /// Whether it was sent, or given up before; whoever is first decides.
    settled: Arc<AtomicBool>,
    confirm: oneshot::Sender<Result<(), PublishError>>,
}

/// The front of the queue.
pub struct Requests {
    /// One for each partition: what came while a message was being confirmed goes with the next.
    senders: Vec<Batcher<OutboundMessage>>,
    waiting: Arc<WaitingList>,
    outcomes: Arc<Outcomes>,
    store: Arc<Store>,
    lookups: Batcher<Lookup>,
    expiries: Batcher<Lookup>,
    ids: Mutex<ContextV7>,
    limits: RequestLimits,
}

/// Times and sizes of the queue.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Partitions of the queue, the same in every process.
    pub partitions: u16,
    /// How long a request may wait.
    pub deadline: Duration,
    /// How long its outcome is kept.
    pub kept: Duration,
    /// What is recorded for a request that was not executed in time.
    pub render_expired: fn(RequestId) -> RecordedAnswer,
}

impl RequestLimits {
    /// From when on a request is not executed any more.
    fn not_after(&self, id: RequestId) -> EpochMs {
        id.made_at().plus(self.deadline)
    }
}

/// An outcome that is looked for.
struct Lookup {
    id: RequestId,
    found: oneshot::Sender<Result<Option<RecordedAnswer>, StoreError>>,
}

impl Requests {
    /// Wires the front. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        queue: Arc<dyn Queue>,
        waiting: Arc<WaitingList>,
        outcomes: Arc<Outcomes>,
        store: Arc<Store>,
        limits: RequestLimits,
    ) -> Self {
        let from = Arc::clone(&store);
        let lookups = Batcher::start(LOOKUPS, move |gathered| look_up(Arc::clone(&from), gathered));
        let from = Arc::clone(&store);
        let expiries = Batcher::start(LOOKUPS, move |late| expire(Arc::clone(&from), limits, late));
        let senders = Partition::all(limits.partitions).map(|partition| {
            let queue = Arc::clone(&queue);
            Batcher::start(MESSAGES, move |parcels| send(Arc::clone(&queue), partition, parcels))
        });
        let (senders, ids) = (senders.collect(), Mutex::new(ContextV7::new()));
        Self { senders, waiting, outcomes, store, lookups, expiries, ids, limits }
    }

    /// Takes a request to hold, book or confirm into the queue.
    pub async fn accept(
        &self,
        schedule: ScheduleId,
        action: Action,
        keyed: Option<Keyed>,
    ) -> Result<Status, EnqueueError> {
        let now = self.store.clock();
        let id = RequestId { schedule, uuid: self.new_uuid(now) };
        let not_after = self.limits.not_after(id);
        let request = QueuedRequest::of(Queued { id, not_after }, action, keyed);
        let request = request.ok_or(EnqueueError::NotQueued)?;
        let customer = request.customer();
        let newcomer = QueueEntry { id, customer: customer.clone(), now, until: not_after };
        let place = match self.waiting.enter(newcomer).await {
            Entry::At(place) => place,
            Entry::CustomerFull => return Err(EnqueueError::CustomerFull),
            Entry::Full => return Err(EnqueueError::Full),
        };
        let refused = match self.publish(&request).await {
            Ok(()) => {
                let per_second = self.waiting.pace(schedule);
                let standing = QueuePosition { place, running: false, per_second };
                let progress = RequestProgress::Waiting(Some(standing));
                return Ok(Status { id, progress, not_after });
            }
            Err(PublishError::Full) => EnqueueError::Full,
            Err(PublishError::Away(reason) | PublishError::Unfit(reason)) => {
                EnqueueError::Away(reason)
            }
            // It keeps its place: it may be there.
            Err(PublishError::Unknown) => return Err(EnqueueError::Unknown),
        };
        self.waiting.leave(schedule, &[(id, customer)], false).await;
        Err(refused)
    }

    /// Sends a request to the queue, together with those that come at the same time.
    async fn publish(&self, request: &QueuedRequest) -> Result<(), PublishError> {
        let id = request.queued.id;
        let partition = Partition::of(id.schedule, self.limits.partitions);
        let (confirm, confirmed) = oneshot::channel();
        let settled = Arc::new(AtomicBool::new(false));
        let parcel =
            OutboundMessage { id, line: request.line(), settled: Arc::clone(&settled), confirm };
        let sender = self.senders.get(usize::from(partition.0));
        let sent = sender.map(|sender| sender.push(parcel));
        sent.unwrap_or(Err(AdmissionError::Closed)).map_err(|_| PublishError::Full)?;
        match tokio::time::timeout(PUBLISH_LIMIT, confirmed).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PublishError::Unknown),
            Err(_) if settled.swap(true, Ordering::SeqCst) => Err(PublishError::Unknown),
            Err(_) => Err(PublishError::Away("it has not come to sending it".to_owned())),
        }
    }

    /// How a request stands; none if it cannot be one of ours.
    pub async fn status(&self, id: RequestId) -> Result<Option<Status>, StoreError> {
        let decided = self.decided(id).await;
        self.with_standing(id, decided).await
    }

    /// How a request stands as soon as it is decided, or after `patience`.
    pub async fn wait(
        &self,
        id: RequestId,
        patience: Duration,
    ) -> Result<Option<Status>, StoreError> {
        let until = Instant::now() + patience;
        let waiter = self.outcomes.wait_for(id);
        loop {
            let news = waiter.news();
            let decided = self.decided(id).await;
            if Instant::now() >= until || !matches!(decided, Ok(None)) {
                return self.with_standing(id, decided).await;
            }
            let next = until.min(Instant::now() + LOOK_INTERVAL);
            // Told by this process, or in time to look for what others have recorded.
            let _ = tokio::time::timeout_at(next, news).await;
        }
    }

    /// Wakes those who wait: the service is stopping.
    pub fn dismiss(&self) {
        self.outcomes.tell_all();
    }

    async fn with_standing(
        &self,
        id: RequestId,
        decided: Result<Option<RecordedAnswer>, StoreError>,
    ) -> Result<Option<Status>, StoreError> {
        let not_after = self.limits.not_after(id);
        let status = |progress| Ok(Some(Status { id, progress, not_after }));
        match decided {
            Ok(Some(answer)) => return status(RequestProgress::Decided(answer)),
            Ok(None) if self.cannot_be_ours(id) => return Ok(None),
            // It is not to be executed any more, and whether it has been is not known yet.
            Ok(None) if self.is_overdue(id) => return status(RequestProgress::Waiting(None)),
            _ => {}
        }
        let standing = self.waiting.standing(id).await;
        match decided {
            // It waits, so there is no outcome that the database could be asked for.
            Err(error) if standing.is_none() => Err(error),
            _ => status(RequestProgress::Waiting(standing)),
        }
    }

    /// Whether an id has a time at which no request was made whose outcome could still be asked for.
    fn cannot_be_ours(&self, id: RequestId) -> bool {
        let (now, made_at) = (self.store.clock(), id.made_at());
        made_at > now.plus(AHEAD) || now > made_at.plus(self.limits.kept)
    }

    /// Whether the time of a request is over.
    fn is_overdue(&self, id: RequestId) -> bool {
        self.store.clock() >= self.limits.not_after(id)
    }

    /// The outcome of a request. If its time is over and there is none, it is recorded now that it has expired,
    /// unless it is just being executed: the answer is "expired" only when that is certain.
    async fn decided(&self, id: RequestId) -> Result<Option<RecordedAnswer>, StoreError> {
        let found = ask(&self.lookups, id).await?;
        if found.is_some() || !self.is_overdue(id) || self.cannot_be_ours(id) {
            return Ok(found);
        }
        // The database is read-only, or the request is being executed: a later request knows more.
        Ok(ask(&self.expiries, id).await.unwrap_or_default())
    }

    /// Ids of one process are in the order in which its requests were accepted.
    fn new_uuid(&self, now: EpochMs) -> Uuid {
        let ms = u64::try_from(now.0).unwrap_or(0);
        let nanos = u32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        Uuid::new_v7(Timestamp::from_unix(&*ids, ms / 1_000, nanos))
    }
}

/// Sends requests of one partition with one message, in their order.
async fn send(queue: Arc<dyn Queue>, partition: Partition, mut parcels: Vec<OutboundMessage>) {
    parcels.retain(|parcel| !parcel.settled.swap(true, Ordering::SeqCst));
    let Some(first) = parcels.first() else { return };
    let lines: Vec<&[u8]> = parcels.iter().map(|parcel| parcel.line.as_slice()).collect();
    let message = Message { id: first.id.to_string(), body: lines.join(&b'\n') };
    let result = queue.publish(partition, message).await;
    for OutboundMessage { confirm, .. } in parcels {
        drop(confirm.send(result.clone()));
    }
}

/// Asks for an outcome, together with those who ask at the same time.
async fn ask(asked: &Batcher<Lookup>, id: RequestId) -> Result<Option<RecordedAnswer>, StoreError> {
    let (found, answer) = oneshot::channel();
    let overfull = || StoreError::Unavailable("too many outcomes are looked for".to_owned());
    asked.push(Lookup { id, found }).map_err(|_| overfull())?;
    answer.await.unwrap_or_else(|_| Err(overfull()))
}

async fn look_up(store: Arc<Store>, gathered: Vec<Lookup>) {
    let keys: Vec<RequestKey> = gathered.iter().map(|lookup| Queued::key(lookup.id)).collect();
    answer(gathered, store.recorded_answers(&keys).await);
}

/// Records that requests have expired, those that have no outcome.
async fn expire(store: Arc<Store>, limits: RequestLimits, gathered: Vec<Lookup>) {
    let one = |lookup: &Lookup| {
        let answer = (limits.render_expired)(lookup.id);
        (Queued::key(lookup.id), (answer, limits.not_after(lookup.id)))
    };
    let found = store.record_overdue(gathered.iter().map(one).collect()).await;
    answer(gathered, found);
}

fn answer(gathered: Vec<Lookup>, found: Result<HashMap<RequestKey, RecordedAnswer>, StoreError>) {
    for Lookup { id, found: reply } in gathered {
        let answer = found.as_ref().map(|found| found.get(&Queued::key(id)).cloned());
        drop(reply.send(answer.map_err(Clone::clone)));
    }
}

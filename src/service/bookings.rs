//! `BookingService::submit()`: the processing of every command, from the request to its outcome.
//!
//! 1. Seats that are taken in the map in memory are refused without a database query; the map never grants seats. A
//!    request with a key that this process is executing already is refused as in progress.
//! 2. A command that is to be queued is sent to the queue, and executed later.
//! 3. The seats of a command are locked outside the database, all or none, so that most requests for a popular seat do
//!    not reach the database. If the locks do not answer, the command is executed without them: the rows decide.
//! 4. The lane of the schedule executes the command in a batch.
//! 5. The locks are released; those of a granted hold get the hold's token and live as long as the hold.
//!
//! Steps 3 to 5 run in a separate task, so that a client that disconnects does not interrupt them.

mod holders;
mod locks;
mod refusal;
mod running;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actors::booking::{Lanes, SubmitError};
use crate::actors::seat_lock::SeatLocker;
use crate::domain::catalogue::{BookingFilter, HoldFilter, Page};
use crate::domain::command::{Action, Command, Keyed};
use crate::domain::effect::{BlockView, BookingView, ExecutedCommand, HoldView, Outcome};
use crate::domain::execution_error::{ExecutionError, StoreError};
use crate::domain::ids::{
    BlockId, BookingId, CustomerId, HoldId, InHistory, ScheduleId, SeatNumber,
};
use crate::domain::rejection::{Conflict, ConflictReason};
use crate::faults::{self, FailPoint};
use crate::seat_map::SeatMaps;
use crate::service::queued_requests::{EnqueueError, QueuedRequests, RequestStatus};
use crate::store::Store;
use crate::telemetry::health::Health;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::queue::Accepted;
use crate::telemetry::metrics::reservation::EarlyRejection;
use crate::telemetry::request_context;
use holders::Holders;
use locks::Locking;
use running::{RunningKey, RunningKeys};

/// The result of a command that was not refused early.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// The command was executed; the outcome may be a rejection.
    Executed(Box<ExecutedCommand>),
    /// The command is in the queue.
    Queued(RequestStatus),
}

/// Why a command was not executed or queued, or why that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookingError {
    /// The map in memory or the seat locks refuse the seats; the database was not queried.
    SeatsUnavailable {
        /// The refused seats.
        conflicts: Vec<Conflict>,
        /// Whether only seat locks refuse the seats: nothing is decided yet.
        by_locks_alone: bool,
        /// Whether the customer's own holds of these seats were looked up in time.
        owners_known: bool,
    },
    /// A request with the same key is being executed.
    InProgress,
    /// The booking engine did not execute the command, or it is not known whether it did.
    NotExecuted(SubmitError),
    /// The queue did not accept the command, or it is not known whether it did.
    NotQueued(EnqueueError),
    /// There is no such schedule.
    NoSchedule,
    /// The database did not answer.
    NotRead(StoreError),
}

impl From<SubmitError> for BookingError {
    fn from(error: SubmitError) -> Self {
        Self::NotExecuted(error)
    }
}

/// The dependencies and settings of the service.
pub struct BookingDeps {
    /// The booking engine.
    pub lanes: Arc<Lanes>,
    /// The seat locks.
    pub locker: Arc<SeatLocker>,
    /// Whether the primary is writable.
    pub health: Arc<Health>,
    /// Layouts of seats and their states.
    pub seat_maps: Arc<SeatMaps>,
    /// Holds, bookings and blocks.
    pub store: Arc<Store>,
    /// The queue, if there is one.
    pub queue: Option<Arc<QueuedRequests>>,
    /// Whether every command that can be queued is queued.
    pub always_queued: bool,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The lifetime of a seat lock that is not released, for example after the process has died.
    pub seat_lock_ttl: Duration,
}

/// Executes commands, and reads holds, bookings and blocks.
///
/// The future of a task is moved several times before it runs. So the futures of its work, and of rare ways such as a
/// refusal, are boxed.
pub struct BookingService {
    deps: BookingDeps,
    running: Arc<RunningKeys>,
    holders: Holders,
}

impl BookingService {
    /// Creates the service. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(deps: BookingDeps) -> Self {
        let holders = Holders::new(Arc::clone(&deps.store), Arc::clone(&deps.seat_maps));
        Self { deps, running: Arc::default(), holders }
    }

    fn store(&self) -> &Arc<Store> {
        &self.deps.store
    }

    /// The dependencies and settings of the service.
    #[must_use]
    pub fn deps(&self) -> &BookingDeps {
        &self.deps
    }

    /// Executes a command before `deadline`. A command that takes seats is queued instead if there is a queue, and
    /// either every command is to be queued or the client prefers it (`respond_async`). A map older than `min_version`,
    /// a version that the caller has seen, does not refuse the command.
    pub async fn submit(
        self: &Arc<Self>,
        command: Command,
        min_version: i64,
        respond_async: bool,
        deadline: Instant,
    ) -> Result<Submitted, BookingError> {
        let is_queued =
            command.action.can_be_queued() && (respond_async || self.deps.always_queued);
        let queue = self.deps.queue.as_ref().filter(|_| is_queued);
        if queue.is_none() && !self.deps.health.writable() {
            return Err(self.counted(SubmitError::Failed(ExecutionError::ReadOnly).into()));
        }
        let taken = match (queue, &command.keyed) {
            // A command with this key may have been executed before; the execution finds its recorded answer.
            (Some(_), Some(_)) => Vec::new(),
            _ => {
                let seats = command.action.taken_seats();
                self.deps.seat_maps.refusals(command.schedule, seats, min_version).await
            }
        };
        let taken = self.without_seats_of_changed_hold(&command, taken).await;
        if !taken.is_empty() && command.keyed.is_none() {
            let refusal = self.seats_unavailable(&command, &taken, false, deadline);
            return Err(Box::pin(refusal).await);
        }
        match queue {
            Some(queue) => {
                let accept = queue.accept(command.schedule, command.action, command.keyed);
                let accepted = Box::pin(accept).await;
                let label =
                    accepted.as_ref().map_or_else(EnqueueError::label, |_| Accepted::Queued);
                self.deps.metrics.queue.accepted(label);
                accepted.map(Submitted::Queued).map_err(BookingError::NotQueued)
            }
            None => {
                let outcome = self.execute(command, taken, deadline).await;
                outcome
                    .map(|executed| Submitted::Executed(Box::new(executed)))
                    .map_err(|error| self.counted(error))
            }
        }
    }

    /// Executes a command in a separate task, unless the map refuses the seats `taken`.
    async fn execute(
        self: &Arc<Self>,
        command: Command,
        taken: Vec<(SeatNumber, ConflictReason)>,
        deadline: Instant,
    ) -> Result<ExecutedCommand, BookingError> {
        let running = match &command.keyed {
            Some(Keyed { request, .. }) => {
                Some(RunningKey::insert(&self.running, request).ok_or(BookingError::InProgress)?)
            }
            None => None,
        };
        let this = Arc::clone(self);
        let task = request_context::spawn(async move {
            let _running = running;
            if taken.is_empty() {
                Box::pin(this.lock_and_execute(command, deadline)).await
            } else {
                Box::pin(this.recorded_or_refused(&command, &taken, false, deadline)).await
            }
        });
        task.await.unwrap_or_else(|panic| {
            log::error!("a request failed: {panic}");
            Err(SubmitError::Failed(ExecutionError::Unknown).into())
        })
    }

    async fn lock_and_execute(
        &self,
        mut command: Command,
        deadline: Instant,
    ) -> Result<ExecutedCommand, BookingError> {
        let locked = match self.lock(&command).await {
            Locking::Locked(token) => Some(token),
            Locking::Unlocked => None,
            Locking::Busy(seats) if self.locks_are_stale(&command, &seats).await => None,
            Locking::Busy(seats) => {
                return Box::pin(self.recorded_or_refused(&command, &seats, true, deadline)).await;
            }
        };
        if locked.is_some() {
            faults::pass(FailPoint::AfterLock).await;
        }
        command.locked = locked.is_some();
        let schedule = command.schedule;
        let seats = command.action.taken_seats().to_vec();
        let removed = command.action.removed_seats().to_vec();
        let frees_seats = command.action.gives_back();
        let result = self.deps.lanes.execute(command, deadline).await;
        faults::pass(FailPoint::BeforeUnlock).await;
        if let Ok(ExecutedCommand { outcome: Outcome::Refused(_), .. }) = &result {
            self.deps.seat_maps.note_refusal(schedule);
        }
        match &result {
            Ok(executed) => {
                self.unlock_after(&executed.outcome, schedule, seats, &removed, locked).await;
                if frees_seats {
                    // Releases of earlier requests for the same seats may still be unsent.
                    self.deps.locker.flush().await;
                }
            }
            // The seats may be taken. No other request should try to take them until that is known.
            Err(SubmitError::Failed(ExecutionError::Unknown)) => {}
            Err(_) => self.unlock(schedule, seats, locked),
        }
        faults::pass(FailPoint::BeforeAnswer).await;
        Ok(result?)
    }

    /// Returns the recorded answer if the key has one, even if its seats are taken by now, perhaps by this very
    /// request; otherwise the refusal.
    async fn recorded_or_refused(
        &self,
        command: &Command,
        taken: &[(SeatNumber, ConflictReason)],
        by_locks_alone: bool,
        deadline: Instant,
    ) -> Result<ExecutedCommand, BookingError> {
        if command.keyed.is_some() {
            let lookup = Command {
                keyed: command.keyed.clone(),
                queued: command.queued,
                ..Command::new(command.schedule, Action::Lookup)
            };
            let found = self.deps.lanes.execute(lookup, deadline).await?;
            if found.outcome != Outcome::NotRecorded {
                return Ok(found);
            }
        }
        Err(self.seats_unavailable(command, taken, by_locks_alone, deadline).await)
    }

    /// Counts a command that was not executed. Refused seats are counted where they are refused.
    fn counted(&self, error: BookingError) -> BookingError {
        let reason = match &error {
            BookingError::InProgress => Some(EarlyRejection::InProgress),
            BookingError::NotExecuted(SubmitError::Failed(ExecutionError::ReadOnly)) => {
                Some(EarlyRejection::ReadOnly)
            }
            BookingError::NotExecuted(SubmitError::Overloaded) => Some(EarlyRejection::Overloaded),
            BookingError::NotExecuted(SubmitError::Draining) => Some(EarlyRejection::Draining),
            _ => None,
        };
        if let Some(reason) = reason {
            self.deps.metrics.reservation.refused_early(reason);
        }
        error
    }

    store_methods! {
        /// Blocks of a schedule that were not lifted, in the order of creation, at `min_version` or later.
        fn blocks(schedule: ScheduleId, min_version: i64, after: Option<InHistory<BlockId>>, limit: usize) -> Page<BlockView>;
        /// One hold, with an owner only if it is this customer's, at `min_version` of its schedule or later.
        fn hold_of(id: HoldId, owner: Option<CustomerId>, min_version: i64) -> Option<HoldView>;
        /// The current holds of a customer, ordered by schedule and creation, at `min_version` or later.
        fn holds(filter: HoldFilter, min_version: i64, limit: usize) -> Page<HoldView>;
        /// One booking, with an owner only if it is this customer's, at `min_version` of its schedule or later.
        fn booking_of(id: BookingId, owner: Option<CustomerId>, min_version: i64) -> Option<BookingView>;
        /// The bookings of a customer, of a schedule or of both, in the order of creation, at `min_version` or later.
        fn bookings(filter: BookingFilter, min_version: i64, limit: usize) -> Page<BookingView>;
    }
}

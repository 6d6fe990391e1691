//! `BookingService::submit()`: the way of every command, from the request to its outcome.
//!
//! 1. Seats that the map in memory has as taken are refused without the database; a grant never comes from the map.
//!    A keyed request that this process is executing already is refused as in progress.
//! 2. A command that is to be queued goes to the queue, and is executed later.
//! 3. Seats to be taken are locked outside the database, all or none, so that the losers of a popular seat never
//!    reach it. Without an answer from the locks the command goes on without them: the rows decide.
//! 4. The lane of the schedule executes the command in a batch.
//! 5. The locks are released; those of a granted hold get the hold's token and live as long as the hold.
//!
//! Steps 3 to 5 run in a task of their own: a client that disconnects does not interrupt them.

mod holders;
mod locks;
mod running;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actors::booking::{Lanes, SubmitError};
use crate::actors::seat_lock::SeatLocker;
use crate::domain::catalogue::{BookingFilter, HoldFilter, Page};
use crate::domain::command::{Action, Command, Keyed};
use crate::domain::effect::{BlockView, BookingView, ExecutedCommand, HoldView, Outcome};
use crate::domain::execution_error::{ExecutionError, StoreError};
use crate::domain::ids::{BlockId, BookingId, HoldId, InHistory, ScheduleId, SeatNumber};
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

/// What became of a command that was not refused early.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// The outcome of its execution, which may be a rejection.
    Executed(Box<ExecutedCommand>),
    /// The queue has it.
    Queued(RequestStatus),
}

/// Why a command was not executed or queued, or is not known to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BookingError {
    /// The map in memory or the seat locks refuse the seats; the database was not asked.
    SeatsUnavailable {
        /// The seats in the way.
        conflicts: Vec<Conflict>,
        /// Whether only seat locks are in the way: nothing is decided yet.
        by_locks_alone: bool,
        /// Whether the customer's own holds among them were found in time.
        owners_known: bool,
    },
    /// A request with the same key is being executed.
    InProgress,
    /// The booking engine did not execute it, or it is not known whether it did.
    NotExecuted(SubmitError),
    /// The queue did not accept it, or it is not known whether it did.
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

/// What the service works with.
pub struct BookingDeps {
    /// The booking engine.
    pub lanes: Arc<Lanes>,
    /// The seat locks.
    pub locker: Arc<SeatLocker>,
    /// Whether the primary is writable.
    pub health: Arc<Health>,
    /// Layouts and states.
    pub seat_maps: Arc<SeatMaps>,
    /// Holds, bookings and blocks.
    pub store: Arc<Store>,
    /// The queue, if there is one.
    pub queue: Option<Arc<QueuedRequests>>,
    /// Whether every command that can be queued is queued.
    pub always_queued: bool,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// How long a seat lock outlives a process that has died.
    pub seat_lock_ttl: Duration,
}

/// Executes commands, and reads holds, bookings and blocks.
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

    /// What the service works with.
    #[must_use]
    pub fn deps(&self) -> &BookingDeps {
        &self.deps
    }

    /// Executes a command before `deadline`. A command that takes seats is queued instead, if there is a queue, and it is
    /// always used or the client prefers it (`respond_async`). No map older than `min_version`, a version that the
    /// caller has seen, refuses the command.
    pub async fn submit(
        self: &Arc<Self>,
        command: Command,
        min_version: i64,
        respond_async: bool,
        deadline: Instant,
    ) -> Result<Submitted, BookingError> {
        let can_be_queued = matches!(
            command.action,
            Action::Hold { .. } | Action::Book { .. } | Action::Confirm { .. }
        );
        let is_queued = can_be_queued && (respond_async || self.deps.always_queued);
        let queue = self.deps.queue.as_ref().filter(|_| is_queued);
        if queue.is_none() && !self.deps.health.writable() {
            return Err(self.counted(SubmitError::Failed(ExecutionError::ReadOnly).into()));
        }
        let seats = command.action.taken_seats();
        let taken = self.deps.seat_maps.refusals(command.schedule, seats, min_version).await;
        if !taken.is_empty() && command.keyed.is_none() {
            return Err(self.seats_unavailable(&command, &taken, false, deadline).await);
        }
        match queue {
            // A key may have had its effect already, which its execution finds.
            Some(queue) => {
                let accepted = queue.accept(command.schedule, command.action, command.keyed).await;
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

    /// Executes a command in a task of its own, unless the map refuses the seats `taken`.
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
                this.lock_and_execute(command, deadline).await
            } else {
                this.recorded_or_refused(command, &taken, false, deadline).await
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
                return self.recorded_or_refused(command, &seats, true, deadline).await;
            }
        };
        if locked.is_some() {
            faults::pass(FailPoint::AfterLock).await;
        }
        command.locked = locked.is_some();
        let (schedule, seats) = (command.schedule, command.action.taken_seats().to_vec());
        let gives_back = command.action.gives_back();
        let result = self.deps.lanes.execute(command, deadline).await;
        faults::pass(FailPoint::BeforeUnlock).await;
        match &result {
            Ok(executed) => {
                self.unlock_after(&executed.outcome, schedule, seats, locked).await;
                if gives_back {
                    // Releases of earlier requests for the same seats may not have been sent yet.
                    self.deps.locker.flush().await;
                }
            }
            // The seats may be taken: until that is known, no other request should try to take them.
            Err(SubmitError::Failed(ExecutionError::Unknown)) => {}
            Err(_) => self.unlock(schedule, seats, locked),
        }
        faults::pass(FailPoint::BeforeAnswer).await;
        Ok(result?)
    }

    /// Returns the recorded answer of a key that has had its effect, even if its seats are taken by now, perhaps by
    /// this very request; otherwise the refusal.
    async fn recorded_or_refused(
        &self,
        command: Command,
        taken: &[(SeatNumber, ConflictReason)],
        by_locks_alone: bool,
        deadline: Instant,
    ) -> Result<ExecutedCommand, BookingError> {
        if command.keyed.is_some() {
            let lookup = Command { action: Action::Lookup, locked: false, ..command.clone() };
            let found = self.deps.lanes.execute(lookup, deadline).await?;
            if found.outcome != Outcome::NotRecorded {
                return Ok(found);
            }
        }
        Err(self.seats_unavailable(&command, taken, by_locks_alone, deadline).await)
    }

    /// Builds and counts the refusal of seats: with their labels, and the customer's own holds among them.
    async fn seats_unavailable(
        &self,
        command: &Command,
        taken: &[(SeatNumber, ConflictReason)],
        by_locks_alone: bool,
        deadline: Instant,
    ) -> BookingError {
        let (maps, metrics) = (&self.deps.seat_maps, &self.deps.metrics.reservation);
        if by_locks_alone {
            let seats: Vec<SeatNumber> = taken.iter().map(|(seat, _)| *seat).collect();
            if maps.are_free(command.schedule, &seats) {
                metrics.free_seat_conflicts_total.inc();
            }
            metrics.refused_early(EarlyRejection::Locked);
        } else {
            metrics.refused_early(EarlyRejection::Known);
        }
        let schedule = maps.schedule(command.schedule);
        let schedule = match tokio::time::timeout_at(deadline.into(), schedule).await {
            Ok(Ok(Some(schedule))) => schedule,
            Ok(Ok(None)) => return BookingError::NoSchedule,
            Ok(Err(error)) => return BookingError::NotRead(error),
            Err(_) => {
                let reason = "the layout of the schedule was not read in time".to_owned();
                return BookingError::NotRead(StoreError::Unavailable(reason));
            }
        };
        let held = taken.iter().filter(|(_, reason)| *reason == ConflictReason::Held);
        let held: Vec<SeatNumber> = held.map(|(seat, _)| *seat).collect();
        let own_holds = match command.action.customer() {
            Some(customer) if !held.is_empty() => {
                self.holders.own_holds(command.schedule, customer, &held).await
            }
            _ => Some(BTreeMap::new()),
        };
        let conflict = |(number, reason): &(SeatNumber, ConflictReason)| Conflict {
            label: schedule.layout.seat(*number).map_or_else(String::new, |seat| seat.label.into()),
            reason: *reason,
            hold: own_holds.as_ref().and_then(|own| own.get(number)).copied(),
        };
        let conflicts = taken.iter().map(conflict).collect();
        let owners_known = own_holds.is_some();
        BookingError::SeatsUnavailable { conflicts, by_locks_alone, owners_known }
    }

    /// Counts a command that the booking engine did not execute; refused seats are counted where they are refused.
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

    /// Blocks of a schedule that were not lifted, by creation, at `min_version` or later.
    pub async fn blocks(
        &self,
        schedule: ScheduleId,
        min_version: i64,
        after: Option<InHistory<BlockId>>,
        limit: usize,
    ) -> Result<Page<BlockView>, StoreError> {
        self.deps.store.blocks((schedule, min_version), after, limit).await
    }

    store_methods! {
        /// One hold at `min_version` of its schedule or later.
        fn hold(id: HoldId, min_version: i64) -> Option<HoldView>;
        /// Holds of a customer that are alive, by schedule and creation, at `min_version` or later.
        fn holds(filter: HoldFilter, min_version: i64, limit: usize) -> Page<HoldView>;
        /// One booking at `min_version` of its schedule or later.
        fn booking(id: BookingId, min_version: i64) -> Option<BookingView>;
        /// Bookings by customer, schedule or both, by creation, at `min_version` or later.
        fn bookings(filter: BookingFilter, min_version: i64, limit: usize) -> Page<BookingView>;
    }
}

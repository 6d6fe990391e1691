//! `reserve()`: the way of every command, from the request to its outcome.
//!
//! 1. Seats that the map in memory knows to be gone are refused without asking anybody; a grant never
//!    comes from there. A keyed request that this process is executing already is told so.
//! 2. Seats to be taken are locked outside the database, all or none, so that the losers of a hot seat
//!    never reach it. No help from the locks means going on without them: the rows decide.
//! 3. The lane of the schedule executes the command in a batch.
//! 4. The locks are given up; those of a granted hold are re-tokened to the hold and live as long as it.
//!
//! The whole runs in a task of its own: a client that leaves does not stop it half way.

mod holders;
mod lists;
mod running;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actors::booking::{Lanes, SubmitError};
use crate::actors::seat_lock::SeatLocker;
use crate::domain::catalogue::{BookingFilter, Page};
use crate::domain::command::{Action, Command};
use crate::domain::effect::{BookingView, Effect, HoldView, Outcome};
use crate::domain::execution_error::{ExecutionError, StoreError};
use crate::domain::ids::{BookingId, HoldId, ScheduleId, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::faults::{self, FailPoint};
use crate::lock::{LockReply, LockRequest, LockToken};
use crate::seat_map::SeatMaps;
use crate::store::Store;
use crate::telemetry::health::Health;
use crate::telemetry::request_context;
use holders::Holders;
use running::{Running, RunningKeys};
use tokens::{hold_token, reason_of, request_token};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReservationOutcome {
    /// The booking engine's word.
    Outcome(Outcome),
    /// The map in memory knows these seats to be sold, blocked or held; nobody else was asked.
    Known(Vec<(SeatNumber, ConflictReason)>),
    /// Locks alone stand in the way: these seats are being served to somebody else, or held.
    Contended(Vec<(SeatNumber, ConflictReason)>),
    /// The same key is being executed right now.
    InProgress,
}

/// What the flow works with.
pub struct Reservation {
    lanes: Arc<Lanes>,
    locker: Arc<SeatLocker>,
    health: Arc<Health>,
    seat_maps: Arc<SeatMaps>,
    store: Arc<Store>,
    running: Arc<RunningKeys>,
    holders: Holders,
    seat_lock_ttl: Duration,
}

/// A hold's lock ends this much before the hold, so that it never refuses a seat that is free again.
const LOCK_ENDS_EARLIER: Duration = Duration::from_millis(100);

impl Reservation {
    /// Wires the flow. `seat_lock_ttl` is the life of a lock whose request dies with its process. Must be called
    /// inside a tokio runtime.
    #[must_use]
    pub fn new(
        lanes: Arc<Lanes>,
        locker: Arc<SeatLocker>,
        health: Arc<Health>,
        seat_maps: Arc<SeatMaps>,
        store: Arc<Store>,
        seat_lock_ttl: Duration,
    ) -> Self {
        let holders = Holders::new(Arc::clone(&store), Arc::clone(&seat_maps));
        let running = Arc::default();
        Self { lanes, locker, health, seat_maps, store, running, holders, seat_lock_ttl }
    }

    /// Takes a command to its outcome, or to the reason why there is none, before `deadline`. No map older than
    /// `at_least`, a version that the caller has seen, refuses it.
    pub async fn reserve(
        self: &Arc<Self>,
        command: Command,
        at_least: i64,
        deadline: Instant,
    ) -> Result<ReservationOutcome, SubmitError> {
        if !self.health.writable() {
            return Err(ExecutionError::ReadOnly.into());
        }
        let seats = command.action.taken_seats();
        let gone = self.seat_maps.refusals(command.schedule, seats, at_least).await;
        if !gone.is_empty() && command.keyed.is_none() {
            return Ok(ReservationOutcome::Known(gone));
        }
        let running = match &command.keyed {
            Some(keyed) => match Running::begin(&self.running, &keyed.request) {
                Some(running) => Some(running),
                None => return Ok(ReservationOutcome::InProgress),
            },
            None => None,
        };
        let this = Arc::clone(self);
        let task = request_context::spawn(async move {
            let _running = running;
            if gone.is_empty() {
                this.run(command, deadline).await
            } else {
                this.unless_recorded(command, ReservationOutcome::Known(gone), deadline).await
            }
        });
        task.await.unwrap_or_else(|panic| {
            log::error!("a request failed: {panic}");
            Err(ExecutionError::Unknown.into())
        })
    }

    async fn run(
        &self,
        mut command: Command,
        deadline: Instant,
    ) -> Result<ReservationOutcome, SubmitError> {
        let locked = match self.lock(&command).await {
            Locking::Locked(token) => Some(token),
            Locking::NoHelp => None,
            Locking::Busy(seats) if self.are_left_over(&command, &seats).await => None,
            Locking::Busy(seats) => {
                let refused = ReservationOutcome::Contended(seats);
                return self.unless_recorded(command, refused, deadline).await;
            }
        };
        if locked.is_some() {
            faults::pass(FailPoint::AfterLock).await;
        }
        command.locked = locked.is_some();
        let (schedule, seats) = (command.schedule, command.action.taken_seats().to_vec());
        let gives_back = command.action.gives_back();
        let result = self.lanes.execute(command, deadline).await;
        faults::pass(FailPoint::BeforeUnlock).await;
        match &result {
            Ok(outcome) => {
                self.settle_locks(schedule, seats, locked, outcome).await;
                if gives_back {
                    // Locks of earlier requests for the same seats may still be on their way out.
                    self.locker.caught_up().await;
                }
            }
            // The seats may be taken: until that is known, nobody else should try for them.
            Err(SubmitError::Failed(ExecutionError::Unknown)) => {}
            Err(_) => self.unlock(schedule, seats, locked),
        }
        faults::pass(FailPoint::BeforeAnswer).await;
        result.map(ReservationOutcome::Outcome)
    }

    async fn lock(&self, command: &Command) -> Locking {
        let seats = command.action.taken_seats();
        if seats.is_empty() {
            return Locking::NoHelp;
        }
        let token = request_token(command);
        let request = LockRequest::Acquire {
            schedule: command.schedule,
            seats: seats.to_vec(),
            token,
            ttl: self.seat_lock_ttl,
        };
        match self.locker.ask(request).await {
            Ok(LockReply::Acquired) => Locking::Locked(token),
            // An earlier attempt of this very request, perhaps on another replica: the rows know.
            Ok(LockReply::Busy(holders))
                if command.keyed.is_some()
                    && holders.iter().any(|(_, holder)| holder.prefix == token.prefix) =>
            {
                Locking::NoHelp
            }
            Ok(LockReply::Busy(holders)) => Locking::Busy(
                holders.into_iter().map(|(seat, holder)| (seat, reason_of(holder))).collect(),
            ),
            Ok(LockReply::Matched(_) | LockReply::Failed(_)) | Err(_) => Locking::NoHelp,
        }
    }

    /// Whether the locks in the way are those of holds that have ended: a process that could not reach Redis may
    /// not have released them.
    async fn are_left_over(
        &self,
        command: &Command,
        busy: &[(SeatNumber, ConflictReason)],
    ) -> bool {
        let of_holds = busy.iter().all(|(_, reason)| *reason == ConflictReason::Held);
        let seats: Vec<SeatNumber> = busy.iter().map(|(seat, _)| *seat).collect();
        of_holds && self.seat_maps.are_free_now(command.schedule, &seats).await
    }

    /// A key that has had its effect answers with it, even if its seats are taken by now: perhaps by this
    /// very request.
    async fn unless_recorded(
        &self,
        command: Command,
        refused: ReservationOutcome,
        deadline: Instant,
    ) -> Result<ReservationOutcome, SubmitError> {
        if command.keyed.is_some() {
            let lookup = Command { action: Action::Lookup, locked: false, ..command };
            let found = self.lanes.execute(lookup, deadline).await?;
            if found != Outcome::NotRecorded {
                return Ok(ReservationOutcome::Outcome(found));
            }
        }
        Ok(refused)
    }

    async fn settle_locks(
        &self,
        schedule: ScheduleId,
        seats: Vec<SeatNumber>,
        locked: Option<LockToken>,
        outcome: &Outcome,
    ) {
        match outcome {
            Outcome::Done(Effect::Held(hold)) if locked.is_some() => {
                self.give_to_hold(hold, locked).await;
                return;
            }
            Outcome::Done(Effect::Extended(hold)) => self.give_to_hold(hold, None).await,
            Outcome::Done(Effect::Released(hold)) => self.release_hold(hold.id, &hold.seats).await,
            Outcome::Done(Effect::Confirmed(booking)) => {
                if let Some(hold) = booking.row.hold {
                    self.release_hold(hold, &booking.row.seats).await;
                }
            }
            _ => {}
        }
        self.unlock(schedule, seats, locked);
    }

    /// Waits for the answer: a lock re-tokened after its hold was released would outlive it.
    async fn give_to_hold(&self, hold: &HoldView, from: Option<LockToken>) {
        let to = hold_token(hold.row.id);
        let life = hold.ends_at.since(hold.now).saturating_sub(LOCK_ENDS_EARLIER);
        let request = LockRequest::Retoken {
            schedule: hold.row.id.schedule,
            seats: hold.row.seats.clone(),
            from: from.unwrap_or(to),
            to,
            ttl: life,
        };
        if let Err(error) = self.locker.ask(request).await {
            log::debug!("a hold goes without seat locks: {error}");
            // The request's own token would outlive a hold that is released soon.
            self.unlock(hold.row.id.schedule, hold.row.seats.clone(), from);
        }
    }

    /// Waits for the answer: somebody may want one of the seats next, on another replica.
    async fn release_hold(&self, hold: HoldId, seats: &[SeatNumber]) {
        let (schedule, token) = (hold.schedule, hold_token(hold));
        let request = LockRequest::Release { schedule, seats: seats.to_vec(), token };
        if let Err(error) = self.locker.ask(request).await {
            log::debug!("the locks of a hold that is over are left to their own end: {error}");
        }
    }

    /// Gives the locks up behind everything asked before; nobody waits for it.
    fn unlock(&self, schedule: ScheduleId, seats: Vec<SeatNumber>, token: Option<LockToken>) {
        if let Some(token) = token
            && !seats.is_empty()
        {
            self.locker.tell(LockRequest::Release { schedule, seats, token });
        }
    }

    /// One hold as it stands at the version `at_least` of its schedule or later.
    pub async fn hold(&self, id: HoldId, at_least: i64) -> Result<Option<HoldView>, StoreError> {
        self.store.hold(id, at_least).await
    }

    /// One booking as it stands at the version `at_least` of its schedule or later.
    pub async fn booking(
        &self,
        id: BookingId,
        at_least: i64,
    ) -> Result<Option<BookingView>, StoreError> {
        self.store.booking(id, at_least).await
    }

    /// Bookings by customer, schedule or both, in the order of their creation, as they stand at the version
    /// `at_least` of the schedule or later.
    pub async fn bookings(
        &self,
        filter: BookingFilter,
        at_least: i64,
        limit: usize,
    ) -> Result<Page<BookingView>, StoreError> {
        self.store.bookings(filter, at_least, limit).await
    }
}

enum Locking {
    Locked(LockToken),
    NoHelp,
    Busy(Vec<(SeatNumber, ConflictReason)>),
}

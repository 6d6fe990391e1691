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

mod running;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::actors::booking::{Declined, Lanes};
use crate::actors::health::Health;
use crate::actors::seat_lock::SeatLocker;
use crate::cause;
use crate::domain::catalogue::{BookingFilter, Page};
use crate::domain::claims::HoldRow;
use crate::domain::command::{Action, Command};
use crate::domain::effect::{BookingView, Effect, HoldView, Outcome};
use crate::domain::failure::{Failure, StoreError};
use crate::domain::ids::{BookingId, HoldId, ScheduleId, SeatNumber};
use crate::domain::refusal::ConflictReason;
use crate::faults::{self, Point};
use crate::lock::{LockReply, LockRequest, LockToken};
use crate::seat_map::SeatMaps;
use crate::store::Store;
use running::{Running, RunningKeys};

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
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
    seat_lock_ttl: Duration,
}

/// The top bit of a token's prefix says that a hold stands behind the lock, not a request.
const HOLD_BIT: u64 = 1 << 63;

/// A hold's lock ends this much before the hold, so that it never refuses a seat that is free again.
const LOCK_ENDS_EARLIER: Duration = Duration::from_millis(100);

impl Reservation {
    /// Wires the flow. `seat_lock_ttl` is the life of a lock whose request dies with its process.
    #[must_use]
    pub fn new(
        lanes: Arc<Lanes>,
        locker: Arc<SeatLocker>,
        health: Arc<Health>,
        seat_maps: Arc<SeatMaps>,
        store: Arc<Store>,
        seat_lock_ttl: Duration,
    ) -> Self {
        let running = Arc::default();
        Self { lanes, locker, health, seat_maps, store, running, seat_lock_ttl }
    }

    /// Takes a command to its outcome, or to the reason why there is none, before `deadline`.
    pub async fn reserve(
        self: &Arc<Self>,
        command: Command,
        deadline: Instant,
    ) -> Result<Reserved, Declined> {
        if !self.health.writable() {
            return Err(Failure::ReadOnly.into());
        }
        let gone = self.seat_maps.refusals(command.schedule, command.action.taken_seats());
        if !gone.is_empty() && command.keyed.is_none() {
            return Ok(Reserved::Known(gone));
        }
        let running = match &command.keyed {
            Some(keyed) => match Running::begin(&self.running, &keyed.request) {
                Some(running) => Some(running),
                None => return Ok(Reserved::InProgress),
            },
            None => None,
        };
        let this = Arc::clone(self);
        let task = cause::spawn(async move {
            let _running = running;
            if gone.is_empty() {
                this.run(command, deadline).await
            } else {
                this.unless_recorded(command, Reserved::Known(gone), deadline).await
            }
        });
        task.await.unwrap_or_else(|panic| {
            log::error!("a request failed: {panic}");
            Err(Failure::Unknown.into())
        })
    }

    async fn run(&self, mut command: Command, deadline: Instant) -> Result<Reserved, Declined> {
        let locked = match self.lock(&command).await {
            Locking::Locked(token) => Some(token),
            Locking::NoHelp => None,
            Locking::Busy(seats) => {
                let refused = Reserved::Contended(seats);
                return self.unless_recorded(command, refused, deadline).await;
            }
        };
        if locked.is_some() {
            faults::pass(Point::AfterLock).await;
        }
        command.locked = locked.is_some();
        let (schedule, seats) = (command.schedule, command.action.taken_seats().to_vec());
        let result = self.lanes.execute(command, deadline).await;
        faults::pass(Point::BeforeUnlock).await;
        match &result {
            Ok(outcome) => self.settle_locks(schedule, seats, locked, outcome).await,
            // The seats may be taken: until that is known, nobody else should try for them.
            Err(Declined::Failed(Failure::Unknown)) => {}
            Err(_) => self.unlock(schedule, seats, locked),
        }
        faults::pass(Point::BeforeAnswer).await;
        result.map(Reserved::Outcome)
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

    /// A key that has had its effect answers with it, even if its seats are taken by now: perhaps by this
    /// very request.
    async fn unless_recorded(
        &self,
        command: Command,
        refused: Reserved,
        deadline: Instant,
    ) -> Result<Reserved, Declined> {
        if command.keyed.is_some() {
            let lookup = Command { action: Action::Lookup, locked: false, ..command };
            let found = self.lanes.execute(lookup, deadline).await?;
            if found != Outcome::NotRecorded {
                return Ok(Reserved::Outcome(found));
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
            Outcome::Done(Effect::Released(hold)) => self.release_hold(hold).await,
            Outcome::Done(Effect::Confirmed(booking)) => {
                if let Some(hold) = booking.row.hold {
                    self.unlock(schedule, booking.row.seats.clone(), Some(hold_token(hold)));
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

    /// Waits for the answer: the owner may want one of the seats again, on another replica.
    async fn release_hold(&self, hold: &HoldRow) {
        let (schedule, token) = (hold.id.schedule, hold_token(hold.id));
        let request = LockRequest::Release { schedule, seats: hold.seats.clone(), token };
        if let Err(error) = self.locker.ask(request).await {
            log::debug!("the locks of a released hold are left to their own end: {error}");
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

    /// One hold as it stands.
    pub async fn hold(&self, id: HoldId) -> Result<Option<HoldView>, StoreError> {
        self.store.hold(id).await
    }

    /// One booking as it stands.
    pub async fn booking(&self, id: BookingId) -> Result<Option<BookingView>, StoreError> {
        self.store.booking(id).await
    }

    /// Bookings by customer, schedule or both, in the order of their creation.
    pub async fn bookings(
        &self,
        filter: BookingFilter,
        limit: usize,
    ) -> Result<Page<BookingView>, StoreError> {
        self.store.bookings(filter, limit).await
    }
}

enum Locking {
    Locked(LockToken),
    NoHelp,
    Busy(Vec<(SeatNumber, ConflictReason)>),
}

fn reason_of(holder: LockToken) -> ConflictReason {
    if holder.prefix & HOLD_BIT == 0 { ConflictReason::Contended } else { ConflictReason::Held }
}

fn request_token(command: &Command) -> LockToken {
    let prefix = match &command.keyed {
        Some(keyed) => {
            let mut hash = Sha256::new();
            hash.update(keyed.request.caller.as_bytes());
            hash.update([0]);
            hash.update(keyed.request.key.as_bytes());
            hash.finalize().iter().take(8).fold(0, |value, byte| value << 8 | u64::from(*byte))
        }
        None => fastrand::u64(..),
    };
    LockToken { prefix: prefix & !HOLD_BIT, attempt: fastrand::u64(..) }
}

/// The same on every replica, so that whoever ends the hold can release its locks.
fn hold_token(hold: HoldId) -> LockToken {
    let (high, low) = hold.uuid.as_u64_pair();
    LockToken { prefix: high | HOLD_BIT, attempt: low }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::command::{Keyed, RequestKey};

    fn command(key: Option<&str>) -> Command {
        let keyed = key.map(|key| Keyed {
            request: RequestKey { caller: "shop".to_owned(), key: key.to_owned() },
            fingerprint: String::new(),
        });
        Command {
            schedule: ScheduleId(1),
            action: Action::Lookup,
            keyed,
            locked: false,
            queued: None,
        }
    }

    #[test]
    fn attempts_of_one_request_share_a_prefix_and_nothing_else_does() {
        let (one, again) = (request_token(&command(Some("k"))), request_token(&command(Some("k"))));
        assert_eq!(one.prefix, again.prefix);
        assert_ne!(one.attempt, again.attempt);
        assert_ne!(one.prefix, request_token(&command(Some("other"))).prefix);
        assert_ne!(request_token(&command(None)).prefix, request_token(&command(None)).prefix);
    }

    #[test]
    fn a_lock_tells_a_hold_from_a_request() {
        let hold = HoldId { schedule: ScheduleId(1), uuid: uuid::Uuid::now_v7() };
        assert_eq!(hold_token(hold), hold_token(hold));
        assert_eq!(reason_of(hold_token(hold)), ConflictReason::Held);
        assert_eq!(reason_of(request_token(&command(Some("k")))), ConflictReason::Contended);
    }
}

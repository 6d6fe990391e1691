//! The seat locks of a command: acquired before the command is executed; afterwards released, or passed to its hold.

use std::time::Duration;

use crate::domain::command::{Action, Command};
use crate::domain::effect::{Effect, HoldView, Outcome};
use crate::domain::ids::{HoldId, ScheduleId, SeatNumber};
use crate::domain::rejection::ConflictReason;
use crate::lock::{LockReply, LockRequest, LockToken};

use super::BookingService;
use super::tokens::{hold_token, reason_of, request_token};

/// How much earlier than its hold a lock ends, so that the lock never refuses a seat that is free again.
const LOCK_TTL_MARGIN: Duration = Duration::from_millis(100);

/// The result of locking the seats of a command.
pub(super) enum Locking {
    /// The seats are locked with this token.
    Locked(LockToken),
    /// The command takes no seats, or the locks did not answer: the rows decide.
    Unlocked,
    /// Other requests or holds have the locks of these seats.
    Busy(Vec<(SeatNumber, ConflictReason)>),
}

/// Whether the hold that a command changes owns a lock.
fn is_of_changed_hold(command: &Command, holder: LockToken) -> bool {
    matches!(command.action, Action::Change { hold, .. } if hold_token(hold) == holder)
}

impl BookingService {
    pub(super) async fn lock(&self, command: &Command) -> Locking {
        let seats = command.action.taken_seats();
        if seats.is_empty() {
            return Locking::Unlocked;
        }
        let token = request_token(command);
        let request = LockRequest::Acquire {
            schedule: command.schedule,
            seats: seats.to_vec(),
            token,
            ttl: self.deps.seat_lock_ttl,
        };
        match self.deps.locker.execute(request).await {
            Ok(LockReply::Acquired) => Locking::Locked(token),
            // An earlier attempt of this very request has the locks, perhaps on another replica: the rows decide.
            Ok(LockReply::Busy(holders))
                if command.keyed.is_some()
                    && holders.iter().any(|(_, holder)| holder.prefix == token.prefix) =>
            {
                Locking::Unlocked
            }
            // The hold that the command changes has these seats already.
            Ok(LockReply::Busy(holders))
                if holders.iter().all(|(_, holder)| is_of_changed_hold(command, *holder)) =>
            {
                Locking::Unlocked
            }
            Ok(LockReply::Busy(holders)) => Locking::Busy(
                holders.into_iter().map(|(seat, holder)| (seat, reason_of(holder))).collect(),
            ),
            Ok(LockReply::Matched(_) | LockReply::Failed(_)) | Err(_) => Locking::Unlocked,
        }
    }

    /// Whether the conflicting locks belong to holds that have ended: a process that could not reach Redis may not have
    /// released them.
    pub(super) async fn locks_are_stale(
        &self,
        command: &Command,
        busy: &[(SeatNumber, ConflictReason)],
    ) -> bool {
        let of_holds = busy.iter().all(|(_, reason)| *reason == ConflictReason::Held);
        let seats: Vec<SeatNumber> = busy.iter().map(|(seat, _)| *seat).collect();
        of_holds && self.deps.seat_maps.are_free_now(command.schedule, &seats).await
    }

    /// Releases the locks that the outcome of a command makes unnecessary. `seats` are those that it took, `removed`
    /// those that it removed from a hold.
    pub(super) async fn unlock_after(
        &self,
        outcome: &Outcome,
        schedule: ScheduleId,
        seats: Vec<SeatNumber>,
        removed: &[SeatNumber],
        locked: Option<LockToken>,
    ) {
        match outcome {
            Outcome::Done(Effect::Held(hold)) if locked.is_some() => {
                self.retoken_for_hold(hold, locked).await;
                return;
            }
            Outcome::Done(Effect::Changed(hold)) => {
                if locked.is_some() {
                    self.retoken_for_hold(hold, locked).await;
                }
                if !removed.is_empty() {
                    self.unlock_hold(hold.row.id, removed).await;
                }
                return;
            }
            Outcome::Done(Effect::Extended(hold)) => self.retoken_for_hold(hold, None).await,
            Outcome::Done(Effect::Released(hold)) => self.unlock_hold(hold.id, &hold.seats).await,
            Outcome::Done(Effect::Confirmed(booking)) => {
                if let Some(hold) = booking.row.hold {
                    self.unlock_hold(hold, &booking.row.seats).await;
                }
            }
            _ => {}
        }
        self.unlock(schedule, seats, locked);
    }

    /// Replaces the token of the locks by the hold's token. Waits for the reply: if the hold were released first, a
    /// lock with its token would outlive it.
    async fn retoken_for_hold(&self, hold: &HoldView, from: Option<LockToken>) {
        let schedule = hold.row.id.schedule;
        let seats = hold.row.seats.clone();
        let to = hold_token(hold.row.id);
        let ttl = hold.ends_at.since(hold.now).saturating_sub(LOCK_TTL_MARGIN);
        let from_token = from.unwrap_or(to);
        let request = LockRequest::Retoken { schedule, seats, from: from_token, to, ttl };
        if let Err(error) = self.deps.locker.execute(request).await {
            log::debug!("a hold has no seat locks: {error}");
            // Locks with the token of the request would outlive a hold that is released soon.
            self.unlock(schedule, hold.row.seats.clone(), from);
        }
    }

    /// Releases the locks of a hold. Waits for the reply, because a request on another replica may try to take one of
    /// the seats next.
    async fn unlock_hold(&self, hold: HoldId, seats: &[SeatNumber]) {
        let schedule = hold.schedule;
        let token = hold_token(hold);
        let request = LockRequest::Release { schedule, seats: seats.to_vec(), token };
        if let Err(error) = self.deps.locker.execute(request).await {
            log::debug!("the locks of an ended hold were not released and will expire: {error}");
        }
    }

    /// Releases the locks after all requests that were sent before, without waiting for the reply.
    pub(super) fn unlock(
        &self,
        schedule: ScheduleId,
        seats: Vec<SeatNumber>,
        token: Option<LockToken>,
    ) {
        if let Some(token) = token
            && !seats.is_empty()
        {
            self.deps.locker.enqueue(LockRequest::Release { schedule, seats, token });
        }
    }
}

//! Seat locks in this process' memory: for one replica without Redis, and for tests.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::{LockError, LockReply, LockRequest, LockToken, SeatLocks, life_ms};
use crate::domain::ids::{ScheduleId, SeatNumber};

/// Expired locks are not looked for while there are fewer locks than this.
const PURGE_AT_LEAST: usize = 1024;

/// Seat locks in a map. One mutex is enough: whoever asks, asks for a whole list at once, and the time
/// under the mutex is that of a few look-ups.
#[derive(Debug, Default)]
pub struct InProcessLocks {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    locks: HashMap<(ScheduleId, SeatNumber), Lock>,
    /// How many locks there may be before the expired ones are thrown out: twice as many as were alive
    /// the last time, so that memory stays in proportion and the work per lock constant.
    purge_at: usize,
}

#[derive(Debug, Clone, Copy)]
struct Lock {
    token: LockToken,
    ends: Instant,
}

impl InProcessLocks {
    /// No seat is locked.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table, also after a panic of another thread: it is whole between any two of its changes, and
    /// a lock is never proof.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SeatLocks for InProcessLocks {
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>> {
        Box::pin(async move {
            let now = Instant::now();
            let mut table = self.table();
            Ok(requests.iter().map(|request| table.execute(request, now)).collect())
        })
    }
}

impl Table {
    fn execute(&mut self, request: &LockRequest, now: Instant) -> LockReply {
        match request {
            LockRequest::Acquire { schedule, seats, token, ttl } => {
                self.acquire(*schedule, seats, Lock::new(*token, *ttl, now), now)
            }
            LockRequest::Release { schedule, seats, token } => {
                let keys = self.carrying(*schedule, seats, *token, now);
                for key in &keys {
                    self.locks.remove(key);
                }
                LockReply::Matched(keys.len())
            }
            LockRequest::Retoken { schedule, seats, from, to, ttl } => {
                let keys = self.carrying(*schedule, seats, *from, now);
                for key in &keys {
                    self.locks.insert(*key, Lock::new(*to, *ttl, now));
                }
                LockReply::Matched(keys.len())
            }
        }
    }

    fn acquire(
        &mut self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        lock: Lock,
        now: Instant,
    ) -> LockReply {
        let busy: Vec<_> = seats
            .iter()
            .filter_map(|seat| Some((*seat, self.live(schedule, *seat, now)?)))
            .filter(|(_, token)| *token != lock.token)
            .collect();
        if !busy.is_empty() {
            return LockReply::Busy(busy);
        }
        self.purge(now);
        self.locks.extend(seats.iter().map(|seat| ((schedule, *seat), lock)));
        LockReply::Acquired
    }

    /// Who has the seat now.
    fn live(&self, schedule: ScheduleId, seat: SeatNumber, now: Instant) -> Option<LockToken> {
        self.locks.get(&(schedule, seat)).filter(|lock| lock.ends > now).map(|lock| lock.token)
    }

    fn carrying(
        &self,
        schedule: ScheduleId,
        seats: &[SeatNumber],
        token: LockToken,
        now: Instant,
    ) -> Vec<(ScheduleId, SeatNumber)> {
        seats
            .iter()
            .filter(|seat| self.live(schedule, **seat, now) == Some(token))
            .map(|seat| (schedule, *seat))
            .collect()
    }

    fn purge(&mut self, now: Instant) {
        if self.locks.len() >= self.purge_at {
            self.locks.retain(|_, lock| lock.ends > now);
            self.purge_at = self.locks.len().saturating_mul(2).max(PURGE_AT_LEAST);
        }
    }
}

impl Lock {
    fn new(token: LockToken, ttl: Duration, now: Instant) -> Self {
        Self { token, ends: now + Duration::from_millis(life_ms(ttl).into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEDULE: ScheduleId = ScheduleId(1);

    fn acquire(seat: u32, ttl: Duration) -> LockRequest {
        let token = LockToken { prefix: 1, attempt: seat.into() };
        LockRequest::Acquire { schedule: SCHEDULE, seats: vec![SeatNumber(seat)], token, ttl }
    }

    #[test]
    fn expired_locks_do_not_pile_up() {
        let mut table = Table::default();
        let begin = Instant::now();
        for seat in 0..100_000 {
            let now = begin + Duration::from_millis(seat.into());
            let reply = table.execute(&acquire(seat, Duration::from_millis(10)), now);
            assert_eq!(reply, LockReply::Acquired);
        }
        assert!(table.locks.len() <= PURGE_AT_LEAST, "{} locks", table.locks.len());
    }

    #[test]
    fn live_locks_survive_the_purge() {
        let mut table = Table::default();
        let now = Instant::now();
        for seat in 0..5_000 {
            table.execute(&acquire(seat, Duration::from_secs(30)), now);
        }
        assert_eq!(table.locks.len(), 5_000);
    }

    #[test]
    fn a_panic_elsewhere_does_not_end_the_locking() {
        let locks = std::sync::Arc::new(InProcessLocks::new());
        let poisoner = std::sync::Arc::clone(&locks);
        let died = std::thread::spawn(move || {
            let _table = poisoner.table();
            std::panic::resume_unwind(Box::new("somebody else's mistake"));
        });
        assert!(died.join().is_err());
        assert!(locks.table.is_poisoned());
        let reply = locks.table().execute(&acquire(1, Duration::from_secs(1)), Instant::now());
        assert_eq!(reply, LockReply::Acquired);
    }
}

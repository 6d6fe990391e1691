//! Seat locks: short mutual exclusion in front of the database. Losing them costs speed, never correctness.
//!
//! A lock is never proof. It keeps the many losers of a hot seat away from the booking engine; who owns a
//! seat is decided under row locks in `store`. Every backend answers a whole list of requests in one go,
//! because that is how `actors::seat_lock` asks: what gathered in its mailbox is one round trip.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::ids::{ScheduleId, SeatNumber};

/// The value under a lock: who took it. Compared whole on release.
///
/// `prefix` is the same for all attempts of one request (hash of caller and Idempotency-Key, or the hold's
/// id), `attempt` is random, so a request recognises its own earlier attempt without being able to
/// release it. Written as 32 hexadecimal digits: 16 of prefix, 16 of attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockToken {
    /// Who: equal for every attempt of the same request.
    pub prefix: u64,
    /// Which attempt: random.
    pub attempt: u64,
}

/// A text that is not a lock token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a lock token of 32 hexadecimal digits")]
pub struct InvalidToken;

impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.prefix, self.attempt)
    }
}

impl FromStr for LockToken {
    type Err = InvalidToken;

    /// Parses the 32 lowercase hexadecimal digits that `Display` writes, and no other form.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (prefix, attempt) = text.split_at_checked(16).ok_or(InvalidToken)?;
        let half = |digits| u64::from_str_radix(digits, 16).map_err(|_| InvalidToken);
        let token = Self { prefix: half(prefix)?, attempt: half(attempt)? };
        (token.to_string() == text).then_some(token).ok_or(InvalidToken)
    }
}

/// What is asked of the locks of some seats of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockRequest {
    /// Take all seats or none. A seat that carries exactly `token` already counts as free, so that a
    /// request whose answer was lost can be sent again.
    Acquire {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// Without repeats, at least one.
        seats: Vec<SeatNumber>,
        /// Written under each lock.
        token: LockToken,
        /// After this time the lock is gone by itself.
        ttl: Duration,
    },
    /// Give up those of the seats that still carry exactly `token`.
    Release {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// Without repeats, at least one.
        seats: Vec<SeatNumber>,
        /// Compared whole.
        token: LockToken,
    },
    /// Turn those of the seats that carry exactly `from` into locks of `to` with a new life; used when a
    /// hold is granted, and with `from == to` when it is extended.
    Retoken {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// Without repeats, at least one.
        seats: Vec<SeatNumber>,
        /// The token expected now.
        from: LockToken,
        /// The token written instead.
        to: LockToken,
        /// The new life, counted from now.
        ttl: Duration,
    },
}

/// The answer to one [`LockRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockReply {
    /// Every seat is locked by the token asked for.
    Acquired,
    /// Nothing was locked; these seats are locked by these tokens. At least one, in the order asked for.
    Busy(Vec<(SeatNumber, LockToken)>),
    /// How many of the seats still carried the token (released or re-tokened). Fewer than asked means
    /// that a lock was lost on the way: it expired, was evicted or was taken by a stranger.
    Matched(usize),
    /// This request alone could not be asked, or got no answer: its part of the backend is away. It may
    /// or may not have been executed.
    Failed(LockError),
}

/// Why the locks could not be asked; the caller goes on without them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The breaker is open, or the call was not let through while it recovers.
    #[error("seat locks are bypassed while their backend recovers")]
    Bypassed,
    /// No answer within the time budget. The request may still execute.
    #[error("no answer from the seat locks within the time budget")]
    Timeout,
    /// The backend answered with an error or could not be reached; the text says which.
    #[error("seat locks failed: {0}")]
    Backend(String),
}

/// A place where seat locks are kept. Implementations: [`in_process`], [`redis`], and [`guarded`] around
/// either.
pub trait SeatLocks: Send + Sync + 'static {
    /// Executes the requests in order, each atomically, and answers them in the same order (as many
    /// replies as requests). An error means that none was answered, and any of them may or may not have
    /// been executed. Order holds within a schedule only.
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>>;

    /// Whether the locks work, by taking and releasing one that no request asks for (schedule ids begin
    /// at 1) under a seat number of its own, so that probes of several replicas do not meet.
    fn probe(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(async move {
            let schedule = ScheduleId(0);
            let seats = vec![SeatNumber(fastrand::u32(..))];
            let token = LockToken { prefix: 0, attempt: fastrand::u64(..) };
            let take =
                LockRequest::Acquire { schedule, seats: seats.clone(), token, ttl: PROBE_LIFE };
            let give_back = LockRequest::Release { schedule, seats, token };
            self.run(&[take, give_back]).await.map(drop)
        })
    }
}

/// How long the lock of a probe stands if its release is lost.
const PROBE_LIFE: Duration = Duration::from_secs(1);

/// The life of a lock as backends count it: whole milliseconds, at least 1, at most 49 days.
fn life_ms(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX).max(1)
}

pub mod breaker;
pub mod guarded;
pub mod in_process;
pub mod jitter;
mod orphans;
pub mod redis;
mod scripts;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_32_hexadecimal_digits_prefix_first() {
        let token = LockToken { prefix: 0xab, attempt: u64::MAX };
        assert_eq!(token.to_string(), "00000000000000abffffffffffffffff");
        assert_eq!(token.to_string().parse(), Ok(token));
    }

    #[test]
    fn a_token_has_one_spelling() {
        for wrong in [
            "",
            "00000000000000abfffffffffffffff",
            "00000000000000abffffffffffffffff0",
            "00000000000000ABffffffffffffffff",
            "+0000000000000abffffffffffffffff",
            "00000000000000a\u{e9}ffffffffffffffff",
        ] {
            assert_eq!(wrong.parse::<LockToken>(), Err(InvalidToken), "{wrong:?}");
        }
    }

    #[test]
    fn a_life_is_at_least_a_millisecond() {
        assert_eq!(life_ms(Duration::ZERO), 1);
        assert_eq!(life_ms(Duration::from_micros(900)), 1);
        assert_eq!(life_ms(Duration::from_secs(30)), 30_000);
        assert_eq!(life_ms(Duration::MAX), u32::MAX);
    }
}

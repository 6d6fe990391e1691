//! Seat locks: short mutual exclusion before requests reach the database. If locks are lost, the service becomes
//! slower, but stays correct.
//!
//! A lock does not prove that a seat is free. Its purpose is that most requests for a popular seat do not reach the
//! database. The row locks in `store` decide which customer gets a seat. A backend executes a whole list of requests in
//! one call, because `actors::seat_lock` sends all requests of a batch in one round trip.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::ids::{ScheduleId, SeatNumber};

/// The value of a lock, which identifies its owner. A release compares the whole token.
///
/// `prefix` is the same for all attempts of one request (a hash of the caller and the Idempotency-Key, or the id of the
/// hold), and `attempt` is random. So an attempt recognises the locks of an earlier attempt of the same request, but
/// cannot release them. A token is written as 32 hexadecimal digits: 16 of the prefix, then 16 of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockToken {
    /// Identifies the request; the same for all its attempts.
    pub prefix: u64,
    /// Identifies the attempt; random.
    pub attempt: u64,
}

/// The error for a text that is not a lock token.
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

    /// Parses the 32 lowercase hexadecimal digits that `Display` writes, and no other format.
    fn from_str(text: &str) -> Result<Self, InvalidToken> {
        let (prefix, attempt) = text.split_at_checked(16).ok_or(InvalidToken)?;
        let half = |digits| u64::from_str_radix(digits, 16).map_err(|_| InvalidToken);
        let token = Self { prefix: half(prefix)?, attempt: half(attempt)? };
        (token.to_string() == text).then_some(token).ok_or(InvalidToken)
    }
}

/// A request for the locks of some seats of one schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockRequest {
    /// Locks all the seats or none. A seat that is already locked with exactly `token` counts as free, so that a
    /// request whose answer was lost can be retried.
    Acquire {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// At least one, without duplicates.
        seats: Vec<SeatNumber>,
        /// The value of each lock.
        token: LockToken,
        /// The time after which the lock expires.
        ttl: Duration,
    },
    /// Releases those of the seats that are still locked with exactly `token`.
    Release {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// At least one, without duplicates.
        seats: Vec<SeatNumber>,
        /// The expected token; the whole token is compared.
        token: LockToken,
    },
    /// Changes the token of those of the seats that are locked with exactly `from` to `to`, with a new TTL. It is used
    /// when a hold is granted, and with `from == to` when a hold is extended.
    Retoken {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// At least one, without duplicates.
        seats: Vec<SeatNumber>,
        /// The expected token.
        from: LockToken,
        /// The token that replaces it.
        to: LockToken,
        /// The new TTL, which begins now.
        ttl: Duration,
    },
}

/// The answer to one [`LockRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockReply {
    /// Every seat is locked with the token of the request.
    Acquired,
    /// No seat was locked, because these seats are locked with these other tokens. At least one seat, in the order of
    /// the request.
    Busy(Vec<(SeatNumber, LockToken)>),
    /// The number of seats that were still locked with the expected token; their locks are now released or changed. If
    /// it is lower than the number of requested seats, locks were lost: they expired, were evicted, or another owner
    /// has acquired them.
    Matched(usize),
    /// This request could not be sent or was not answered, because its part of the backend is unavailable. It may have
    /// been executed.
    Failed(LockError),
}

/// The reason why the locks gave no reply. The caller continues without locks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The breaker is open, or did not admit the call during the ramp after a recovery.
    #[error("seat locks are bypassed while their backend recovers")]
    Bypassed,
    /// No answer within the time budget. The request may still be executed.
    #[error("no answer from the seat locks within the time budget")]
    Timeout,
    /// The backend answered with an error or could not be reached. The text contains the details.
    #[error("seat locks failed: {0}")]
    Backend(String),
}

/// A backend of seat locks. The implementations are [`in_process`], [`redis`], and [`guarded`], which wraps another
/// backend.
pub trait SeatLocks: Send + Sync + 'static {
    /// Executes the requests, each atomically, and returns one reply for each request, in the same order.
    /// Requests of one schedule are executed in order. An error means that no request was answered; any of
    /// them may have been executed.
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>>;

    /// Checks that the locks work: acquires and releases a lock of schedule 0, which no request uses, because schedule
    /// ids start at 1. The seat number is random, so that the probes of several replicas do not conflict.
    fn probe(&self) -> BoxFuture<'_, Result<(), LockError>> {
        Box::pin(async move {
            let schedule = ScheduleId(0);
            let seats = vec![SeatNumber(fastrand::u32(..))];
            let token = LockToken { prefix: 0, attempt: fastrand::u64(..) };
            let acquire =
                LockRequest::Acquire { schedule, seats: seats.clone(), token, ttl: PROBE_TTL };
            let release = LockRequest::Release { schedule, seats, token };
            self.run(&[acquire, release]).await.map(drop)
        })
    }
}

/// The TTL of a probe's lock, in case its release is lost.
const PROBE_TTL: Duration = Duration::from_secs(1);

/// The TTL of a lock as backends count it: whole milliseconds, at least 1, at most 49 days.
fn ttl_ms(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_millis()).unwrap_or(u32::MAX).max(1)
}

mod breaker;
pub mod guarded;
pub mod in_process;
mod pending_releases;
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
    fn other_spellings_of_a_token_are_refused() {
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
    fn a_ttl_is_at_least_a_millisecond() {
        assert_eq!(ttl_ms(Duration::ZERO), 1);
        assert_eq!(ttl_ms(Duration::from_micros(900)), 1);
        assert_eq!(ttl_ms(Duration::from_secs(30)), 30_000);
        assert_eq!(ttl_ms(Duration::MAX), u32::MAX);
    }
}

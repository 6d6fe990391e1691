//! Seat locks: short mutual exclusion in front of the database. Losing them costs speed, never correctness.
//!
//! A lock does not prove that a seat is free. It keeps most requests for a popular seat off the database;
//! row locks in `store` decide the owner of a seat. Every backend executes a whole list of
//! requests in one call, because `actors::seat_lock` sends all requests of a batch in one round trip.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::domain::ids::{ScheduleId, SeatNumber};

/// The value of a lock: its owner. A release compares the whole token.
///
/// `prefix` is the same for all attempts of one request (hash of caller and Idempotency-Key, or the hold's
/// id), and `attempt` is random. So a request recognises its own earlier attempt, but cannot release its
/// locks. Written as 32 hexadecimal digits: 16 of the prefix, 16 of the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockToken {
    /// The request: equal for all its attempts.
    pub prefix: u64,
    /// The attempt: random.
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
    /// Lock all the seats or none. A seat that is locked by exactly `token` counts as free, so that a
    /// request whose answer was lost can be sent a second time.
    Acquire {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// At least one, without duplicates.
        seats: Vec<SeatNumber>,
        /// The value of each lock.
        token: LockToken,
        /// The lock ends by itself after this time.
        ttl: Duration,
    },
    /// Release those of the seats that are still locked by exactly `token`.
    Release {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// At least one, without duplicates.
        seats: Vec<SeatNumber>,
        /// The token expected now; all of it is compared.
        token: LockToken,
    },
    /// Change the locks of those seats that are locked by exactly `from` into locks of `to` with a new TTL.
    /// Used when a hold is granted, and with `from == to` when it is extended.
    Retoken {
        /// The seats' schedule.
        schedule: ScheduleId,
        /// At least one, without duplicates.
        seats: Vec<SeatNumber>,
        /// The token expected now.
        from: LockToken,
        /// The token written instead.
        to: LockToken,
        /// The new TTL, from now on.
        ttl: Duration,
    },
}

/// The answer to one [`LockRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LockReply {
    /// Every seat is locked by the token of the request.
    Acquired,
    /// Nothing was locked, because these seats are locked by these tokens. At least one seat, in the order of
    /// the request.
    Busy(Vec<(SeatNumber, LockToken)>),
    /// How many of the seats were still locked by the token (released or changed now). A lower number than
    /// requested means that a lock was lost: it expired, was evicted, or another owner took it.
    Matched(usize),
    /// This request alone could not be sent, or got no answer: its part of the backend is unavailable. It may
    /// have been executed.
    Failed(LockError),
}

/// Why there is no reply from the locks; the caller continues without locks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LockError {
    /// The breaker is open, or did not admit the call during the ramp after a recovery.
    #[error("seat locks are bypassed while their backend recovers")]
    Bypassed,
    /// No answer within the time budget. The request may still be executed.
    #[error("no answer from the seat locks within the time budget")]
    Timeout,
    /// The backend answered with an error or could not be reached; the text has the details.
    #[error("seat locks failed: {0}")]
    Backend(String),
}

/// A backend that keeps seat locks. Implementations: [`in_process`], [`redis`], and [`guarded`] around
/// another backend.
pub trait SeatLocks: Send + Sync + 'static {
    /// Executes the requests, each atomically, and returns one reply for each request, in the same order.
    /// Requests of one schedule are executed in order. An error means that no request was answered; any of
    /// them may have been executed.
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>>;

    /// Checks that the locks work: acquires and releases a lock that no request uses, since schedule ids
    /// start at 1. The seat number is random, so that probes of several replicas do not conflict.
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

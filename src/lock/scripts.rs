//! The Lua scripts of the Redis backend: turns requests into script calls, and answers into replies.
//!
//! The key of a lock is `{sch:42}:seat:1042`. The schedule is the hash tag, so all keys of a request are in one slot of
//! a cluster. The value is the token as 32 hexadecimal digits. Each script starts with a comment on its arguments and
//! result.

use super::{LockError, LockReply, LockRequest, LockToken, ttl_ms};
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::redis::{Cmd, Script, Value};

const ACQUIRE: &str = include_str!("scripts/acquire.lua");
const RELEASE: &str = include_str!("scripts/release.lua");
const RETOKEN: &str = include_str!("scripts/retoken.lua");

/// The scripts with their hashes.
pub(super) struct Scripts {
    acquire: Script,
    release: Script,
    retoken: Script,
}

impl Scripts {
    /// Computes the hashes.
    pub(super) fn new() -> Self {
        Self {
            acquire: Script::new(ACQUIRE),
            release: Script::new(RELEASE),
            retoken: Script::new(RETOKEN),
        }
    }

    /// All scripts.
    pub(super) fn all(&self) -> [&Script; 3] {
        [&self.acquire, &self.release, &self.retoken]
    }

    /// The call of the request's script, by the script's hash.
    pub(super) fn command(&self, request: &LockRequest) -> Cmd {
        match request {
            LockRequest::Acquire { schedule, seats, token, ttl } => {
                let mut command = evaluate(&self.acquire, *schedule, seats);
                command.arg(token.to_string()).arg(ttl_ms(*ttl));
                command
            }
            LockRequest::Release { schedule, seats, token } => {
                let mut command = evaluate(&self.release, *schedule, seats);
                command.arg(token.to_string());
                command
            }
            LockRequest::Retoken { schedule, seats, from, to, ttl } => {
                let mut command = evaluate(&self.retoken, *schedule, seats);
                command.arg(from.to_string()).arg(to.to_string()).arg(ttl_ms(*ttl));
                command
            }
        }
    }
}

fn key(schedule: ScheduleId, seat: SeatNumber) -> String {
    format!("{{sch:{schedule}}}:seat:{}", seat.0)
}

fn evaluate(script: &Script, schedule: ScheduleId, seats: &[SeatNumber]) -> Cmd {
    script.call(seats.iter().map(|seat| key(schedule, *seat)))
}

/// Decodes the answer of a script. Fails for an answer that the script of the request never gives.
pub(super) fn reply(request: &LockRequest, answer: Value) -> Result<LockReply, LockError> {
    let parsed = match (request, &answer) {
        (LockRequest::Acquire { seats, .. }, Value::Array(busy)) => busy_seats(seats, busy)
            .map(|busy| if busy.is_empty() { LockReply::Acquired } else { LockReply::Busy(busy) }),
        (LockRequest::Release { .. } | LockRequest::Retoken { .. }, Value::Int(matched)) => {
            usize::try_from(*matched).ok().map(LockReply::Matched)
        }
        _ => None,
    };
    let unexpected =
        || LockError::Backend(format!("unexpected answer of a lock script in redis: {answer:?}"));
    parsed.ok_or_else(unexpected)
}

/// Decodes the answer of the acquire script: for each busy seat the index of its key, and the value of the key.
fn busy_seats(seats: &[SeatNumber], busy: &[Value]) -> Option<Vec<(SeatNumber, LockToken)>> {
    busy.chunks(2)
        .map(|pair| match pair {
            [Value::Int(index), Value::BulkString(value)] => {
                let seat = seats.get(usize::try_from(*index).ok()?)?;
                Some((*seat, token_of(value)))
            }
            _ => None,
        })
        .collect()
}

/// The token in the value of a lock. A value that is no token, because another program wrote it, also locks its seat;
/// it is decoded as a token that no request has.
fn token_of(value: &[u8]) -> LockToken {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(LockToken { prefix: 0, attempt: 0 })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TOKEN: LockToken = LockToken { prefix: 1, attempt: 2 };

    fn acquire() -> LockRequest {
        let seats = vec![SeatNumber(7), SeatNumber(9)];
        LockRequest::Acquire { schedule: ScheduleId(42), seats, token: TOKEN, ttl: Duration::ZERO }
    }

    fn text(value: &str) -> Value {
        Value::BulkString(value.into())
    }

    #[test]
    fn the_schedule_is_the_hash_tag_of_a_key() {
        assert_eq!(key(ScheduleId(42), SeatNumber(1042)), "{sch:42}:seat:1042");
    }

    #[test]
    fn an_empty_answer_means_acquired_and_any_other_names_the_conflicts() {
        assert_eq!(reply(&acquire(), Value::Array(vec![])), Ok(LockReply::Acquired));
        let busy = Value::Array(vec![Value::Int(1), text(&TOKEN.to_string())]);
        assert_eq!(reply(&acquire(), busy), Ok(LockReply::Busy(vec![(SeatNumber(9), TOKEN)])));
    }

    #[test]
    fn a_value_that_is_no_token_is_a_conflict() {
        let unknown = LockToken { prefix: 0, attempt: 0 };
        let busy = Value::Array(vec![Value::Int(0), Value::BulkString(vec![0xff])]);
        assert_eq!(reply(&acquire(), busy), Ok(LockReply::Busy(vec![(SeatNumber(7), unknown)])));
    }

    #[test]
    fn an_unexpected_answer_is_an_error() {
        for answer in [
            Value::Nil,
            Value::Int(1),
            Value::Array(vec![Value::Int(0)]),
            Value::Array(vec![Value::Int(2), text("")]),
            Value::Array(vec![Value::Int(-1), text("")]),
        ] {
            assert!(matches!(reply(&acquire(), answer), Err(LockError::Backend(_))));
        }
    }
}

//! Seat locks in Redis: one key per seat, one script call per request, one pipeline per list.
//!
//! `scripts.rs` encodes the calls and decodes their answers; [`crate::redis`] sends them.

use futures_util::future::BoxFuture;

use super::scripts::{self, Scripts};
use super::{LockError, LockReply, LockRequest, SeatLocks};
use crate::redis::{Cmd, Redis, RedisFailure, RedisResult, Value};

/// Seat locks in Redis, in any topology.
pub struct RedisLocks {
    redis: Redis,
    scripts: Scripts,
}

impl RedisLocks {
    /// Locks in the Redis of this client.
    #[must_use]
    pub fn new(redis: Redis) -> Self {
        Self { redis, scripts: Scripts::new() }
    }
}

impl SeatLocks for RedisLocks {
    fn run<'a>(
        &'a self,
        requests: &'a [LockRequest],
    ) -> BoxFuture<'a, Result<Vec<LockReply>, LockError>> {
        Box::pin(async move {
            if requests.is_empty() {
                return Ok(Vec::new());
            }
            let commands: Vec<Cmd> =
                requests.iter().map(|request| self.scripts.command(request)).collect();
            let answers = self.redis.send_with(&commands, &self.scripts.all()).await?;
            let reply = |(request, answer): (_, RedisResult<Value>)| {
                let answer = answer.map_err(|error| LockError::from(RedisFailure::from(error)));
                let reply = answer.and_then(|answer| scripts::reply(request, answer));
                reply.unwrap_or_else(LockReply::Failed)
            };
            let replies: Vec<_> = requests.iter().zip(answers).map(reply).collect();
            let all_failed = replies.iter().all(|reply| matches!(reply, LockReply::Failed(_)));
            match replies.first() {
                Some(LockReply::Failed(error)) if all_failed => Err(error.clone()),
                _ => Ok(replies),
            }
        })
    }
}

impl From<RedisFailure> for LockError {
    fn from(failure: RedisFailure) -> Self {
        match failure {
            RedisFailure::Timeout => Self::Timeout,
            RedisFailure::Backend(text) => Self::Backend(text),
        }
    }
}

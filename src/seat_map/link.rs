//! Sends commands to the Redis that the processes share, while its breaker is closed.

use std::time::Duration;

use tokio::sync::watch;

use crate::breaker::BreakerState;
use crate::redis::{Cmd, Redis, Script, Value, cmd};

/// A Redis and the breaker in front of it. Clones share both.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) redis: Redis,
    /// Commands are sent only while the breaker is closed.
    pub(super) breaker: watch::Receiver<BreakerState>,
}

/// A time as an argument of a script.
pub(super) fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Link {
    /// Sends commands, and returns the answer to each. The answer is `None` if the command failed; all answers are
    /// `None` while Redis is bypassed or unavailable.
    pub(super) async fn send_each(
        &self,
        commands: &[Cmd],
        scripts: &[&Script],
    ) -> Vec<Option<Value>> {
        let no_answers = || commands.iter().map(|_| None).collect();
        if *self.breaker.borrow() != BreakerState::Closed {
            return no_answers();
        }
        match self.redis.send_with(commands, scripts).await {
            Ok(answers) => answers.into_iter().map(Result::ok).collect(),
            Err(error) => {
                // The seat locks use the same Redis. They log its failures and open the breaker.
                log::debug!("maps are not shared now: {error}");
                no_answers()
            }
        }
    }

    /// Sends commands, and returns the answers to all of them; `None` if one of them failed.
    pub(super) async fn send(&self, commands: &[Cmd], scripts: &[&Script]) -> Option<Vec<Value>> {
        self.send_each(commands, scripts).await.into_iter().collect()
    }
}

pub(super) fn get(key: &str) -> Cmd {
    let mut command = cmd("GET");
    command.arg(key);
    command
}

pub(super) fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

pub(super) fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    text(value)?.parse().ok()
}

//! Calls to the Redis that processes share, while its breaker is closed.

use tokio::sync::watch;

use crate::breaker::BreakerState;
use crate::redis::{Cmd, Redis, Script, Value, cmd};

/// A Redis and the breaker in front of it. Clones share both.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) redis: Redis,
    /// Nothing is sent unless it is closed.
    pub(super) breaker: watch::Receiver<BreakerState>,
}

impl Link {
    /// The answer to each command; `None` for a command that failed, and for all while Redis is bypassed or
    /// unavailable.
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

    /// The answers to all commands; `None` if one of them failed.
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

//! Errors of Redis and of the connections to it, and which of them suggest another master.

use std::io;

use deadpool_redis::PoolError;
use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why there is no answer of Redis.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisFailure {
    /// No answer in time. The commands may still be executed.
    #[error("no answer from redis within the time budget")]
    Timeout,
    /// Redis answered with an error or could not be reached; the text has the details.
    #[error("{0}")]
    Backend(String),
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Backend(error.to_string()) }
    }
}

/// The error of a checkout as an error of a command, so that callers recognise time-outs in one way.
pub(super) fn pool_error(error: PoolError) -> RedisError {
    match error {
        PoolError::Timeout(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
        PoolError::Backend(error) => error,
        other => io::Error::other(other.to_string()).into(),
    }
}

/// An error with a text of its own.
pub(super) fn other_error(text: String) -> RedisError {
    io::Error::other(text).into()
}

/// Whether the server is no usable master: a demoted master (READONLY), a replica without a connection to its
/// master (MASTERDOWN), a server that is loading its data (LOADING). The connections to it are closed then, and
/// the masters are discovered again.
pub(super) fn is_failover_error(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
        )
    )
}

/// Whether the masters are probably other ones than those known.
pub(super) fn is_topology_error(error: &RedisError) -> bool {
    is_failover_error(error)
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ClusterDown)
        )
}

//! Errors of Redis and of its connections, and which of them indicate that another server is the master now.

use std::io;

use deadpool::managed::PoolError;
use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};

/// The reason why Redis gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisFailure {
    /// No answer in time. The commands may still be executed.
    #[error("no answer from redis within the time budget")]
    Timeout,
    /// Redis answered with an error or could not be reached. The text contains the details.
    #[error("{0}")]
    Backend(String),
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Backend(error.to_string()) }
    }
}

/// Converts the error of a checkout to the error of a command, so that callers recognise all time-outs in the same way.
pub(super) fn pool_error(error: PoolError<RedisError>) -> RedisError {
    match error {
        PoolError::Timeout(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
        PoolError::Backend(error) => error,
        other => io::Error::other(other.to_string()).into(),
    }
}

/// An error with this text.
pub(super) fn other_error(text: String) -> RedisError {
    io::Error::other(text).into()
}

/// Whether the error means that the server cannot be used as a master: it is a demoted master (READONLY), a replica
/// without a connection to its master (MASTERDOWN), or is loading its data (LOADING). After such an error the
/// connections to the server are closed, and the masters are discovered again.
pub(super) fn is_failover_error(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
        )
    )
}

/// Whether the error indicates that the known masters are probably outdated.
pub(super) fn is_topology_error(error: &RedisError) -> bool {
    is_failover_error(error)
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ClusterDown)
        )
}

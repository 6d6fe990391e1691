//! What can go wrong between this process and Redis, and what that says about the server asked.

use std::io;

use deadpool_redis::PoolError;
use deadpool_redis::redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why Redis could not be asked, or gave an error instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedisFailure {
    /// No answer in time. What was sent may still be executed.
    #[error("no answer from redis within the time budget")]
    Timeout,
    /// Redis answered with an error or could not be reached; the text says which.
    #[error("{0}")]
    Backend(String),
}

impl From<RedisError> for RedisFailure {
    fn from(error: RedisError) -> Self {
        if error.is_timeout() { Self::Timeout } else { Self::Backend(error.to_string()) }
    }
}

/// A checkout that failed as if the command had: callers tell time-outs from other errors alike.
pub(super) fn of_pool(error: PoolError) -> RedisError {
    match error {
        PoolError::Timeout(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
        PoolError::Backend(error) => error,
        other => io::Error::other(other.to_string()).into(),
    }
}

/// Whether the answer says that this server is the wrong one, or not ready to be one: a demoted master
/// (READONLY), a replica cut off from its master (MASTERDOWN), a server that reads its data (LOADING).
/// Its connections are of no use, and who is to be asked has to be found out again.
pub(super) fn shuns_us(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(
            ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
        )
    )
}

/// Whether the answer says that what is known of the cluster's nodes is out of date.
pub(super) fn topology_moved(error: &RedisError) -> bool {
    shuns_us(error)
        || matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::ClusterDown)
        )
}

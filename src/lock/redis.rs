//! Seat locks in Redis: one key a seat, one script a request, one pipeline a list.
//!
//! This file is the pool and the round trip; `scripts.rs` says what is sent and what the answers
//! mean.

use std::fmt;
use std::time::Duration;

use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind,
    IntoConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value,
    io::tcp::TcpSettings,
};
use deadpool_redis::{Connection, Manager, Pool, PoolConfig, PoolError, Runtime, Timeouts};
use futures_util::future::BoxFuture;

use super::scripts::{self, Scripts};
use super::{LockError, LockReply, LockRequest, SeatLocks};

/// Where Redis is and how long to wait for it.
#[derive(Clone)]
pub struct RedisSettings {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database number; 0 unless databases are shared.
    pub db: i64,
    /// The user of Redis' access control lists; `None` is its default user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// The most connections at a time; at least 1.
    pub pool_size: usize,
    /// The most time each of these may take: a free connection, a new one, an answer.
    pub round_trip: Duration,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("db", &self.db)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "(hidden)"))
            .field("pool_size", &self.pool_size)
            .field("round_trip", &self.round_trip)
            .finish()
    }
}

/// Seat locks in one Redis server.
pub struct RedisLocks {
    pool: Pool,
    scripts: Scripts,
}

impl RedisLocks {
    /// Prepares the pool; connects with the first request. Fails on settings that no server could suit.
    pub fn new(settings: RedisSettings) -> Result<Self, LockError> {
        let connection = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.round_trip))
            .set_response_timeout(Some(settings.round_trip));
        let manager =
            Manager::new_with_config(address(&settings)?, connection).map_err(lock_error)?;
        let patience = Some(settings.round_trip);
        let config = PoolConfig {
            max_size: settings.pool_size,
            timeouts: Timeouts { wait: patience, create: patience, recycle: patience },
            ..PoolConfig::default()
        };
        let pool = Pool::builder(manager)
            .config(config)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| LockError::Backend(error.to_string()))?;
        Ok(Self { pool, scripts: Scripts::new() })
    }

    /// One checkout, one round trip; a second one only when Redis does not know the scripts.
    async fn round_trip(&self, requests: &[LockRequest]) -> Result<Vec<LockReply>, LockError> {
        let commands: Vec<Cmd> =
            requests.iter().map(|request| self.scripts.command(request)).collect();
        let mut suspicion = Suspicion { pool: &self.pool, cleared: false };
        let mut connection = self.pool.get().await.map_err(pool_error)?;
        let mut answers = send(&mut connection, &commands).await?;
        self.answer_what_found_no_script(&mut connection, &commands, &mut answers).await?;
        let replies = requests
            .iter()
            .zip(answers)
            .map(|(request, answer)| scripts::reply(request, answer.map_err(lock_error)?))
            .collect::<Result<Vec<_>, LockError>>()?;
        suspicion.cleared = true;
        Ok(replies)
    }

    /// After a restart, a failover or SCRIPT FLUSH: loads the scripts and sends again exactly the commands
    /// that had found none, since those had no effect. Only if another replica loads them between two
    /// commands of this list, an earlier one can come after a later one; that costs a refusal at most.
    async fn answer_what_found_no_script(
        &self,
        connection: &mut Connection,
        commands: &[Cmd],
        answers: &mut [RedisResult<Value>],
    ) -> Result<(), LockError> {
        let no_script = ErrorKind::Server(ServerErrorKind::NoScript);
        let (missing, slots): (Vec<Cmd>, Vec<&mut RedisResult<Value>>) = commands
            .iter()
            .zip(answers)
            .filter(|(_, answer)| answer.as_ref().is_err_and(|error| error.kind() == no_script))
            .map(|(command, answer)| (command.clone(), answer))
            .unzip();
        if missing.is_empty() {
            return Ok(());
        }
        let mut again = Scripts::load();
        let loads = again.len();
        again.extend(missing);
        let mut second = send(connection, &again).await?.into_iter();
        for loaded in second.by_ref().take(loads) {
            loaded.map_err(lock_error)?;
        }
        for (slot, answer) in slots.into_iter().zip(second) {
            *slot = answer;
        }
        Ok(())
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
            self.round_trip(requests).await
        })
    }
}

/// Until it is cleared, every idle connection of the pool is thrown away when this goes out of scope: a
/// call that failed or was cancelled often means that the server is gone, and the pool's connections with
/// it. Kept, each would cost a later call a time-out of its own before the pool noticed. Must be declared
/// before the connection, which is then back in the pool by the time this is dropped.
struct Suspicion<'a> {
    pool: &'a Pool,
    cleared: bool,
}

impl Drop for Suspicion<'_> {
    fn drop(&mut self) {
        if !self.cleared {
            self.pool.retain(|_, _| false);
        }
    }
}

fn address(settings: &RedisSettings) -> Result<ConnectionInfo, LockError> {
    let mut user = RedisConnectionInfo::default().set_db(settings.db);
    if let Some(username) = &settings.username {
        user = user.set_username(username);
    }
    if let Some(password) = &settings.password {
        user = user.set_password(password);
    }
    let address = ConnectionAddr::Tcp(settings.host.clone(), settings.port);
    let info = address.into_connection_info().map_err(lock_error)?;
    // Nagle's algorithm would hold back the end of a pipeline.
    Ok(info.set_redis_settings(user).set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

/// Each command's own answer or error: in a pipeline one command's error says nothing about the others.
async fn send(
    connection: &mut Connection,
    commands: &[Cmd],
) -> Result<Vec<RedisResult<Value>>, LockError> {
    let mut pipeline = redis::Pipeline::with_capacity(commands.len());
    for command in commands {
        pipeline.add_command(command.clone());
    }
    pipeline.ignore_errors().query_async(connection).await.map_err(lock_error)
}

fn pool_error(error: PoolError) -> LockError {
    match error {
        PoolError::Timeout(_) => LockError::Timeout,
        PoolError::Backend(error) => lock_error(error),
        other => LockError::Backend(other.to_string()),
    }
}

fn lock_error(error: RedisError) -> LockError {
    if error.is_timeout() { LockError::Timeout } else { LockError::Backend(error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let settings = RedisSettings {
            host: "localhost".into(),
            port: 6379,
            db: 0,
            username: None,
            password: Some("open sesame".into()),
            pool_size: 1,
            round_trip: Duration::from_millis(50),
        };
        assert!(!format!("{settings:?}").contains("sesame"));
    }
}

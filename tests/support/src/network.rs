//! The network between a process of the service and its servers.

use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::relay::Relay;

/// A relay to PostgreSQL and one to Redis.
pub struct Network {
    /// The relay to the database.
    pub postgres: Relay,
    /// The relay to Redis.
    pub redis: Relay,
}

impl Network {
    /// Relays to these servers.
    #[must_use]
    pub fn to(postgres: &Postgres, redis: &Redis) -> Self {
        Self::to_port(postgres.port(), redis)
    }

    /// Relays to a database on this port, and to Redis.
    #[must_use]
    pub fn to_port(postgres: u16, redis: &Redis) -> Self {
        Self { postgres: Relay::to(postgres), redis: Relay::to(redis.port()) }
    }

    /// The variables with which a process uses the relays, followed by `more`; `database` is the address of its
    /// database.
    pub fn variables<'a>(
        &self,
        database: &str,
        more: &[(&'a str, &str)],
    ) -> Vec<(&'a str, String)> {
        let (server, name) = database.rsplit_once('/').expect("an address ends in a name");
        let (host, _) = server.rsplit_once(':').expect("an address has a port");
        let relays = [
            ("WRITE_DB_URL", format!("{host}:{}/{name}", self.postgres.port())),
            ("REDIS_HOST", "127.0.0.1".to_owned()),
            ("REDIS_PORT", self.redis.port().to_string()),
        ];
        let more = more.iter().map(|(name, value)| (*name, (*value).to_owned()));
        relays.into_iter().chain(more).collect()
    }
}

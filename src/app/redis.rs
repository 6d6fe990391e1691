//! The configuration of Redis as settings of its connections.

use std::time::Duration;

use crate::config::{HostPort, RedisConfig, RedisMode, Secret};
use crate::redis::{Address, Form, RedisSettings, Tls};

/// The settings of the connections to Redis as the configuration has them. `budget` is what the caller
/// gives a list of commands; a fifth of it is left for those who got an answer to have it when the rest
/// of a cluster does not answer.
pub(super) fn settings(config: &RedisConfig, budget: Duration) -> RedisSettings {
    let address = |at: &HostPort| Address { host: at.host.clone(), port: at.port };
    let text = |secret: &Secret| secret.expose().to_owned();
    let db = i64::from(config.database);
    let form = match &config.mode {
        RedisMode::Standalone { address: at } => Form::Standalone { address: address(at), db },
        RedisMode::Sentinel { sentinels, master, password } => Form::Sentinel {
            sentinels: sentinels.iter().map(address).collect(),
            master: master.clone(),
            password: password.as_ref().map(text),
            db,
        },
        RedisMode::Cluster { nodes } => {
            Form::Cluster { seeds: nodes.iter().map(address).collect() }
        }
    };
    RedisSettings {
        form,
        username: config.username.clone(),
        password: config.password.as_ref().map(text),
        tls: config.tls.then(|| Tls { ca: config.tls_ca.clone() }),
        pool_size: config.pool,
        round_trip: budget * 4 / 5,
    }
}

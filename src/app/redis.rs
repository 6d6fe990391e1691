//! The settings of the Redis client, from the configuration.

use std::time::Duration;

use crate::config::{HostPort, RedisConfig, RedisMode, Secret};
use crate::redis::{Address, RedisSettings, Tls, Topology};

/// The settings of the client. `budget` is the caller's time for a list of commands. A round trip gets four fifths of
/// it: if a part of a cluster does not answer, the answers of the other parts then arrive within the budget.
pub(super) fn settings(config: &RedisConfig, budget: Duration) -> RedisSettings {
    let address = |at: &HostPort| Address { host: at.host.clone(), port: at.port };
    let text = |secret: &Secret| secret.expose().to_owned();
    let client = &config.client;
    let db = i64::from(client.database);
    let topology = match &config.mode {
        RedisMode::Standalone { address: at } => Topology::Standalone { address: address(at), db },
        RedisMode::Sentinel { sentinels, master, password } => Topology::Sentinel {
            sentinels: sentinels.iter().map(address).collect(),
            master: master.clone(),
            password: password.as_ref().map(text),
            db,
        },
        RedisMode::Cluster { nodes } => {
            Topology::Cluster { seeds: nodes.iter().map(address).collect() }
        }
    };
    RedisSettings {
        topology,
        username: client.username.clone(),
        password: client.password.as_ref().map(text),
        tls: client.tls.then(|| Tls { ca: client.tls_ca.clone() }),
        pool_size: client.pool,
        round_trip: budget * 4 / 5,
    }
}

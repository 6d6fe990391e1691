//! The parameters of connections: address, login, encryption, time-outs.

use std::time::Duration;

use deadpool_redis::redis::io::tcp::TcpSettings;
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    RedisConnectionInfo, RedisResult,
};

use super::settings::Address;
use super::tls::RedisTls;

/// Makes connections to servers with the same login.
#[derive(Clone)]
pub(super) struct RedisConnector {
    pub(super) login: RedisConnectionInfo,
    pub(super) encryption: Option<RedisTls>,
    pub(super) pool_size: usize,
    pub(super) round_trip: Duration,
}

impl RedisConnector {
    pub(super) fn info(&self, address: &Address) -> RedisResult<ConnectionInfo> {
        let address = match &self.encryption {
            Some(encryption) => encryption.address(address),
            None => ConnectionAddr::Tcp(address.host.clone(), address.port),
        };
        let info = address.into_connection_info()?;
        // Nagle's algorithm would delay the end of a pipeline.
        let tcp = TcpSettings::default().set_nodelay(true);
        Ok(info.set_redis_settings(self.login.clone()).set_tcp_settings(tcp))
    }

    pub(super) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.round_trip))
            .set_response_timeout(Some(self.round_trip))
    }

    pub(super) fn client(&self, address: &Address) -> RedisResult<Client> {
        Client::open(self.info(address)?)
    }
}

/// The login and the database number.
pub(super) fn login(
    username: Option<&String>,
    password: Option<&String>,
    db: i64,
) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_db(db);
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}

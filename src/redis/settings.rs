//! The settings of the client: topology, addresses, login, encryption, limits.

use std::fmt;
use std::time::Duration;

/// The address of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host name or IP address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// Parses `host:port` as servers write it in redirections. An IPv6 address has no brackets there. An empty host
    /// means the host of the server that answered (`asked`).
    pub(super) fn of_redirection(text: &str, asked: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() { asked } else { host };
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How many servers there are, and which of them is the master.
#[derive(Clone)]
pub enum Topology {
    /// One server.
    Standalone {
        /// The server.
        address: Address,
        /// Database number.
        db: i64,
    },
    /// The master that Sentinels name.
    Sentinel {
        /// The Sentinels; at least one.
        sentinels: Vec<Address>,
        /// The name of the master in the Sentinels' configuration.
        master: String,
        /// The password of the Sentinels themselves.
        password: Option<String>,
        /// Database number on the master.
        db: i64,
    },
    /// A Redis Cluster.
    Cluster {
        /// Nodes from which the slots are requested first; at least one.
        seeds: Vec<Address>,
    },
}

/// Which certificates are trusted for encrypted connections.
#[derive(Clone, Default)]
pub struct Tls {
    /// Certificate authorities to trust in addition to those of the system, in PEM format.
    pub ca: Option<String>,
}

/// Settings of a client.
#[derive(Clone)]
pub struct RedisSettings {
    /// The topology with its addresses.
    pub topology: Topology,
    /// The user of Redis' access control lists; `None` for the default user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Encryption of all connections, those to Sentinels included; `None` for plain connections.
    pub tls: Option<Tls>,
    /// The most connections to one server; at least 1.
    pub pool_size: usize,
    /// The most time that a list of commands may take, from the checkout of a connection to the last answer,
    /// redirections included.
    pub round_trip: Duration,
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standalone { address, db } => write!(f, "standalone {address} database {db}"),
            Self::Sentinel { sentinels, master, password, db } => {
                write!(f, "master {master:?} database {db} by sentinels {sentinels:?}")?;
                write!(f, " password {:?}", password.as_ref().map(|_| HIDDEN))
            }
            Self::Cluster { seeds } => write!(f, "cluster {seeds:?}"),
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("topology", &self.topology)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| HIDDEN))
            .field("tls", &self.tls.is_some())
            .field("pool_size", &self.pool_size)
            .field("round_trip", &self.round_trip)
            .finish()
    }
}

const HIDDEN: &str = "(hidden)";

#[cfg(test)]
mod tests {
    use super::*;

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    #[test]
    fn passwords_are_not_shown() {
        let topology = Topology::Sentinel {
            sentinels: vec![address("localhost", 26379)],
            master: "seats".into(),
            password: Some("open barley".into()),
            db: 0,
        };
        let settings = RedisSettings {
            topology,
            username: None,
            password: Some("open sesame".into()),
            tls: None,
            pool_size: 1,
            round_trip: Duration::from_millis(50),
        };
        assert!(!format!("{settings:?}").contains("open"));
    }

    #[test]
    fn all_spellings_of_a_redirection_are_parsed() {
        let parse = |text| Address::of_redirection(text, "asked");
        assert_eq!(parse("10.0.0.1:7000"), Some(address("10.0.0.1", 7000)));
        assert_eq!(parse("node-1.redis:7000"), Some(address("node-1.redis", 7000)));
        assert_eq!(parse("::1:7000"), Some(address("::1", 7000)));
        assert_eq!(parse(":7000"), Some(address("asked", 7000)));
        assert_eq!(parse("nowhere"), None);
    }
}

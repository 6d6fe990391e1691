//! What there is to know about a Redis before the first connection: its form, its addresses, how to log in.

use std::fmt;
use std::time::Duration;

/// Where one server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Name or address, an IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// Reads `host:port` as servers write it in redirections: an IPv6 address has no brackets there, and
    /// without a host the one that answered (`asked`) is meant.
    pub(super) fn redirected(text: &str, asked: &str) -> Option<Self> {
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

/// The forms in which Redis comes.
#[derive(Clone)]
pub enum Form {
    /// One server.
    Standalone {
        /// The server.
        address: Address,
        /// Database number; 0 unless databases are shared.
        db: i64,
    },
    /// A master that Sentinels name.
    Sentinel {
        /// The Sentinels; at least one.
        sentinels: Vec<Address>,
        /// The name under which they know the master.
        master: String,
        /// The password of the Sentinels themselves.
        password: Option<String>,
        /// Database number on the master.
        db: i64,
    },
    /// A Redis Cluster.
    Cluster {
        /// Nodes to learn the others from; at least one.
        seeds: Vec<Address>,
    },
}

/// Which certificates are believed when connections are encrypted.
#[derive(Clone, Default)]
pub struct Tls {
    /// Authorities to believe beside the system's, as PEM.
    pub ca: Option<String>,
}

/// Where Redis is and how long to wait for it.
#[derive(Clone)]
pub struct RedisSettings {
    /// Its form, with the addresses.
    pub form: Form,
    /// The user of Redis' access control lists; `None` is its default user.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Encryption of all connections, those to Sentinels included; `None` is none.
    pub tls: Option<Tls>,
    /// The most connections at a time to one server; at least 1.
    pub pool_size: usize,
    /// The most time that sending a list of commands may take, from the checkout of a connection to the
    /// last answer, redirections included.
    pub round_trip: Duration,
}

impl fmt::Debug for Form {
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
            .field("form", &self.form)
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
        let form = Form::Sentinel {
            sentinels: vec![address("localhost", 26379)],
            master: "seats".into(),
            password: Some("open barley".into()),
            db: 0,
        };
        let settings = RedisSettings {
            form,
            username: None,
            password: Some("open sesame".into()),
            tls: None,
            pool_size: 1,
            round_trip: Duration::from_millis(50),
        };
        assert!(!format!("{settings:?}").contains("open"));
    }

    #[test]
    fn redirections_are_read_in_all_their_spellings() {
        let read = |text| Address::redirected(text, "asked");
        assert_eq!(read("10.0.0.1:7000"), Some(address("10.0.0.1", 7000)));
        assert_eq!(read("node-1.redis:7000"), Some(address("node-1.redis", 7000)));
        assert_eq!(read("::1:7000"), Some(address("::1", 7000)));
        assert_eq!(read(":7000"), Some(address("asked", 7000)));
        assert_eq!(read("nowhere"), None);
    }
}

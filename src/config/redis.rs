//! Redis: its kind, its addresses, and its credentials.

use std::time::Duration;

use deadpool_redis::redis::{Client, ConnectionAddr, IntoConnectionInfo as _, TlsCertificates};

use super::address::{HostPort, parse_host};
use super::macros::variables;
use super::reader::Reader;
use super::secret::Secret;

const PASSWORD: &str = "\"$(openssl rand -hex 24)\"";

/// Settings of Redis. Without `REDIS_HOST` (or the nodes of a Sentinel or Cluster) there is no Redis, and seat locks
/// are kept in this process.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// The kind of Redis, with its addresses.
    pub mode: RedisMode,
    /// The credentials and the number of connections.
    pub client: RedisClientConfig,
}

/// The kind of Redis, with its addresses.
#[derive(Debug, Clone)]
pub enum RedisMode {
    /// One server.
    Standalone {
        /// Its address.
        address: HostPort,
    },
    /// A primary whose address the Sentinels return.
    Sentinel {
        /// The Sentinels; at least one.
        sentinels: Vec<HostPort>,
        /// The name of the primary in the Sentinels' configuration.
        master: String,
        /// The password of the Sentinels.
        password: Option<Secret>,
    },
    /// A Redis Cluster.
    Cluster {
        /// The nodes from which the client learns the others; at least one.
        nodes: Vec<HostPort>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum ModeName {
    Standalone,
    Sentinel,
    Cluster,
}

variables! {
    /// The addresses of every kind of Redis.
    struct RedisAddresses {
        /// kind of Redis: standalone, sentinel or cluster
        mode: ModeName = REDIS_MODE.choice(
            ModeName::Standalone,
            &[
                ("standalone", ModeName::Standalone),
                ("sentinel", ModeName::Sentinel),
                ("cluster", ModeName::Cluster),
            ],
        ),
        /// host of a standalone Redis; seat locks are kept in this process if not set
        host: Option<String> = REDIS_HOST.optional(
            "a host name or address without scheme and port",
            "redis.example.com",
            parse_host,
        ),
        /// port of a standalone Redis
        port: u16 = REDIS_PORT.number(6379, 1..=u16::MAX),
        /// Sentinels, or nodes of a cluster, separated by commas
        nodes: Vec<HostPort> = REDIS_NODES.list(
            "host:port, host:port, …",
            "redis-0:26379,redis-1:26379",
            |node| HostPort::parse(node).filter(|node| node.port != 0),
        ),
        /// name of the primary in the Sentinels' configuration
        master: Option<String> = REDIS_SENTINEL_MASTER.optional("a name", "mymaster", parse_name),
        /// password of the Sentinels
        password: Option<Secret> =
            REDIS_SENTINEL_PASSWORD.secret("a password", PASSWORD, parse_password),
    }
}

variables! {
    /// The credentials of Redis, and the number of connections.
    pub struct RedisClientConfig {
        /// number of the Redis database
        database: u16 = REDIS_DB.number(0, 0..=16_383),
        /// user of Redis' access control list; needs REDIS_PASSWORD
        username: Option<String> = REDIS_USERNAME.optional("a name", "seatlock", parse_name),
        /// password of Redis
        password: Option<Secret> = REDIS_PASSWORD.secret("a password", PASSWORD, parse_password),
        /// whether connections to Redis and its Sentinels are encrypted
        tls: bool = REDIS_TLS.flag(false),
        /// file of certificates (PEM) of authorities to trust for Redis, in addition to the system's
        tls_ca: Option<String> = REDIS_TLS_CA.file(
            "a readable file of certificates in PEM form, of at most 1 MiB",
            "/etc/ssl/redis-ca.pem",
            are_certificates,
        ),
        /// connections to one server of Redis
        pool: usize = REDIS_POOL.number(4, 1..=256),
        /// how long a seat map stays in the cache that replicas share in Redis
        seat_cache_ttl: Duration = SEAT_CACHE_TTL.duration(Duration::from_secs(60)),
    }
}

impl RedisConfig {
    /// Reads all variables, even if there is no Redis, so that each is declared and checked.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let addresses = RedisAddresses::read(reader);
        let mode_name = addresses.mode;
        let mode = addresses.into_mode(reader);
        let client = RedisClientConfig::read(reader);
        if client.tls_ca.is_some() && !client.tls {
            let warning = "REDIS_TLS_CA is set and REDIS_TLS is not: connections are not encrypted";
            reader.warnings.push(warning.to_owned());
        }
        // Without a password the client would silently log in as the default user.
        if client.username.is_some() && !reader.is_set("REDIS_PASSWORD") {
            reader.refuse(
                "REDIS_PASSWORD",
                "the password of REDIS_USERNAME",
                "REDIS_PASSWORD_FILE=/run/secrets/redis_password",
            );
        }
        if mode_name == ModeName::Cluster && client.database != 0 {
            reader.refuse("REDIS_DB", "0, the only database of a cluster", "REDIS_DB=0");
        }
        Some(Self { mode: mode?, client })
    }
}

impl RedisAddresses {
    /// The mode with its addresses; `None` if there is no Redis or an address is wrong.
    fn into_mode(self, reader: &mut Reader<'_>) -> Option<RedisMode> {
        let Self { mode, host, port, nodes, master, password } = self;
        let nodes = Some(nodes).filter(|nodes| !nodes.is_empty());
        match mode {
            ModeName::Standalone => {
                warn_without_host(reader);
                Some(RedisMode::Standalone { address: HostPort { host: host?, port } })
            }
            ModeName::Sentinel => {
                require(reader, "REDIS_NODES", "the Sentinels' addresses", "redis-0:26379");
                require(reader, "REDIS_SENTINEL_MASTER", "the primary's name", "mymaster");
                Some(RedisMode::Sentinel { sentinels: nodes?, master: master?, password })
            }
            ModeName::Cluster => {
                require(reader, "REDIS_NODES", "addresses of the cluster's nodes", "redis-0:6379");
                Some(RedisMode::Cluster { nodes: nodes? })
            }
        }
    }
}

fn parse_name(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn parse_password(text: &str) -> Option<Secret> {
    Some(Secret::new(text))
}

fn require(reader: &mut Reader<'_>, name: &'static str, what: &str, example: &str) {
    if !reader.is_set(name) {
        reader.refuse(name, format!("{what} for this REDIS_MODE"), format!("{name}={example}"));
    }
}

/// Warns about settings of Redis that have no effect without `REDIS_HOST`.
fn warn_without_host(reader: &mut Reader<'_>) {
    let names = ["REDIS_PORT", "REDIS_NODES", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB"];
    if let Some(name) = names.into_iter().find(|name| reader.is_set(name))
        && !reader.is_set("REDIS_HOST")
    {
        reader.warnings.push(format!(
            "{name} is set and REDIS_HOST is not: seat locks are kept in this process, not in Redis"
        ));
    }
}

/// Whether the Redis client can read the certificates; at least one is needed.
fn are_certificates(pem: &str) -> bool {
    let host = String::new();
    let port = 0;
    let root_cert = Some(pem.as_bytes().to_vec());
    let address = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
    let certificates = TlsCertificates { client_tls: None, root_cert };
    let client =
        address.into_connection_info().and_then(|at| Client::build_with_tls(at, certificates));
    client.is_ok() && pem.contains("-----BEGIN CERTIFICATE-----")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::config::tests::{config, problems, with_reader};

    /// A self-signed certificate.
    const AUTHORITY: &str = "\
        MIIBhzCCAS2gAwIBAgIUBfx6p1L+WmErLQ3cSu5sg17tDb0wCgYIKoZIzj0EAwIw\n\
        GDEWMBQGA1UEAwwNc2VhdGxvY2stdGVzdDAgFw0yNjExMjgxMzAwMzNaGA8yMTI2\n\
        MTEwNDEzMDAzM1owGDEWMBQGA1UEAwwNc2VhdGxvY2stdGVzdDBZMBMGByqGSM49\n\
        AgEGCCqGSM49AwEHA0IABElyDGrrMsseq19nT4Dbb7oYzaQkgOAI+5t8VzI40Sbo\n\
        jZHLM+yvPR28vO75PiLZKGDKAspjYYMplFLqY2oEGn+jUzBRMB0GA1UdDgQWBBS5\n\
        mw0gv1N7Cj1j9/kZaYenSPr49TAfBgNVHSMEGDAWgBS5mw0gv1N7Cj1j9/kZaYen\n\
        SPr49TAPBgNVHRMBAf8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQDa4oJT1B1g\n\
        rSmpvq2QKOzEVz9Y4kHl8F359taIL58qjQIgTgsryDy5S2k8l3R0U2WGU0IGgi7I\n\
        vifYNkISvknoT0A=";

    #[test]
    fn without_a_host_there_is_no_redis() {
        assert!(config(&[]).redis.is_none());
        assert!(config(&[("REDIS_HOST", "")]).redis.is_none());
    }

    #[test]
    fn a_host_is_enough() {
        let redis =
            config(&[("REDIS_HOST", "cache"), ("REDIS_PASSWORD", "hunter2")]).redis.unwrap();
        let RedisMode::Standalone { address } = redis.mode else { panic!("not standalone") };
        assert_eq!(address.to_string(), "cache:6379");
        assert_eq!(redis.client.password.unwrap().expose(), "hunter2");
    }

    #[test]
    fn a_port_that_kubernetes_set_is_no_port() {
        let vars = [("REDIS_HOST", "redis"), ("REDIS_PORT", "tcp://10.0.0.1:6379")];
        let RedisMode::Standalone { address } = config(&vars).redis.unwrap().mode else {
            panic!("not standalone")
        };
        assert_eq!(address.port, 6379);
    }

    #[test]
    fn a_url_is_no_host_and_its_password_is_not_shown() {
        let found = problems(&[("REDIS_HOST", "redis://u:hunter2@cache:6379")]);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("REDIS_HOST=\"redis://[redacted]@cache:6379\": expected a host")
        );
    }

    #[test]
    fn a_password_without_a_host_is_a_warning() {
        let warnings =
            config(&[("REDIS_PASSWORD_FILE", ""), ("REDIS_PASSWORD", "hunter2")]).warnings;
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].starts_with("REDIS_PASSWORD is set and REDIS_HOST is not"));
    }

    #[test]
    fn a_user_needs_a_password() {
        let found = problems(&[("REDIS_HOST", "cache"), ("REDIS_USERNAME", "u")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("REDIS_PASSWORD is not set: expected the password of"));
    }

    #[test]
    fn sentinels_and_clusters_are_understood() {
        let sentinel = [
            ("REDIS_MODE", "sentinel"),
            ("REDIS_NODES", "a:26379, [::1]:26379"),
            ("REDIS_SENTINEL_MASTER", "shop"),
        ];
        let (mode, problems) = with_reader(&sentinel, |reader| {
            RedisAddresses::read(reader).into_mode(reader).unwrap()
        });
        let RedisMode::Sentinel { sentinels, master, password } = mode else {
            panic!("no sentinel")
        };
        assert_eq!((sentinels.len(), master.as_str(), password.is_none()), (2, "shop", true));
        assert_eq!(problems, Vec::<String>::new());

        let cluster = [("REDIS_MODE", "cluster"), ("REDIS_NODES", "a:6379")];
        let (mode, problems) =
            with_reader(&cluster, |reader| RedisAddresses::read(reader).into_mode(reader).unwrap());
        assert!(matches!(mode, RedisMode::Cluster { nodes } if nodes.len() == 1));
        assert_eq!(problems, Vec::<String>::new());
    }

    #[test]
    fn a_cluster_has_one_database() {
        let found =
            problems(&[("REDIS_MODE", "cluster"), ("REDIS_NODES", "a:6379"), ("REDIS_DB", "1")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("REDIS_DB=\"1\": expected 0"), "{found:?}");
    }

    #[test]
    fn every_mode_may_be_encrypted() {
        let modes = [
            vec![("REDIS_HOST", "cache")],
            vec![("REDIS_MODE", "cluster"), ("REDIS_NODES", "a:6379")],
            vec![
                ("REDIS_MODE", "sentinel"),
                ("REDIS_NODES", "a:26379"),
                ("REDIS_SENTINEL_MASTER", "shop"),
            ],
        ];
        for mut vars in modes {
            vars.push(("REDIS_TLS", "on"));
            assert!(config(&vars).redis.unwrap().client.tls);
        }
    }

    #[test]
    fn a_file_of_authorities_is_read_at_the_start() {
        let found = problems(&[("REDIS_HOST", "cache"), ("REDIS_TLS_CA", "/nonexistent/ca.pem")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("expected a readable file of certificates"), "{found:?}");
    }

    #[test]
    fn certificates_are_read_as_the_client_reads_them() {
        let framed = |body: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
        };
        let found = |pem: String| {
            let vars = [("REDIS_HOST", "cache"), ("REDIS_TLS", "on"), ("REDIS_TLS_CA", "/ca.pem")];
            let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Config::from_vars_and_files(&vars.into(), &move |_| Ok(pem.clone()))
                .err()
                .unwrap_or_default()
        };
        assert_eq!(found(framed(AUTHORITY)), []);
        for wrong in [String::new(), "hello".to_owned(), framed("AAAA"), framed("?")] {
            let found = found(wrong);
            assert_eq!((found.len(), found[0].variable.as_str()), (1, "REDIS_TLS_CA"));
        }
    }
}

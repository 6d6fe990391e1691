//! Redis: what kind it is, where it is, and how to log in.

use std::path::Path;
use std::time::Duration;

use super::address::{HostPort, parse_host};
use super::reader::{Reader, ValueFormat};
use super::secret::Secret;

/// Settings of Redis. Without `REDIS_HOST` (or the nodes of a Sentinel or Cluster) there is none,
/// and seat locks live in this process.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `REDIS_MODE`, default `standalone`: what kind of Redis it is, with its addresses.
    pub mode: RedisMode,
    /// `REDIS_DB`, default `0`: the number of the database.
    pub database: u16,
    /// `REDIS_USERNAME`, no default: the user of Redis' access control list.
    pub username: Option<String>,
    /// `REDIS_PASSWORD`, no default, secret.
    pub password: Option<Secret>,
    /// `REDIS_TLS`, default `off`: whether connections are encrypted, those to Sentinels included.
    pub tls: bool,
    /// `REDIS_TLS_CA`, no default: the text of the file it names, certificates of authorities (PEM) to
    /// believe beside the system's.
    pub tls_ca: Option<String>,
    /// `REDIS_POOL`, default `4`: connections to one server.
    pub pool: usize,
    /// `SEAT_CACHE_TTL`, default `60s`: how long a seat map stays in the shared cache.
    pub seat_cache_ttl: Duration,
}

/// What kind of Redis there is, with its addresses.
#[derive(Debug, Clone)]
pub enum RedisMode {
    /// One server.
    Standalone {
        /// `REDIS_HOST`, no default, and `REDIS_PORT`, default `6379`.
        address: HostPort,
    },
    /// A primary found by asking Sentinels.
    Sentinel {
        /// `REDIS_NODES`, no default: the Sentinels; at least one.
        sentinels: Vec<HostPort>,
        /// `REDIS_SENTINEL_MASTER`, no default: the name the Sentinels know the primary by.
        master: String,
        /// `REDIS_SENTINEL_PASSWORD`, no default, secret: what the Sentinels ask for.
        password: Option<Secret>,
    },
    /// A Redis Cluster.
    Cluster {
        /// `REDIS_NODES`, no default: nodes to learn the others from; at least one.
        nodes: Vec<HostPort>,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum ModeName {
    Standalone,
    Sentinel,
    Cluster,
}

impl RedisConfig {
    /// All variables are read, whether or not there is a Redis, so that each is declared and
    /// checked.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (mode_name, mode) = read_mode(reader);
        let database = reader.number("REDIS_DB", 0, 0..=16_383, "number of the Redis database");
        let username = reader.optional(
            "REDIS_USERNAME",
            "user of Redis' access control list; needs REDIS_PASSWORD",
            ValueFormat::new("a name", "seatlock"),
            |text| Some(text.to_owned()),
        );
        let password = read_password(reader, "REDIS_PASSWORD", "password of Redis");
        let (tls, tls_ca) = read_tls(reader);
        let pool = reader.number("REDIS_POOL", 4, 1..=256, "connections to one server of Redis");
        let seat_cache_ttl = reader.duration(
            "SEAT_CACHE_TTL",
            Duration::from_secs(60),
            "how long a seat map stays in the cache that replicas share in Redis",
        );
        // A client would log in as the default user instead, and say nothing.
        if username.is_some() && !reader.is_set("REDIS_PASSWORD") {
            reader.refuse(
                "REDIS_PASSWORD",
                "the password of REDIS_USERNAME",
                "REDIS_PASSWORD_FILE=/run/secrets/redis_password",
            );
        }
        if mode_name == ModeName::Cluster && database != 0 {
            reader.refuse("REDIS_DB", "0, all that a cluster has", "REDIS_DB=0");
        }
        let mode = mode?;
        Some(Self { mode, database, username, password, tls, tls_ca, pool, seat_cache_ttl })
    }
}

/// How each certificate begins in a PEM file.
const BEGIN_CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

fn read_tls(reader: &mut Reader<'_>) -> (bool, Option<String>) {
    let help = "whether connections to Redis and its Sentinels are encrypted";
    let tls = reader.flag("REDIS_TLS", false, help);
    let read_file = reader.read_file;
    let ca = reader.optional(
        "REDIS_TLS_CA",
        "file of certificates (PEM) of authorities that may vouch for Redis, beside the system's",
        ValueFormat::new(
            "a readable file of certificates in PEM form, of at most 1 MiB",
            "/etc/ssl/redis-ca.pem",
        ),
        |path| read_file(Path::new(path)).ok().filter(|text| text.contains(BEGIN_CERTIFICATE)),
    );
    if ca.is_some() && !tls {
        reader.warn("REDIS_TLS_CA is set and REDIS_TLS is not: connections are not encrypted");
    }
    (tls, ca)
}

/// The mode's name, and the mode itself unless there is no Redis or its addresses are wrong.
fn read_mode(reader: &mut Reader<'_>) -> (ModeName, Option<RedisMode>) {
    let name = reader.choice(
        "REDIS_MODE",
        ("standalone", ModeName::Standalone),
        &[("sentinel", ModeName::Sentinel), ("cluster", ModeName::Cluster)],
        ModeName::Standalone,
        "what kind of Redis it is: standalone, sentinel or cluster",
    );
    let host = reader.optional(
        "REDIS_HOST",
        "host of a standalone Redis; seat locks live in this process if not set",
        ValueFormat::new("a host name or address without scheme and port", "redis.example.com"),
        parse_host,
    );
    let port = reader.number("REDIS_PORT", 6379, 1..=u16::MAX, "port of a standalone Redis");
    let nodes = reader.optional(
        "REDIS_NODES",
        "Sentinels, or nodes of a cluster, separated by commas",
        ValueFormat::new("host:port, host:port, …", "redis-0:26379,redis-1:26379"),
        parse_nodes,
    );
    let master = reader.optional(
        "REDIS_SENTINEL_MASTER",
        "name the Sentinels know the primary by",
        ValueFormat::new("a name", "mymaster"),
        |text| Some(text.to_owned()),
    );
    let password = read_password(reader, "REDIS_SENTINEL_PASSWORD", "password of the Sentinels");
    let mode = match name {
        ModeName::Standalone => {
            warn_if_hostless(reader);
            host.map(|host| RedisMode::Standalone { address: HostPort { host, port } })
        }
        ModeName::Sentinel => {
            require(reader, "REDIS_NODES", "the Sentinels' addresses", "redis-0:26379");
            require(reader, "REDIS_SENTINEL_MASTER", "the primary's name", "mymaster");
            nodes.zip(master).map(|(sentinels, master)| RedisMode::Sentinel {
                sentinels,
                master,
                password,
            })
        }
        ModeName::Cluster => {
            require(reader, "REDIS_NODES", "addresses of the cluster's nodes", "redis-0:6379");
            nodes.map(|nodes| RedisMode::Cluster { nodes })
        }
    };
    (name, mode)
}

fn require(reader: &mut Reader<'_>, name: &'static str, what: &str, example: &str) {
    if !reader.is_set(name) {
        reader.refuse(name, format!("{what} for this REDIS_MODE"), format!("{name}={example}"));
    }
}

/// Whoever sets a password or a port believes that there is a Redis.
fn warn_if_hostless(reader: &mut Reader<'_>) {
    let names = ["REDIS_PORT", "REDIS_NODES", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB"];
    if let Some(name) = names.into_iter().find(|name| reader.is_set(name))
        && !reader.is_set("REDIS_HOST")
    {
        reader.warn(format!(
            "{name} is set and REDIS_HOST is not: seat locks live in this process, not in Redis"
        ));
    }
}

fn read_password(
    reader: &mut Reader<'_>,
    name: &'static str,
    help: &'static str,
) -> Option<Secret> {
    let form = ValueFormat::new("a password", "\"$(openssl rand -hex 24)\"");
    reader.secret(name, help, form, |text| Some(Secret::new(text)))
}

fn parse_nodes(text: &str) -> Option<Vec<HostPort>> {
    text.split(',').map(|node| HostPort::parse(node.trim()).filter(|node| node.port != 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::{config, problems, with_reader};

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
        assert_eq!(redis.password.unwrap().expose(), "hunter2");
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
        let (mode, problems) = with_reader(&sentinel, |reader| read_mode(reader).1.unwrap());
        let RedisMode::Sentinel { sentinels, master, password } = mode else {
            panic!("no sentinel")
        };
        assert_eq!((sentinels.len(), master.as_str(), password.is_none()), (2, "shop", true));
        assert_eq!(problems, Vec::<String>::new());

        let cluster = [("REDIS_MODE", "cluster"), ("REDIS_NODES", "a:6379")];
        let (mode, problems) = with_reader(&cluster, |reader| read_mode(reader).1.unwrap());
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
            assert!(config(&vars).redis.unwrap().tls);
        }
    }

    #[test]
    fn a_file_of_authorities_is_read_at_the_start() {
        let found = problems(&[("REDIS_HOST", "cache"), ("REDIS_TLS_CA", "/nonexistent/ca.pem")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("expected a readable file of certificates"), "{found:?}");
    }
}

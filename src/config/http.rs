//! The HTTP server: where it listens, who may administer it, and what a request may cost.

use std::time::Duration;

use super::address::{HostPort, parse_host};
use super::reader::{Reader, ValueFormat};
use super::secret::Secret;

const ADDRESS: &str = "host:port or [ipv6]:port";
const KEY_LENGTH_MIN: usize = 16;

/// Settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// `BIND`, default `127.0.0.1:8080`: where the API listens.
    pub bind: HostPort,
    /// `METRICS_BIND`, no default: where `/metrics` listens instead of beside the API.
    pub metrics_bind: Option<HostPort>,
    /// `ADMIN_API_KEY`, no default, secret: what an administrator's request must carry.
    pub admin_api_key: Option<Secret>,
    /// `ALLOWED_HOSTS`, no default: further names by which the service may be addressed, in lower case.
    pub allowed_hosts: Vec<String>,
    /// `DOCS`, default `on`: whether `/docs/` and `/openapi.json` are served.
    pub docs: bool,
    /// `REQUEST_TIMEOUT`, default `12s`: the deadline of a request.
    pub request_timeout: Duration,
    /// `BODY_LIMIT`, default `1048576`: the largest request body in bytes.
    pub body_limit: usize,
    /// `PLAN_BODY_LIMIT`, default `67108864`: the largest body that carries a seat plan, in bytes.
    pub plan_body_limit: usize,
    /// `HEADER_TIMEOUT`, default `5s`: how long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// `BODY_TIMEOUT`, default `10s`: how long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// `HTTP_WORKERS`, no default: see [`HttpConfig::workers`].
    pub workers: Option<usize>,
    /// `MAX_CONNECTIONS`, default `10000`: open connections; more wait to be accepted.
    pub max_connections: usize,
    /// `STREAMS_MAX`, no default: see [`HttpConfig::streams`].
    pub streams_max: Option<usize>,
    /// `SEND_TIMEOUT`, default `20s`: how long a client may take nothing of its answer.
    pub send_timeout: Duration,
    /// `RATE_LIMIT`, no default: requests per second and client address; without it none are
    /// refused.
    pub rate_limit: Option<u32>,
    /// `DRAIN_DELAY`, default `5s`: how long requests are still welcome after SIGTERM has turned readiness
    /// off.
    pub drain_delay: Duration,
    /// `DRAIN_TIMEOUT`, default `15s`: how long shutdown waits for running requests.
    pub drain_timeout: Duration,
    /// `TERMINATION_GRACE`, default `30s`: when the platform kills the process after asking it to
    /// stop.
    pub termination_grace: Duration,
}

impl HttpConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let bind = read_bind(reader);
        let http = Self {
            metrics_bind: read_metrics_bind(reader, &bind),
            bind,
            admin_api_key: read_admin_api_key(reader),
            allowed_hosts: read_allowed_hosts(reader),
            docs: reader.flag("DOCS", true, "whether /docs/ and /openapi.json are served"),
            request_timeout: reader.duration(
                "REQUEST_TIMEOUT",
                Duration::from_secs(12),
                "deadline of a request, from its arrival to its answer",
            ),
            body_limit: reader.number(
                "BODY_LIMIT",
                1 << 20,
                1 << 10..=1 << 30,
                "largest request body in bytes",
            ),
            plan_body_limit: reader.number(
                "PLAN_BODY_LIMIT",
                64 << 20,
                1 << 10..=1 << 30,
                "largest body that carries a seat plan, in bytes",
            ),
            header_timeout: reader.duration(
                "HEADER_TIMEOUT",
                Duration::from_secs(5),
                "how long a client may take to send the head of a request",
            ),
            body_timeout: reader.duration(
                "BODY_TIMEOUT",
                Duration::from_secs(10),
                "how long a client may take to send the body of a request",
            ),
            workers: reader.optional_number(
                "HTTP_WORKERS",
                4,
                1..=1024,
                "worker threads of the HTTP server; one for each core if not set",
            ),
            max_connections: reader.number(
                "MAX_CONNECTIONS",
                10_000,
                1..=1_000_000,
                "open connections; more wait to be accepted",
            ),
            streams_max: read_streams_max(reader),
            send_timeout: read_send_timeout(reader),
            rate_limit: read_rate_limit(reader),
            drain_delay: read_drain_delay(reader),
            drain_timeout: reader.duration(
                "DRAIN_TIMEOUT",
                Duration::from_secs(15),
                "how long shutdown waits for running requests",
            ),
            termination_grace: reader.duration(
                "TERMINATION_GRACE",
                Duration::from_secs(30),
                "when the platform kills the process after asking it to stop",
            ),
        };
        http.check_binds(reader);
        http.check_streams(reader);
        http
    }

    /// How many worker threads to start on a machine with `cores` cores.
    #[must_use]
    pub fn workers(&self, cores: usize) -> usize {
        self.workers.unwrap_or(cores).max(1)
    }

    /// How many live streams there may be at a time: some connections are left for buyers.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams_max.unwrap_or(self.max_connections / 5 * 4)
    }

    fn check_streams(&self, reader: &mut Reader<'_>) {
        if self.streams() >= self.max_connections && !reader.is_refused("MAX_CONNECTIONS") {
            let expected = "less than MAX_CONNECTIONS, so that buyers can connect";
            reader.refuse("STREAMS_MAX", expected, "STREAMS_MAX=5000");
        }
    }

    /// Without a key anybody who can connect administers the service, so only this machine may
    /// connect.
    fn check_binds(&self, reader: &mut Reader<'_>) {
        let binds = [("BIND", Some(&self.bind)), ("METRICS_BIND", self.metrics_bind.as_ref())];
        for (name, bind) in binds {
            let open = bind.is_some_and(|bind| !bind.is_loopback()) && self.admin_api_key.is_none();
            // A key that was meant and is wrong has its own problem.
            if open && !reader.is_refused("ADMIN_API_KEY") {
                let example = match name {
                    "BIND" => "BIND=127.0.0.1:8080",
                    _ => "METRICS_BIND=127.0.0.1:9090",
                };
                let expected = "a loopback address, since ADMIN_API_KEY is not set";
                reader.refuse(name, expected, example);
            }
        }
    }
}

fn read_bind(reader: &mut Reader<'_>) -> HostPort {
    let default = HostPort { host: "127.0.0.1".to_owned(), port: 8080 };
    let shown = default.to_string();
    let form = ValueFormat::new(ADDRESS, shown.clone());
    let help = "where the API listens; loopback only without ADMIN_API_KEY";
    reader.setting("BIND", (default, &shown), help, form, HostPort::parse)
}

fn read_metrics_bind(reader: &mut Reader<'_>, bind: &HostPort) -> Option<HostPort> {
    let form = ValueFormat::new(ADDRESS, "127.0.0.1:9090");
    let help =
        "where /metrics listens instead of beside the API; loopback only without ADMIN_API_KEY";
    let metrics_bind = reader.optional("METRICS_BIND", help, form, HostPort::parse);
    if metrics_bind.as_ref() == Some(bind) && bind.port != 0 && !reader.is_refused("BIND") {
        reader.refuse("METRICS_BIND", "another address than BIND", "METRICS_BIND=127.0.0.1:9090");
    }
    metrics_bind
}

fn read_streams_max(reader: &mut Reader<'_>) -> Option<usize> {
    let help = "live streams at a time; four fifths of MAX_CONNECTIONS if not set";
    reader.optional_number("STREAMS_MAX", 5_000, 0..=1_000_000, help)
}

fn read_send_timeout(reader: &mut Reader<'_>) -> Duration {
    let help = "how long a client may take nothing of its answer before it is cut off";
    reader.duration("SEND_TIMEOUT", Duration::from_secs(20), help)
}

fn read_rate_limit(reader: &mut Reader<'_>) -> Option<u32> {
    let help = "requests per second and client address; no limit if not set";
    reader.optional_number("RATE_LIMIT", 100, 1..=1_000_000, help)
}

fn read_drain_delay(reader: &mut Reader<'_>) -> Duration {
    let help = "how long requests are still welcome after SIGTERM has turned readiness off";
    reader.duration("DRAIN_DELAY", Duration::from_secs(5), help)
}

fn read_allowed_hosts(reader: &mut Reader<'_>) -> Vec<String> {
    let form = ValueFormat::new(
        "host names or addresses without ports, divided by commas",
        "box-office.example",
    );
    let help = "names beside loopback ones by which the service may be addressed without ADMIN_API_KEY, and \
                whose pages may write";
    let hosts = reader.optional("ALLOWED_HOSTS", help, form, |text| {
        let host = |host: &str| Some(parse_host(host.trim())?.to_ascii_lowercase());
        text.split(',').map(host).collect()
    });
    hosts.unwrap_or_default()
}

fn read_admin_api_key(reader: &mut Reader<'_>) -> Option<Secret> {
    let form = ValueFormat::new(
        "at least 16 printable ASCII characters without spaces",
        "\"$(openssl rand -hex 24)\"",
    );
    let help = "what an administrator's request must carry; at least 16 printable ASCII characters";
    reader.secret("ADMIN_API_KEY", help, form, |text| {
        // A space could not be told from the white space around a header's value.
        let fits = text.len() >= KEY_LENGTH_MIN && text.bytes().all(|b| b.is_ascii_graphic());
        fits.then(|| Secret::new(text))
    })
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{config, problems};

    const KEY: (&str, &str) = ("ADMIN_API_KEY", "0123456789abcdef");

    #[test]
    fn without_a_key_only_this_machine_may_connect() {
        for bind in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "localhost:80"] {
            config(&[("BIND", bind), ("METRICS_BIND", "127.0.0.1:81")]);
        }
        let expected = "expected a loopback address, since ADMIN_API_KEY is not set; for example";
        assert_eq!(
            problems(&[("BIND", "0.0.0.0:80"), ("METRICS_BIND", "[::]:81")]),
            [
                format!("BIND=\"0.0.0.0:80\": {expected} BIND=127.0.0.1:8080"),
                format!("METRICS_BIND=\"[::]:81\": {expected} METRICS_BIND=127.0.0.1:9090"),
            ]
        );
    }

    #[test]
    fn with_a_key_anybody_may_connect() {
        let http = config(&[("BIND", "0.0.0.0:80"), KEY]).http;
        assert_eq!(http.admin_api_key.map(|key| key.expose().to_owned()), Some(KEY.1.to_owned()));
    }

    #[test]
    fn a_wrong_key_is_one_problem_and_is_not_shown() {
        for key in ["short-hunter2", "hunter2 with spaces", "hunter2-with-umläut"] {
            let found = problems(&[("BIND", "0.0.0.0:80"), ("ADMIN_API_KEY", key)]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("ADMIN_API_KEY=\"[redacted]\": expected at least 16"));
        }
    }

    #[test]
    fn two_servers_cannot_share_an_address() {
        assert_eq!(problems(&[("METRICS_BIND", "127.0.0.1:8080")]).len(), 1);
        config(&[("BIND", "127.0.0.1:0"), ("METRICS_BIND", "127.0.0.1:0")]);
    }

    #[test]
    fn streams_leave_connections_for_buyers() {
        assert_eq!(config(&[]).http.streams(), 8_000);
        assert_eq!(config(&[("MAX_CONNECTIONS", "100")]).http.streams(), 80);
        assert_eq!(config(&[("STREAMS_MAX", "99"), ("MAX_CONNECTIONS", "100")]).http.streams(), 99);
        assert_eq!(
            problems(&[("STREAMS_MAX", "100"), ("MAX_CONNECTIONS", "100")]),
            [
                "STREAMS_MAX=\"100\": expected less than MAX_CONNECTIONS, so that buyers can connect; \
              for example STREAMS_MAX=5000"
            ]
        );
    }

    #[test]
    fn allowed_hosts_are_names_without_ports() {
        assert!(config(&[]).http.allowed_hosts.is_empty());
        let listed = config(&[("ALLOWED_HOSTS", "Box-Office.example, 10.0.0.7,[fd00::1]")]).http;
        assert_eq!(listed.allowed_hosts, ["box-office.example", "10.0.0.7", "fd00::1"]);
        for wrong in ["a,,b", "a:80", "http://a", "*", "a b"] {
            assert_eq!(problems(&[("ALLOWED_HOSTS", wrong)]).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn there_is_a_worker_for_each_core_unless_configured() {
        assert_eq!(config(&[]).http.workers(8), 8);
        assert_eq!(config(&[("HTTP_WORKERS", "3")]).http.workers(8), 3);
    }
}

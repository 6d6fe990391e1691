//! The HTTP server: its addresses, its API key, and the limits of requests.

use std::path::PathBuf;
use std::time::Duration;

use super::address::{HostPort, parse_host};
use super::macros::variables;
use super::reader::Reader;
use super::secret::Secret;
use crate::domain::cidr::Cidr;

const ADDRESS: &str = "host:port or [ipv6]:port";
const PEM_FILE: &str = "the path of a PEM file";
const KEY_LENGTH_MIN: usize = 16;

variables! {
    /// Settings of the HTTP server.
    pub struct HttpConfig {
        /// address on which the API listens; loopback only without ADMIN_API_KEY
        bind: HostPort = BIND.setting(
            (HostPort { host: "127.0.0.1".to_owned(), port: 8080 }, "127.0.0.1:8080"),
            ADDRESS,
            HostPort::parse,
        ),
        /// address of a separate port for /metrics; loopback only without ADMIN_API_KEY
        metrics_bind: Option<HostPort> =
            METRICS_BIND.optional(ADDRESS, "127.0.0.1:9090", HostPort::parse),
        /// file with the certificate chain of the API in PEM form, read again when it changes; with it BIND answers
        /// HTTPS only
        tls_certificate: Option<PathBuf> =
            TLS_CERTIFICATE.optional(PEM_FILE, "/etc/seatlock/tls.crt", parse_file),
        /// file with the private key of TLS_CERTIFICATE in PEM form
        tls_key: Option<PathBuf> = TLS_KEY.optional(PEM_FILE, "/etc/seatlock/tls.key", parse_file),
        /// key that requests to the API must send as a bearer token; at least 16 printable ASCII characters
        admin_api_key: Option<Secret> = ADMIN_API_KEY.secret(
            "at least 16 printable ASCII characters without spaces",
            "\"$(openssl rand -hex 24)\"",
            parse_key,
        ),
        /// how long API keys of the database are accepted while the database cannot be asked for them
        api_keys_max_age: Duration = API_KEYS_MAX_AGE.duration(Duration::from_secs(900)),
        /// host names, in addition to loopback ones, that requests may name without ADMIN_API_KEY, and whose pages may
        /// send requests that write
        allowed_hosts: Vec<String> = ALLOWED_HOSTS.list(
            "host names or addresses without ports, separated by commas",
            "box-office.example",
            |host| Some(parse_host(host)?.to_ascii_lowercase()),
        ),
        /// whether /docs/ and /openapi.json are served
        docs: bool = DOCS.flag(true),
        /// whether the journal records the address of the client of each change
        audit_addresses: bool = AUDIT_ADDRESSES.flag(false),
        /// deadline of a request, from its arrival to its answer
        request_timeout: Duration = REQUEST_TIMEOUT.duration(Duration::from_secs(12)),
        /// largest request body in bytes
        body_limit: usize = BODY_LIMIT.number(1 << 20, 1 << 10..=1 << 30),
        /// largest body that carries a seat plan, in bytes
        plan_body_limit: usize = PLAN_BODY_LIMIT.number(64 << 20, 1 << 10..=1 << 30),
        /// how long a client may take to send the head of a request
        header_timeout: Duration = HEADER_TIMEOUT.duration(Duration::from_secs(5)),
        /// how long a client may take to send the body of a request
        body_timeout: Duration = BODY_TIMEOUT.duration(Duration::from_secs(10)),
        /// worker threads of the HTTP server; one for each core if not set
        workers: Option<usize> = HTTP_WORKERS.optional_number(1..=1024, 4),
        /// open connections; more wait to be accepted
        max_connections: usize = MAX_CONNECTIONS.number(10_000, 1..=1_000_000),
        /// live streams at a time; four fifths of MAX_CONNECTIONS if not set
        streams_max: Option<usize> = STREAMS_MAX.optional_number(0..=1_000_000, 5_000),
        /// how long a client may read nothing of its response before its connection is closed
        send_timeout: Duration = SEND_TIMEOUT.duration(Duration::from_secs(20)),
        /// requests per second and client address, or IPv6 network of 64 bits; no limit if not set
        rate_limit: Option<u32> = RATE_LIMIT.optional_number(1..=1_000_000, 100),
        /// requests per second of each secret API key of the database; no limit if not set
        rate_limit_key: Option<u32> = RATE_LIMIT_KEY.optional_number(1..=1_000_000, 1_000),
        /// requests for seats per second of each customer; no limit if not set
        rate_limit_customer: Option<u32> =
            RATE_LIMIT_CUSTOMER.optional_number(1..=1_000_000, 5),
        /// networks of the proxies whose X-Forwarded-For names the client; the header is ignored if not set
        trusted_proxies: Vec<Cidr> = TRUSTED_PROXIES.list(
            "addresses or networks such as 10.0.0.0/8, separated by commas",
            "10.0.0.0/8,fd00::/8",
            Cidr::parse,
        ),
        /// how long requests are still accepted after SIGTERM has turned readiness off
        drain_delay: Duration = DRAIN_DELAY.duration(Duration::from_secs(5)),
        /// how long shutdown waits for running requests
        drain_timeout: Duration = DRAIN_TIMEOUT.duration(Duration::from_secs(15)),
        /// how long the platform waits after SIGTERM before it kills the process
        termination_grace: Duration = TERMINATION_GRACE.duration(Duration::from_secs(30)),
    }
}

/// The files of the listener's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl HttpConfig {
    /// The files of the listener's certificate, if it has one.
    #[must_use]
    pub fn tls(&self) -> Option<TlsFiles> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some(TlsFiles { certificate, key })
    }

    /// The number of worker threads on a machine with `cores` cores.
    #[must_use]
    pub fn workers(&self, cores: usize) -> usize {
        self.workers.unwrap_or(cores).max(1)
    }

    /// The most live streams at a time; the other connections are left for buyers.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams_max.unwrap_or(self.max_connections / 5 * 4)
    }

    /// Adds a problem for each address and limit that contradicts another variable.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        let example = "METRICS_BIND=127.0.0.1:9090";
        let is_shared = self.metrics_bind.as_ref() == Some(&self.bind) && self.bind.port != 0;
        if is_shared && !reader.is_refused("BIND") {
            reader.refuse("METRICS_BIND", "another address than BIND", example);
        }
        for (given, missing, name, example) in [
            (
                &self.tls_certificate,
                &self.tls_key,
                "TLS_CERTIFICATE",
                "TLS_KEY=/etc/seatlock/tls.key",
            ),
            (
                &self.tls_key,
                &self.tls_certificate,
                "TLS_KEY",
                "TLS_CERTIFICATE=/etc/seatlock/tls.crt",
            ),
        ] {
            if given.is_some() && missing.is_none() {
                reader.refuse(name, "TLS_CERTIFICATE and TLS_KEY together, or neither", example);
            }
        }
        // Without a key every client is an administrator, so only this machine may connect. A key that is set but not
        // valid has a problem already.
        if self.admin_api_key.is_none() && !reader.is_refused("ADMIN_API_KEY") {
            let expected = "a loopback address, since ADMIN_API_KEY is not set";
            if !self.bind.is_loopback() {
                reader.refuse("BIND", expected, "BIND=127.0.0.1:8080");
            }
            if self.metrics_bind.as_ref().is_some_and(|bind| !bind.is_loopback()) {
                reader.refuse("METRICS_BIND", expected, example);
            }
        }
        if self.streams() >= self.max_connections && !reader.is_refused("MAX_CONNECTIONS") {
            let expected = "less than MAX_CONNECTIONS, so that buyers can connect";
            reader.refuse("STREAMS_MAX", expected, "STREAMS_MAX=5000");
        }
    }
}

fn parse_file(text: &str) -> Option<PathBuf> {
    // The content of a file in its place would be shown in problems.
    (!text.contains("-----")).then(|| PathBuf::from(text))
}

fn parse_key(text: &str) -> Option<Secret> {
    // A space could be confused with the white space around a header's value.
    let fits = text.len() >= KEY_LENGTH_MIN && text.bytes().all(|b| b.is_ascii_graphic());
    fits.then(|| Secret::new(text))
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
    fn with_a_key_every_machine_may_connect() {
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
    fn a_certificate_needs_its_key() {
        let certificate = ("TLS_CERTIFICATE", "/tls.crt");
        let key = ("TLS_KEY", "/tls.key");
        assert!(config(&[]).http.tls().is_none());
        let files = config(&[certificate, key]).http.tls().unwrap();
        assert_eq!(files.certificate.to_str(), Some("/tls.crt"));
        for alone in [certificate, key] {
            let found = problems(&[alone]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].contains("TLS_CERTIFICATE and TLS_KEY together"), "{found:?}");
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

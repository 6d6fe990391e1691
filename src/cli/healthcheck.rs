//! `seatlock healthcheck`: asks a running service whether it is alive, for containers without a shell.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use seatlock::config::HostPort;

use super::{Failed, read_config};

/// For the connection and again for the answer. Shorter together than the time-out of any container
/// runtime, so that the verdict is ours.
const TIMEOUT: Duration = Duration::from_secs(1);

const PATH: &str = "/livez";

/// As much of an answer as is read to find its status.
const STATUS_LINE_MAX: u64 = 1_024;

#[derive(Debug, clap::Args)]
pub(crate) struct HealthcheckArguments {
    /// Where the service is, like http://127.0.0.1:8080; a path of its own is asked instead of
    /// /livez [default: the address that BIND configures]
    url: Option<String>,
}

pub(crate) fn run(arguments: &HealthcheckArguments) -> Result<(), Failed> {
    let url = match &arguments.url {
        Some(url) => Url::parse(url).map_err(Failed::Usage)?,
        None => Url::of_bind(&read_config()?.http.bind).map_err(Failed::Usage)?,
    };
    let Url { authority, path } = &url;
    match ask(&url) {
        Ok(status) if is_success(&status) => Ok(()),
        Ok(status) => Err(Failed::Work(format!("http://{authority}{path} answers {status:?}"))),
        Err(error) => Err(Failed::Work(format!("http://{authority}{path}: {error}"))),
    }
}

/// A place to ask over plain HTTP.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    /// `host:port`.
    authority: String,
    /// From its first slash on.
    path: String,
}

impl Url {
    fn parse(text: &str) -> Result<Self, String> {
        // Not shown: somebody may have written a password into it.
        let wrong = || "the URL is not like http://127.0.0.1:8080".to_owned();
        let rest = text.strip_prefix("http://").ok_or_else(wrong)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = if path.is_empty() { PATH.to_owned() } else { format!("/{path}") };
        // The request is written as text, so nothing may end its line.
        if authority.is_empty()
            || authority.contains('@')
            || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(wrong());
        }
        let after_host = authority.rsplit(']').next().unwrap_or_default();
        let port = if after_host.contains(':') { "" } else { ":80" };
        Ok(Self { authority: format!("{authority}{port}"), path })
    }

    /// The service on this machine that listens at `bind`.
    fn of_bind(bind: &HostPort) -> Result<Self, String> {
        if bind.port == 0 {
            return Err("BIND lets the system choose the port: give the service's URL".to_owned());
        }
        // Nobody can connect to the address that stands for all of a machine's.
        let host = match bind.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => Ipv4Addr::LOCALHOST.to_string(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => Ipv6Addr::LOCALHOST.to_string(),
            _ => bind.host.clone(),
        };
        let authority = HostPort { host, port: bind.port }.to_string();
        Ok(Self { authority, path: PATH.to_owned() })
    }
}

/// The status line of the answer (RFC 9112 §4).
fn ask(url: &Url) -> io::Result<String> {
    let mut connection = connect(&url.authority)?;
    connection.set_read_timeout(Some(TIMEOUT))?;
    connection.set_write_timeout(Some(TIMEOUT))?;
    let Url { authority, path } = url;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let mut status = String::new();
    BufReader::new(connection.take(STATUS_LINE_MAX)).read_line(&mut status)?;
    Ok(status.trim_end().to_owned())
}

/// A name may stand for several addresses (`localhost`); the first that answers will do.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut failure = io::Error::other("the name stands for no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(connection) => return Ok(connection),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Whether the status is 2xx.
fn is_success(status_line: &str) -> bool {
    let mut words = status_line.split(' ');
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    is_http && words.next().is_some_and(|code| code.len() == 3 && code.starts_with('2'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(authority: &str, path: &str) -> Result<Url, String> {
        Ok(Url { authority: authority.to_owned(), path: path.to_owned() })
    }

    #[test]
    fn a_url_may_leave_out_port_and_path() {
        assert_eq!(Url::parse("http://a:1"), url("a:1", "/livez"));
        assert_eq!(Url::parse("http://a:1/"), url("a:1", "/livez"));
        assert_eq!(Url::parse("http://a:1/readyz?verbose"), url("a:1", "/readyz?verbose"));
        assert_eq!(Url::parse("http://a"), url("a:80", "/livez"));
        assert_eq!(Url::parse("http://[::1]"), url("[::1]:80", "/livez"));
        assert_eq!(Url::parse("http://[::1]:8080"), url("[::1]:8080", "/livez"));
        for wrong in
            ["a:1", "https://a:1", "http://", "http:///livez", "http://u:p@a", "http://a/\r\nX: y"]
        {
            assert!(Url::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_service_is_asked_where_it_can_be_reached() {
        let of = |host: &str, port| Url::of_bind(&HostPort { host: host.to_owned(), port });
        for (host, authority) in [
            ("0.0.0.0", "127.0.0.1:80"),
            ("::", "[::1]:80"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("localhost", "localhost:80"),
        ] {
            assert_eq!(of(host, 80), url(authority, "/livez"));
        }
        assert!(of("localhost", 0).is_err());
    }

    #[test]
    fn only_a_2xx_answer_over_http_is_well() {
        assert!(is_success("HTTP/1.1 200 OK") && is_success("HTTP/1.0 204 No Content"));
        for wrong in ["", "HTTP/1.1 503 Service Unavailable", "HTTP/1.1 2000 OK", "SSH-2.0 200 x"] {
            assert!(!is_success(wrong), "{wrong:?}");
        }
    }
}

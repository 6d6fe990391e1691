//! `seatlock healthcheck`: checks whether a running service is alive, for containers without a shell.

mod encrypted;

use std::time::Duration;

use seatlock::config::{HostPort, TlsFiles};
use ureq::Agent;
use ureq::http::{StatusCode, Uri};

use super::{Failed, reachable, read_config};

/// The time limit of the whole request. It is shorter than the timeout of any container runtime, so that this command
/// reports the result.
const TIMEOUT: Duration = Duration::from_secs(2);

const PATH: &str = "/livez";

#[derive(Debug, clap::Args)]
pub(crate) struct HealthcheckArguments {
    /// The URL of the service, like http://127.0.0.1:8080; a path in the URL replaces /livez
    /// [default: the address that BIND configures]
    url: Option<String>,
}

pub(crate) fn run(arguments: &HealthcheckArguments) -> Result<(), Failed> {
    let url = match &arguments.url {
        Some(url) => parse(url),
        None => {
            let http = read_config()?.http;
            if let Some(files) = http.tls() {
                return of_encrypted(&http.bind, &files);
            }
            of_bind(&http.bind)
        }
    };
    let url = url.map_err(Failed::Usage)?;
    match request_status(&url) {
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) => Err(Failed::Work(format!("{url} answers {status}"))),
        Err(error) => Err(Failed::Work(format!("{url}: {error}"))),
    }
}

/// Checks the service on this machine that listens on `bind` with TLS.
fn of_encrypted(bind: &HostPort, files: &TlsFiles) -> Result<(), Failed> {
    let address = on_this_machine(bind).map_err(Failed::Usage)?;
    let status = encrypted::request_status(&address, PATH, files, TIMEOUT);
    match status {
        Ok(200) => Ok(()),
        Ok(status) => Err(Failed::Work(format!("https://{address}{PATH} answers {status}"))),
        Err(error) => Err(Failed::Work(format!("https://{address}{PATH}: {error}"))),
    }
}

/// Reads a URL of plain HTTP.
fn parse(text: &str) -> Result<Uri, String> {
    // The text is not shown, because it may contain a password.
    let wrong = || "the URL is not like http://127.0.0.1:8080".to_owned();
    let url: Uri = text.parse().map_err(|_| wrong())?;
    match (url.scheme_str(), url.authority(), url.path_and_query()) {
        (Some("http"), Some(authority), Some(path)) if !authority.as_str().contains('@') => {
            let path = if path == "/" { PATH } else { path.as_str() };
            format!("http://{authority}{path}").parse().map_err(|_| wrong())
        }
        _ => Err(wrong()),
    }
}

/// The URL of the service on this machine that listens on `bind`.
fn of_bind(bind: &HostPort) -> Result<Uri, String> {
    parse(&format!("http://{}", on_this_machine(bind)?))
}

/// The address at which a client on this machine reaches a listener on `bind`.
fn on_this_machine(bind: &HostPort) -> Result<HostPort, String> {
    if bind.port == 0 {
        return Err("BIND lets the system choose the port: give the service's URL".to_owned());
    }
    let host = match bind.host.parse() {
        Ok(address) => reachable(address).to_string(),
        Err(_) => bind.host.clone(),
    };
    Ok(HostPort { host, port: bind.port })
}

fn request_status(url: &Uri) -> Result<StatusCode, ureq::Error> {
    let config = Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false);
    Ok(config.build().new_agent().get(url).call()?.status())
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn parsed(text: &str) -> Result<String, String> {
        parse(text).map(|url| url.to_string())
    }

    #[test]
    fn a_url_may_leave_out_port_and_path() {
        for (text, url) in [
            ("http://a:1", "http://a:1/livez"),
            ("http://a:1/", "http://a:1/livez"),
            ("http://a:1/readyz?verbose", "http://a:1/readyz?verbose"),
            ("http://a", "http://a/livez"),
            ("http://[::1]", "http://[::1]/livez"),
            ("http://[::1]:8080", "http://[::1]:8080/livez"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(url));
        }
        for wrong in
            ["a:1", "https://a:1", "http://", "http:///livez", "http://u:p@a", "http://a/\r\nX: y"]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_service_is_asked_where_it_can_be_reached() {
        let of = |host: &str, port| of_bind(&HostPort { host: host.to_owned(), port });
        for (host, authority) in [
            ("0.0.0.0", "127.0.0.1:80"),
            ("::", "[::1]:80"),
            ("10.0.0.1", "10.0.0.1:80"),
            ("localhost", "localhost:80"),
        ] {
            assert_eq!(of(host, 80).unwrap().to_string(), format!("http://{authority}/livez"));
        }
        assert!(of("localhost", 0).is_err());
    }

    #[test]
    fn only_a_2xx_answer_over_http_is_success() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let succeeds = |line: &str| {
            std::thread::scope(|threads| {
                let response = threads.spawn(|| request_status(&url));
                let (mut connection, _) = listener.accept().unwrap();
                assert!(connection.read(&mut [0; 1_024]).unwrap() > 0);
                write!(connection, "{line}\r\nContent-Length: 0\r\n\r\n").unwrap();
                drop(connection);
                response.join().unwrap().is_ok_and(|status| status.is_success())
            })
        };
        assert!(succeeds("HTTP/1.1 200 OK") && succeeds("HTTP/1.0 204 No Content"));
        for wrong in [
            "",
            "HTTP/1.1 503 Service Unavailable",
            "HTTP/1.1 302 Found",
            "HTTP/1.1 2000 OK",
            "SSH-2.0 200 x",
        ] {
            assert!(!succeeds(wrong), "{wrong:?}");
        }
    }
}

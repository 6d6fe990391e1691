//! The checks of every request before routing, and the security headers of every response.
//!
//! Any page that a browser shows can make the browser send requests to this service. Such a request has no API key, so
//! it fails if a key is required. If no key is required, the service listens on a loopback address, and three checks
//! exclude foreign pages: the host name of the request (a foreign name that resolves to 127.0.0.1 is DNS rebinding),
//! the origin of a request that writes, and the content type of its body (`src/http/body.rs`). A page of another origin
//! may write with a publishable key that lists its origin (`src/http/auth.rs`).

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::uri::Authority;
use actix_web::http::{Method, Version};

use super::problem::{Code, Problem};
use super::{Services, auth, rate_limit};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers that must not be repeated: a proxy and this service could use different values.
const SINGLE_VALUED: [HeaderName; 6] = [
    header::HOST,
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::ORIGIN,
    SEC_FETCH_SITE,
];

/// Paths without a rate limit: health checks must always get an answer.
const UNLIMITED: [&str; 2] = ["/livez", "/readyz"];

/// The Content-Security-Policy of responses other than pages: nothing may be loaded, and no page may frame them.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// How long browsers use only encrypted connections to this host: a year (RFC 6797 §6.1).
const ENCRYPTED_ONLY: &str = "max-age=31536000";

/// The host names that a request may name.
pub struct AllowedHosts {
    /// Whether every name is allowed, because callers need a key.
    pub any: bool,
    /// Whether a host is this machine itself.
    pub is_loopback: fn(&str) -> bool,
    /// `ALLOWED_HOSTS`, in lower case.
    pub names: Vec<String>,
}

/// Marks a server without a rate limit: the one on the separate port for operators.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unlimited;

/// Checks the rate limit, the host and the origin of a request.
pub(super) fn check(services: &Services, request: &ServiceRequest) -> Result<(), Problem> {
    if !UNLIMITED.contains(&request.path()) && request.app_data::<Unlimited>().is_none() {
        rate_limit::check_address(services, request)?;
    }
    let headers = request.headers();
    refuse_repeated(headers)?;
    let host = requested_host(request)?;
    services.allowed_hosts.check_host(host.as_ref())?;
    match services.allowed_hosts.check_origin(request.method(), headers, host.as_ref()) {
        // Authentication compares the origin with those of the key.
        Err(_) if auth::will_check_origin(services, headers) => Ok(()),
        checked => checked,
    }
}

fn refuse_repeated(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.len() == headers.len_keys() {
        return Ok(()); // Nothing is repeated.
    }
    match SINGLE_VALUED.iter().find(|name| headers.get_all(*name).nth(1).is_some()) {
        Some(name) => Err(Problem::parameter(name.as_str(), "must be sent once")),
        None => Ok(()),
    }
}

/// The host of the request target, or else of the header `Host` (RFC 9112 §3.2). An HTTP/1.0 request may have neither.
fn requested_host(request: &ServiceRequest) -> Result<Option<Authority>, Problem> {
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.clone()));
    }
    let wrong = |message: &str| Err(Problem::parameter("Host", message));
    match request.headers().get(header::HOST) {
        Some(value) => match value.to_str().ok().and_then(authority) {
            Some(authority) => Ok(Some(authority)),
            None => wrong("must be a host name or address, with a port if it is not the usual one"),
        },
        None if request.version() > Version::HTTP_10 => wrong("must be sent (RFC 9112 §3.2)"),
        None => Ok(None),
    }
}

/// Parses a host with or without a port.
fn authority(text: &str) -> Option<Authority> {
    let authority: Authority = text.parse().ok()?;
    let host = authority.host();
    let port = authority.port_u16();
    let is_whole = host.len() == text.len() || port.is_some();
    (!text.contains('@') && !host.is_empty() && is_whole).then_some(authority)
}

/// A host for comparison: without the brackets of an IPv6 address and without the final dot of a full name.
fn normalized(host: &str) -> &str {
    let host = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

impl AllowedHosts {
    fn lists(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(normalized(host)))
    }

    /// Refuses a host that is not allowed. A request without a host is accepted, because DNS rebinding needs a host
    /// name.
    fn check_host(&self, host: Option<&Authority>) -> Result<(), Problem> {
        let Some(host) = host.map(Authority::host) else { return Ok(()) };
        if self.any || (self.is_loopback)(normalized(host)) || self.lists(host) {
            return Ok(());
        }
        let detail = format!(
            "without ADMIN_API_KEY this service answers to localhost and loopback addresses only, not to \
             {host}; use one of those, add the name to ALLOWED_HOSTS, or set ADMIN_API_KEY"
        );
        Err(Problem::new(Code::HostNotAllowed, detail))
    }

    /// Refuses a write that a page of another origin sends. A browser describes the origin in `Sec-Fetch-Site`, an
    /// older one in `Origin` alone; a page can set neither header. `same-site` is refused too, because it includes
    /// other ports of this machine and other hosts of the domain. Clients other than browsers send neither header and
    /// are allowed.
    fn check_origin(
        &self,
        method: &Method,
        headers: &HeaderMap,
        host: Option<&Authority>,
    ) -> Result<(), Problem> {
        if method.is_safe() {
            return Ok(());
        }
        let own = match (headers.get(SEC_FETCH_SITE), headers.get(header::ORIGIN)) {
            (Some(site), _) => matches!(site.as_bytes(), b"same-origin" | b"none"),
            (None, Some(origin)) => self.is_own(origin, host),
            (None, None) => true,
        };
        if own {
            return Ok(());
        }
        let detail = "a page of another origin must not send requests that write without a publishable key; send \
                      them from a backend, or name the host of the page in ALLOWED_HOSTS if it is this service's \
                      own behind a proxy that changes Host";
        Err(Problem::new(Code::OriginNotAllowed, detail))
    }

    /// Whether an origin is this service: host and port are those of the request, or the host is one of
    /// `ALLOWED_HOSTS`.
    fn is_own(&self, origin: &HeaderValue, host: Option<&Authority>) -> bool {
        let origin = origin.to_str().ok().and_then(|text| text.split_once("://"));
        let Some((scheme, origin)) = origin else { return false };
        let Some(origin) = authority(origin) else { return false };
        let default_port = if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
        let same = |host: &Authority| {
            normalized(host.host()).eq_ignore_ascii_case(normalized(origin.host()))
                && port(host) == port(&origin)
        };
        host.is_some_and(same) || self.lists(origin.host())
    }
}

/// Adds the security headers of every response. A Content-Security-Policy that the handler has set is kept. Only an
/// encrypted connection may demand further ones (RFC 6797 §7.2).
pub(super) fn set_security_headers(headers: &mut HeaderMap, is_encrypted: bool) {
    if is_encrypted {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(ENCRYPTED_ONLY));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DATA_POLICY));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn hosts(any: bool) -> AllowedHosts {
        let is_loopback = |host: &str| ["localhost", "127.0.0.1", "::1"].contains(&host);
        AllowedHosts { any, is_loopback, names: vec!["box-office.example".to_owned()] }
    }

    fn code(result: Result<(), Problem>) -> Option<Code> {
        result.err().map(|problem| problem.code)
    }

    #[test]
    fn without_a_key_only_names_of_this_machine_and_allowed_ones_are_served() {
        let checked = |host: &str| code(hosts(false).check_host(authority(host).as_ref()));
        for own in
            ["localhost", "127.0.0.1:8080", "[::1]:9", "localhost.:80", "Box-Office.example:1"]
        {
            assert_eq!(checked(own), None, "{own}");
        }
        for foreign in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:8080", "localhost.evil"]
        {
            assert_eq!(checked(foreign), Some(Code::HostNotAllowed), "{foreign}");
            assert_eq!(
                code(hosts(true).check_host(authority(foreign).as_ref())),
                None,
                "{foreign}"
            );
        }
    }

    #[test]
    fn a_host_is_read_from_the_target_or_from_its_header_and_must_be_one() {
        let host = |request: TestRequest| {
            requested_host(&request.to_srv_request()).map(|host| host.map(|host| host.to_string()))
        };
        let sent = |value: &str| host(TestRequest::get().insert_header((header::HOST, value)));
        assert_eq!(sent("a:1").unwrap().unwrap(), "a:1");
        let target = TestRequest::get().uri("http://b/livez").insert_header((header::HOST, "a"));
        assert_eq!(host(target).unwrap().unwrap(), "b");
        assert_eq!(host(TestRequest::get().version(Version::HTTP_10)).unwrap(), None);
        assert!(host(TestRequest::get()).is_err(), "HTTP/1.1 needs a host");
        for wrong in ["", "a b", "user@a", "a/b", "a:", "a:x", "a:65536"] {
            assert!(sent(wrong).is_err(), "{wrong:?}");
        }
    }

    /// Whether a request to `seats.example:8080` with these headers is allowed.
    fn from(method: &Method, site: Option<&'static str>, origin: Option<&'static str>) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in [(SEC_FETCH_SITE, site), (header::ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let host = authority("seats.example:8080");
        hosts(true).check_origin(method, &headers, host.as_ref()).is_ok()
    }

    #[test]
    fn a_foreign_page_cannot_write() {
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            for site in ["cross-site", "same-site", "nonsense"] {
                assert!(!from(&method, Some(site), None), "{method} {site}");
                assert!(!from(&method, Some(site), Some("http://seats.example:8080")), "{site}");
            }
            for foreign in [
                "http://evil.example",
                "http://seats.example",
                "http://seats.example:8081",
                "https://seats.example.evil:8080",
                "null",
                "seats.example:8080",
                "",
            ] {
                assert!(!from(&method, None, Some(foreign)), "{method} {foreign}");
            }
        }
    }

    #[test]
    fn own_pages_and_other_clients_than_browsers_write_and_every_page_reads() {
        for own in
            ["http://seats.example:8080", "http://SEATS.example:8080", "https://box-office.example"]
        {
            assert!(from(&Method::POST, None, Some(own)), "{own}");
        }
        assert!(from(&Method::POST, None, None));
        // The browser states that the origin is the same; a proxy may have changed `Host`.
        assert!(from(&Method::POST, Some("same-origin"), Some("https://shop.example")));
        assert!(from(&Method::POST, Some("none"), None));
        for method in [Method::GET, Method::HEAD, Method::OPTIONS] {
            assert!(from(&method, Some("cross-site"), Some("http://evil.example")), "{method}");
        }
    }

    #[test]
    fn a_page_keeps_its_own_policy() {
        let mut headers = HeaderMap::new();
        set_security_headers(&mut headers, false);
        assert_eq!(headers.get("content-security-policy").unwrap(), DATA_POLICY);
        assert!(!headers.contains_key("strict-transport-security"));
        let own = HeaderValue::from_static("default-src 'self'");
        headers.insert(header::CONTENT_SECURITY_POLICY, own.clone());
        set_security_headers(&mut headers, true);
        assert_eq!(headers.get("content-security-policy").unwrap(), own);
        assert_eq!(headers.get("strict-transport-security").unwrap(), "max-age=31536000");
        assert_eq!(headers.get("x-content-type-options").unwrap(), "nosniff");
        assert_eq!(headers.get("referrer-policy").unwrap(), "no-referrer");
    }
}

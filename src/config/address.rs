//! A network address of the configuration: a host and a port.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// `host:port`; the host is a name, an IPv4 address or an IPv6 address (in brackets when written).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// The host, an IPv6 address without its brackets.
    pub host: String,
    /// The TCP port; 0 lets the system choose when binding.
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port` or `[ipv6]:port`; `None` if it is neither.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        // An IPv6 address must have brackets here; otherwise its last group would be read as the port.
        if host.contains(':') && !host.starts_with('[') {
            return None;
        }
        // `u16::from_str` would accept a sign.
        if !port.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        Some(Self { host: parse_host(host)?, port: port.parse().ok()? })
    }

    /// Whether only this machine can reach the address: 127.0.0.0/8, `::1` or `localhost`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback_host(&self.host)
    }
}

/// Whether a host is this machine: 127.0.0.0/8, `::1` (without brackets) or `localhost`.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads a bare host, an IPv6 address with or without brackets; `None` if it is a URL or carries a
/// port.
pub(super) fn parse_host(text: &str) -> Option<String> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host = bracketed.unwrap_or(text);
    if host.parse::<Ipv6Addr>().is_ok() {
        return Some(host.to_owned());
    }
    let is_name = (1..=253).contains(&host.len())
        && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'));
    (bracketed.is_none() && is_name).then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_written_alike() {
        for text in ["127.0.0.1:8080", "[::1]:0", "redis-0.redis.svc:6379", "0.0.0.0:65535"] {
            assert_eq!(HostPort::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "8080",
            ":8080",
            "host:",
            "host:x",
            "host:+1",
            "host:65536",
            "::1:8080",
            "[::1]",
            "[host]:1",
            "http://host:1",
            "a b:1",
            "u@host:1",
        ] {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_this_machine_reaches_a_loopback_address() {
        for host in
            ["127.0.0.1", "127.255.0.9", "[::1]", "[::ffff:127.0.0.1]", "localhost", "LocalHost"]
        {
            assert!(HostPort::parse(&format!("{host}:1")).unwrap().is_loopback(), "{host}");
        }
        for host in
            ["0.0.0.0", "[::]", "10.0.0.1", "128.0.0.1", "localhost.evil.example", "seatlock"]
        {
            assert!(!HostPort::parse(&format!("{host}:1")).unwrap().is_loopback(), "{host}");
        }
    }
}

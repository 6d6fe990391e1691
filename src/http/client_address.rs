//! The address of the client, behind proxies that are trusted to name it.

use std::net::{IpAddr, SocketAddr};

use actix_web::http::header::{self, HeaderMap};

use crate::domain::cidr::Cidr;

/// The address of the client. `X-Forwarded-For` lists the addresses that each proxy has seen, the last proxy at the end;
/// the client can have written its beginning. So it is read from the end, as far as trusted proxies have written it.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer;
    if trusted.is_empty() {
        return client;
    }
    let lines: Vec<&str> = headers
        .get_all(header::X_FORWARDED_FOR)
        .map(|value| value.to_str().unwrap_or_default())
        .collect();
    let mut hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    while is_trusted(client) {
        match hops.next().and_then(|hop| address(hop.trim())) {
            Some(hop) => client = hop,
            None => break,
        }
    }
    client
}

/// An address, which some proxies write with a port, or in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    bare.parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn seen(peer: &str, lines: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::X_FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let trusted: Vec<Cidr> = trusted.iter().map(|text| Cidr::parse(text).unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn without_trusted_proxies_the_header_is_ignored() {
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], &[]), "10.0.0.1");
        assert_eq!(seen("9.9.9.9", &["1.2.3.4"], &["10.0.0.0/8"]), "9.9.9.9");
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let trusted = ["10.0.0.0/8", "fd00::/8"];
        assert_eq!(seen("10.0.0.1", &["1.2.3.4"], &trusted), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6, 1.2.3.4, 10.0.0.2"], &trusted), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["6.6.6.6", "1.2.3.4", "10.0.0.2"], &trusted), "1.2.3.4");
        assert_eq!(seen("fd00::1", &["[2001:db8::7]:443"], &trusted), "2001:db8::7");
        assert_eq!(seen("10.0.0.1", &["1.2.3.4:55"], &trusted), "1.2.3.4");
        assert_eq!(seen("10.0.0.1", &["10.0.0.3, 10.0.0.2"], &trusted), "10.0.0.3");
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        for line in ["unknown", "", "1.2.3.4, x", "1.2.3.4,"] {
            assert_eq!(seen("10.0.0.1", &[line], &["10.0.0.0/8"]), "10.0.0.1", "{line:?}");
        }
        assert_eq!(seen("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
    }
}

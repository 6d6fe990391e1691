//! Origins of pages (RFC 6454): scheme, host and port, in the form that a browser sends.

use std::fmt;

/// The remedy for a text that is not an origin.
pub const ORIGIN_REMEDY: &str = "must be scheme://host or scheme://host:port, such as https://shop.example, without a path and \
     without *";

/// The most bytes of an origin: a host name has at most 253.
pub const ORIGIN_MAX: usize = 280;

/// The form of an origin, for documents. A port above 65535 and a wrong IPv6 address have it, too.
pub const ORIGIN_PATTERN: &str = "^[Hh][Tt][Tt][Pp][Ss]?://(\\[[0-9A-Fa-f:.]+\\]|\
                                  [0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?\
                                  (\\.[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?)*)(:[1-9][0-9]{0,4})?$";

/// An origin of pages: lower case, without the default port of its scheme.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// Reads an origin as a person writes it. An international host name is written in its ASCII form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > ORIGIN_MAX {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        let default_port = match scheme {
            "https" => ":443",
            "http" => ":80",
            _ => return None,
        };
        let authority = authority.strip_suffix(default_port).unwrap_or(authority);
        is_authority(authority).then(|| Self(format!("{scheme}://{authority}")))
    }

    /// The origin as a browser sends it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether this is a host, an IPv4 address or an IPv6 address in brackets, with or without a port.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, "")) => (address, None),
            Some((address, rest)) => match rest.strip_prefix(':') {
                Some(port) => (address, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let is_host = match text.starts_with('[') {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => host.split('.').all(is_label),
    };
    is_host && port.is_none_or(is_port)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0 && port.to_string() == text)
}

/// Whether this is a part of a host name between dots (RFC 1123 §2.1); underscores occur in names of private networks.
fn is_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    let ends = !label.starts_with('-') && !label.ends_with('-');
    (1..=63).contains(&label.len()) && ends && label.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_origin_has_the_form_that_a_browser_sends() {
        for (text, origin) in [
            ("https://shop.example", "https://shop.example"),
            ("HTTPS://Shop.Example:443", "https://shop.example"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://127.0.0.1:80", "http://127.0.0.1"),
            ("https://[fd00::1]:8443", "https://[fd00::1]:8443"),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
            ("https://shop.example:80", "https://shop.example:80"),
        ] {
            assert_eq!(Origin::parse(text).unwrap().as_str(), origin, "{text}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        let long = format!("https://{}.example", "a".repeat(300));
        for text in [
            "",
            "*",
            "null",
            "shop.example",
            "https://",
            "https://*.shop.example",
            "https://shop.example/",
            "https://shop.example/page",
            "https://shop.example?x",
            "https://shop.example#x",
            "ftp://shop.example",
            "https://user@shop.example",
            "https://shop.example:",
            "https://shop.example:0",
            "https://shop.example:65536",
            "https://shop.example:0443",
            "https://shop..example",
            "https://-a.example",
            "https://bücher.example",
            "https://shop.example ",
            "https://[::1",
            "https://[::1]x",
            "https://[x]",
            "https://a:b:c",
            &long,
        ] {
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_origin_is_read_again_as_it_was_written(text in "(https?://)?[a-z0-9.:\\[\\]*/@-]{0,30}|.{0,30}") {
            if let Some(origin) = Origin::parse(&text) {
                prop_assert_eq!(Origin::parse(origin.as_str()), Some(origin.clone()));
            }
        }
    }
}

//! Property tests: no configuration makes the parsers panic, and a shown value is parsed as the same value.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::address::{HostPort, parse_host};
use super::database_url::DatabaseUrl;
use super::{Config, duration};

/// Variables with a format of their own.
const VARIABLES: [&str; 12] = [
    "ADMIN_API_KEY",
    "BIND",
    "BODY_LIMIT",
    "DB_TRANSACTION_TIMEOUT",
    "HOLD_TTL",
    "QUEUE_URL",
    "READ_DB_URL",
    "REDIS_HOST",
    "REDIS_MODE",
    "REDIS_NODES",
    "REDIS_PORT",
    "WRITE_DB_URL",
];

/// A text like a URL with arbitrary parts.
fn url() -> impl Strategy<Value = String> {
    "(postgres|postgresql|amqp|amqps|kafka|db|x)://?([a-z%:@]{0,8}@)?[a-z0-9.:\\[\\]%-]{0,12}(/[ -~]{0,8})?(\\?[ -~]{0,8})?"
}

/// A text that resembles the value of a variable, or any text.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        url(),
        "[0-9]{0,22} ?(ms|s|m|h|d)?",
        "\\[?[a-z0-9.:]{0,20}\\]?:[0-9]{0,6}",
        any::<String>()
    ]
}

proptest! {
    #[test]
    fn no_configuration_makes_the_reader_panic(
        values in prop::collection::btree_map(prop::sample::select(&VARIABLES[..]), value(), 0..6)
    ) {
        let variables: BTreeMap<String, String> =
            values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        match Config::from_vars(&variables) {
            Ok(config) => drop(format!("{config:?}")),
            Err(problems) => prop_assert!(!super::ConfigProblems(problems).to_string().is_empty()),
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in value()) {
        if let Some(duration) = duration::parse(&text) {
            prop_assert_eq!(duration::parse(&duration::show(duration)), Some(duration));
        }
        if let Some(address) = HostPort::parse(&text) {
            prop_assert_eq!(HostPort::parse(&address.to_string()), Some(address));
        }
        if let Some(host) = parse_host(&text) {
            prop_assert_eq!(parse_host(&host), Some(host.clone()));
        }
        drop(DatabaseUrl::parse(&text));
    }

    #[test]
    fn a_duration_is_read_as_it_is_shown(ms in 1..=365 * 24 * 3_600_000_u64) {
        let duration = Duration::from_millis(ms);
        prop_assert_eq!(duration::parse(&duration::show(duration)), Some(duration));
    }

    #[test]
    fn an_address_is_read_as_it_is_shown(
        host in "[a-z][a-z0-9.-]{0,20}|[1-9][0-9]?\\.0\\.0\\.1|[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}",
        port in any::<u16>()
    ) {
        let address = HostPort { host, port };
        prop_assert_eq!(HostPort::parse(&address.to_string()), Some(address));
    }

    #[test]
    fn a_url_is_shown_without_its_password(
        password in "[a-zA-Z0-9%]{12,20}", host in "[a-z]{1,9}", port in 1..=u16::MAX
    ) {
        let text = format!("postgres://u:{password}@{host}:{port}/db");
        if let Some(url) = DatabaseUrl::parse(&text) {
            prop_assert_eq!(url.expose(), text.as_str());
            let shown = url.to_string();
            let debugged = format!("{:?}", url);
            let address = format!("{}:{}", host, port);
            prop_assert!(shown.contains(&address) && !shown.contains(&password));
            prop_assert!(!debugged.contains(&password));
        }
    }
}

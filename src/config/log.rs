//! The log: which lines are written, and their format.

use env_filter::Builder;

use super::macros::variables;

/// The default filter. It omits the lines that the migration and the server log at each start, and all lines of the
/// RabbitMQ client.
const FILTER: &str = "info,sea_orm_migration=warn,actix_server=warn,lapin=off";

variables! {
    /// Settings of the log.
    pub struct LogConfig {
        /// format of a log line: text, json, or auto (text on a terminal, json elsewhere)
        format: LogFormat = LOG_FORMAT.choice(
            LogFormat::Auto,
            &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json)],
        ),
        /// which log lines are written, in env_logger's syntax
        filter: String = RUST_LOG.setting(
            (FILTER.to_owned(), FILTER),
            "levels and modules in env_logger's syntax, separated by commas",
            parse_filter,
        ),
    }
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// Text, for people.
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// A filter that `env_logger` can read.
fn parse_filter(text: &str) -> Option<String> {
    Builder::new().try_parse(text).is_ok().then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::tests::{config, problems};

    #[test]
    fn a_filter_that_the_log_cannot_read_is_refused() {
        for filter in ["debug", "info,seatlock=debug", "seatlock::http=trace,off", "warn/seats"] {
            assert_eq!(config(&[("RUST_LOG", filter)]).log.filter, filter);
        }
        for filter in ["info,seatlock=loud", "info,a=b=c", "info/a/b"] {
            let found = problems(&[("RUST_LOG", filter)]);
            assert_eq!(found.len(), 1, "{filter}");
            assert!(found[0].starts_with(&format!("RUST_LOG=\"{filter}\": expected levels")));
        }
    }
}

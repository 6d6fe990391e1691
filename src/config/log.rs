//! Log lines: which are written, and in what form.

use super::reader::Reader;

/// Everything worth a line, without what two libraries say at each start.
const FILTER: &str = "info,sea_orm_migration=warn,actix_server=warn,lapin=off";

/// Settings of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `LOG_FORMAT`, default `auto`: the form of a line.
    pub format: LogFormat,
    /// `RUST_LOG`, default `info,sea_orm_migration=warn,actix_server=warn,lapin=off`: which lines are written,
    /// in `env_logger`'s own syntax. Read here too, so that the `.env` file can set it, which never
    /// reaches the process environment.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// An object a line, for machines.
    Json,
}

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            format: reader.choice(
                "LOG_FORMAT",
                ("auto", LogFormat::Auto),
                &[("text", LogFormat::Text), ("json", LogFormat::Json)],
                LogFormat::Auto,
                "form of a log line: text, json, or auto (text on a terminal, json elsewhere)",
            ),
            filter: reader.text(
                "RUST_LOG",
                FILTER,
                "which log lines are written, in env_logger's syntax",
            ),
        }
    }
}

//! The log: lines on the standard error, as text or as JSON.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal as _, Write as _};
use std::time::SystemTime;

use env_logger::Builder;
use env_logger::fmt::Formatter;
use log::kv::{self, Key, VisitSource, VisitValue};
use log::{LevelFilter, Record};
use seatlock::config::{LogConfig, LogFormat};
use seatlock::domain::clock::EpochMs;
use seatlock::http::time;
use seatlock::telemetry::redaction::redact;
use seatlock::telemetry::request_context::RequestContext;
use serde_json::{Map, Value};

/// Names that every JSON line has. If a record has a pair with one of these names, an underscore is appended to the
/// name.
const RESERVED: [&str; 4] = ["ts", "level", "target", "msg"];

/// Starts the log of this process, and logs panics.
pub(crate) fn init(config: &LogConfig) {
    let json = match config.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !io::stderr().is_terminal(),
    };
    let mut builder = filtered(&config.filter);
    builder.format(move |line, record| match json {
        true => writeln!(line, "{}", json_line(&timestamp(), record)),
        false => write_text(line, &timestamp(), record),
    });
    builder.init();
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => log::error!(target: "panic", "{panic}\n{backtrace}"),
            _ => log::error!(target: "panic", "{panic}"),
        }
    }));
}

/// A logger with this filter. Libraries that use `tracing` log the beginning of each span (`io_loop` of the RabbitMQ
/// client); these lines are written only if the filter names `tracing::span`.
fn filtered(filter: &str) -> Builder {
    let mut builder = Builder::new();
    builder.filter_module("tracing::span", LevelFilter::Off);
    builder.parse_filters(filter);
    builder
}

/// The time of this machine, as the API writes times.
fn timestamp() -> String {
    time::write(EpochMs::from(SystemTime::now()))
}

/// One JSON object without line breaks: `ts`, `level`, `target`, `msg`, then the request ids and the record's own
/// pairs.
fn json_line(timestamp: &str, record: &Record<'_>) -> String {
    #[derive(serde::Serialize)]
    struct Line<'a> {
        ts: &'a str,
        level: &'a str,
        target: &'a str,
        msg: String,
        #[serde(flatten)]
        pairs: Map<String, Value>,
    }
    let line = Line {
        ts: timestamp,
        level: record.level().as_str(),
        target: record.target(),
        msg: redact(&record.args().to_string()).into_owned(),
        pairs: pairs(record).collect(),
    };
    serde_json::to_string(&line).unwrap_or_default()
}

/// `time LEVEL target: message name=value`; the level is coloured if the output shows colours.
fn write_text(line: &mut Formatter, timestamp: &str, record: &Record<'_>) -> io::Result<()> {
    let level = record.level();
    let target = record.target();
    let message = record.args().to_string();
    let message = redact(&message);
    let style = line.default_level_style(level);
    write!(line, "{timestamp} {style}{level:5}{style:#} {target}: {message}")?;
    for (name, value) in pairs(record) {
        match value {
            Value::String(text) => write!(line, " {name}={text}")?,
            value => write!(line, " {name}={value}")?,
        }
    }
    writeln!(line)
}

/// The ids of the requests in the current context, then the record's own pairs without those that are null.
fn pairs(record: &Record<'_>) -> impl Iterator<Item = (String, Value)> {
    let mut pairs = Pairs(requests(&RequestContext::current()));
    // Neither visitor returns an error.
    let _ = record.key_values().visit(&mut pairs);
    pairs.0.into_iter().filter(|(_, value)| !value.is_null())
}

/// The ids of a context: one request by its id and trace context, several requests by their ids.
fn requests(context: &RequestContext) -> Vec<(String, Value)> {
    let pair = |name: &str, value: &str| (name.to_owned(), Value::from(value));
    match context.requests() {
        [] => Vec::new(),
        [request] => {
            let mut pairs = vec![pair("request_id", &request.id)];
            if let Some(trace) = &request.trace {
                pairs.push(pair("trace_id", &trace.trace_id));
                pairs.push(pair("span_id", &trace.span_id));
            }
            pairs
        }
        several => {
            let ids: Vec<&str> = several.iter().map(|request| request.id.as_str()).collect();
            vec![("request_ids".to_owned(), ids.into())]
        }
    }
}

struct Pairs(Vec<(String, Value)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        let mut json = Json(Value::Null);
        value.visit(&mut json)?;
        let mut name = key.as_str().to_owned();
        if RESERVED.contains(&name.as_str()) {
            name.push('_');
        }
        self.0.push((name, json.0));
        Ok(())
    }
}

/// A value as JSON: numbers and booleans keep their type, other values become text.
struct Json(Value);

macro_rules! typed {
    ($($visit:ident: $type:ty),+) => {
        $(fn $visit(&mut self, value: $type) -> Result<(), kv::Error> {
            self.0 = value.into();
            Ok(())
        })+
    };
}

impl VisitValue<'_> for Json {
    fn visit_any(&mut self, value: kv::Value<'_>) -> Result<(), kv::Error> {
        self.0 = Value::String(redact(&value.to_string()).into_owned());
        Ok(())
    }

    fn visit_null(&mut self) -> Result<(), kv::Error> {
        self.0 = Value::Null;
        Ok(())
    }

    typed! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64 }
}

#[cfg(test)]
mod tests {
    use log::{Level, Log as _};
    use seatlock::telemetry::request_context::{RequestIds, Trace};

    use super::*;

    fn line(message: &str, pairs: &[(&str, kv::Value<'_>)]) -> String {
        let mut record = Record::builder();
        record.level(Level::Warn).target("seatlock::http").key_values(&pairs);
        json_line("2026-11-22T12:00:00.007Z", &record.args(format_args!("{message}")).build())
    }

    #[test]
    fn a_line_is_one_object_whatever_the_message_contains() {
        for message in
            ["plain", "a \"quoted\"\\ word", "two\r\nlines\u{0}\u{1b}[0m", "{}", "\u{2028}é"]
        {
            let line = line(message, &[]);
            assert_eq!(line.lines().count(), 1, "{line}");
            let object: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(object["msg"], message);
            assert_eq!(object["level"], "WARN");
            assert_eq!(object["target"], "seatlock::http");
            assert_eq!(object["ts"], "2026-11-22T12:00:00.007Z");
        }
    }

    #[test]
    fn pairs_keep_their_types_and_replace_nothing() {
        let line = line(
            "answered",
            &[
                ("request_id", "a\"b".into()),
                ("status", 503_u16.into()),
                ("took_ms", 1.5_f64.into()),
                ("fresh", true.into()),
                ("msg", (-1_i64).into()),
            ],
        );
        let object: Value = serde_json::from_str(&line).unwrap();
        let expected = serde_json::json!({
            "ts": "2026-11-22T12:00:00.007Z", "level": "WARN", "target": "seatlock::http",
            "msg": "answered", "request_id": "a\"b", "status": 503, "took_ms": 1.5, "fresh": true,
            "msg_": -1,
        });
        assert_eq!(object, expected);
    }

    #[tokio::test]
    async fn a_line_names_the_requests_that_it_is_logged_for() {
        let context =
            |id: &str, trace| RequestContext::request(RequestIds { id: id.to_owned(), trace });
        let trace = Trace { trace_id: "4bf9".to_owned(), span_id: "00f0".to_owned() };
        let one = context("one", Some(trace));
        let line_of = |context: RequestContext| async move {
            let line =
                context.during(async { line("answered", &[("code", kv::Value::null())]) }).await;
            serde_json::from_str::<Value>(&line).unwrap()
        };
        let object = line_of(one.clone()).await;
        assert_eq!(object["request_id"], "one");
        assert_eq!((&object["trace_id"], &object["span_id"]), (&"4bf9".into(), &"00f0".into()));
        assert_eq!(object.get("code"), None, "nothing is left out");
        let object = line_of(RequestContext::all([one, context("two", None)])).await;
        assert_eq!(object["request_ids"], serde_json::json!(["one", "two"]));
        assert_eq!(object.get("request_id"), None);
    }

    #[test]
    fn spans_of_libraries_are_logged_only_if_the_filter_names_them() {
        let shown = |filter: &str, target: &str| {
            let metadata = log::Metadata::builder().target(target).level(Level::Info).build();
            filtered(filter).build().enabled(&metadata)
        };
        for filter in ["info", "trace", "info,seatlock=debug", "lapin=trace,info"] {
            assert!(shown(filter, "seatlock::queue"), "{filter}");
            assert!(!shown(filter, "tracing::span"), "{filter}");
            assert!(!shown(filter, "tracing::span::active"), "{filter}");
        }
        assert!(shown("info,tracing::span=info", "tracing::span"));
    }

    #[test]
    fn a_timestamp_has_milliseconds_in_utc() {
        let now = timestamp();
        assert_eq!(now.len(), "2026-11-22T12:00:00.007Z".len(), "{now}");
        assert!(now.starts_with("20") && now.ends_with('Z'), "{now}");
    }
}

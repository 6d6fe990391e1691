//! The common configuration and logging of all clients of librdkafka.

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use super::KafkaSettings;

/// The configuration of every client.
pub(super) fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "seatlock")
        // Reconnects to a restarted broker within a second. By default librdkafka waits for up to ten seconds.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true");
    config
}

/// The configuration of a client that reads without being a member of the group.
pub(super) fn reader_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = config(settings);
    // librdkafka requires a group id to read. Without a subscription and commits the client does not join the group.
    config
        .set("group.id", &settings.name)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50");
    config
}

/// Logs a message of librdkafka at level debug, because librdkafka reports every lost connection several times, and the
/// callers get errors in any case.
pub(super) fn log(facility: &str, text: &str) {
    log::debug!("librdkafka: {facility} {text}");
}

/// The context of clients without callbacks.
pub(super) struct SilentContext;

impl ClientContext for SilentContext {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        log(facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log(&error.to_string(), reason);
    }
}

impl ConsumerContext for SilentContext {}

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
        // A restarted broker is found within a second; by default librdkafka waits for up to ten.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true");
    config
}

/// The configuration of a client that reads without being a member of the group.
pub(super) fn reader_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = config(settings);
    // librdkafka needs a group to read. Without a subscription and commits the client does not take part in it.
    config
        .set("group.id", &settings.name)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50");
    config
}

/// Logs at level debug: librdkafka reports every lost connection several times, and callers get errors anyway.
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

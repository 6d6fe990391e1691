//! What all clients of librdkafka here share: where the brokers are, where the log goes.

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;

use super::KafkaSettings;

/// What every client is made with.
pub(super) fn config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &settings.brokers)
        .set("client.id", "seatlock")
        // A broker that is back is found within a second; librdkafka would wait for up to ten.
        .set("reconnect.backoff.max.ms", "1000")
        .set("socket.keepalive.enable", "true")
        .set("socket.nagle.disable", "true");
    config
}

/// A client that reads, without a place in the group.
pub(super) fn reader_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = config(settings);
    // Without a group librdkafka reads nothing. Only who subscribes takes part in it, and only who commits
    // changes it.
    config
        .set("group.id", &settings.name)
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "50");
    config
}

/// librdkafka tells every lost connection, several times; whoever asked for something hears of it anyway.
pub(super) fn log(facility: &str, text: &str) {
    log::debug!("librdkafka: {facility} {text}");
}

/// A client that has nothing to tell.
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

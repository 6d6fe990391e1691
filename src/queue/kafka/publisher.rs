//! The publisher, which sends records and returns their outcomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::statistics::Statistics;
use tokio::time::{Instant, timeout_at};

use super::KafkaSettings;
use super::client::{self, config};
use super::record::KafkaRecord;
use crate::queue::PublishError;

/// How often librdkafka reports the state of its brokers, in milliseconds.
const REPORT_MS: u32 = 500;

/// After this many consecutive reports without a connected broker, Kafka is considered unavailable. This is longer than
/// the second in which librdkafka replaces an idle connection that a broker has closed.
const REPORTS_UNAVAILABLE: u32 = 4;

/// The most messages, and the most KiB of messages, that are buffered in this process.
const LOCAL_MESSAGES_MAX: u32 = 16_384;
const LOCAL_KIB_MAX: u32 = 65_536;

/// The sending side of a queue.
pub(super) struct KafkaPublisher {
    config: ClientConfig,
    context: PublisherContext,
    /// `None` after the publisher was closed.
    producer: Mutex<Option<Arc<Producer>>>,
}

/// A client of librdkafka. Dropping the client waits for its threads, so it is dropped on a separate thread.
struct Producer(Option<FutureProducer<PublisherContext>>);

impl Drop for Producer {
    fn drop(&mut self) {
        let producer = self.0.take();
        // If no thread can be started, the client is dropped on this thread.
        drop(std::thread::Builder::new().spawn(move || drop(producer)));
    }
}

/// The callbacks of librdkafka.
#[derive(Clone, Default)]
struct PublisherContext {
    /// The number of consecutive reports without a connected broker.
    reports_without_broker: Arc<AtomicU32>,
}

impl ClientContext for PublisherContext {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log(facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log(&error.to_string(), reason);
    }

    fn stats(&self, statistics: Statistics) {
        if statistics.brokers.values().any(|broker| matches!(&*broker.state, "UP" | "UPDATE")) {
            self.reports_without_broker.store(0, Ordering::Relaxed);
        } else {
            self.reports_without_broker.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl KafkaPublisher {
    /// Creates the client, which connects in the background.
    pub(super) fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        let mut config = config(settings);
        config
            // A message is published when all in-sync replicas have it, and a retry after a lost answer does not
            // write it twice.
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            // Longer than PUBLISH_LIMIT: a message whose outcome is unknown is sent again with its old sequence number
            // when brokers are available again. Dropping the message earlier would require a new producer epoch.
            .set("delivery.timeout.ms", "30000")
            .set("request.timeout.ms", "2000")
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            // The partitioner of Kafka's Java clients, also for an empty key.
            .set("partitioner", "murmur2")
            .set("queue.buffering.max.messages", LOCAL_MESSAGES_MAX.to_string())
            .set("queue.buffering.max.kbytes", LOCAL_KIB_MAX.to_string())
            .set("statistics.interval.ms", REPORT_MS.to_string());
        let context = PublisherContext::default();
        let producer = Mutex::new(Some(Producer::new(&config, &context)?));
        Ok(Self { config, context, producer })
    }

    /// Sends a record. Returns when the brokers have confirmed it, and at the deadline at the latest.
    pub(super) async fn send(
        &self,
        record: KafkaRecord,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        let reports = self.context.reports_without_broker.load(Ordering::Relaxed);
        if reports >= REPORTS_UNAVAILABLE {
            return Err(PublishError::Unavailable("no broker can be reached".to_owned()));
        }
        let producer = self.producer.lock().clone().ok_or_else(closed)?;
        let report = match producer.enqueue(&record) {
            // A client that has had a fatal error cannot send any more.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) => {
                self.renew(&producer)?.enqueue(&record)
            }
            result => result,
        };
        let report = report.map_err(|error| not_enqueued(&error))?;
        match timeout_at(deadline, report).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err((error, _)))) => Err(not_confirmed(&error)),
            // The record may still be in the buffer of librdkafka, and be sent later.
            Ok(Err(_)) | Err(_) => Err(PublishError::Unknown),
        }
    }

    /// Refuses further records. Records in flight may be written or not.
    pub(super) fn close(&self) {
        *self.producer.lock() = None;
    }

    /// Replaces a broken client, unless another caller has already replaced it.
    fn renew(&self, broken: &Arc<Producer>) -> Result<Arc<Producer>, PublishError> {
        let mut current = self.producer.lock();
        let producer = current.as_mut().ok_or_else(closed)?;
        if Arc::ptr_eq(producer, broken) {
            log::warn!("kafka: the producer is unusable and is replaced");
            *producer = Producer::new(&self.config, &self.context)
                .map_err(|error| PublishError::Unavailable(error.to_string()))?;
        }
        Ok(Arc::clone(producer))
    }
}

fn closed() -> PublishError {
    PublishError::Unavailable("it has been closed".to_owned())
}

impl Producer {
    fn new(config: &ClientConfig, context: &PublisherContext) -> KafkaResult<Arc<Self>> {
        Ok(Arc::new(Self(Some(config.create_with_context(context.clone())?))))
    }

    /// Adds a record to the buffer of librdkafka, without waiting. After an error the record is not sent.
    fn enqueue(&self, record: &KafkaRecord) -> Result<DeliveryFuture, KafkaError> {
        let Some(producer) = &self.0 else { return Err(KafkaError::Canceled) };
        let mut sent = FutureRecord::<str, [u8]>::to(&record.topic).key(&record.key);
        sent.partition = record.partition;
        sent.payload = record.body.as_deref();
        sent.headers = Some(record.headers.clone());
        producer.send_result(sent).map_err(|(error, _)| error)
    }
}

/// The outcome of a record that librdkafka did not accept.
fn not_enqueued(error: &KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => PublishError::Full,
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::Rejected(error.to_string()),
        _ => PublishError::Unavailable(error.to_string()),
    }
}

/// The outcome of a record that librdkafka accepted and then reported as failed. The record may have been written if
/// only its confirmation was lost.
fn not_confirmed(error: &KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        // Every attempt fails with these errors, so no earlier attempt was successful.
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::Rejected(error.to_string()),
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => PublishError::Unavailable(error.to_string()),
        _ => {
            log::debug!("kafka did not confirm a message: {error}");
            PublishError::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: RDKafkaErrorCode) -> KafkaError {
        KafkaError::MessageProduction(code)
    }

    #[test]
    fn only_a_record_that_cannot_have_been_written_has_a_known_outcome() {
        assert_eq!(not_enqueued(&error(RDKafkaErrorCode::QueueFull)), PublishError::Full);
        let unavailable = |error| matches!(error, PublishError::Unavailable(_));
        assert!(unavailable(not_enqueued(&error(RDKafkaErrorCode::UnknownPartition))));
        assert!(unavailable(not_confirmed(&error(RDKafkaErrorCode::UnknownTopic))));
        for outcome in [not_enqueued, not_confirmed] {
            let rejected = outcome(&error(RDKafkaErrorCode::MessageSizeTooLarge));
            assert!(
                matches!(rejected, PublishError::Rejected(_)),
                "a record that is too large is rejected"
            );
        }
        for code in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::Fatal,
        ] {
            assert_eq!(not_confirmed(&error(code)), PublishError::Unknown, "{code}");
        }
    }
}

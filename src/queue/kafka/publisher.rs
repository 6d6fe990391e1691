//! Sends records, and says truthfully what became of them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// How often librdkafka tells whether it has brokers, in milliseconds.
const REPORT_MS: u32 = 500;

/// So many reports in a row without a broker mean that Kafka is away. An idle connection that a broker
/// has closed is replaced within a second.
const REPORTS_AWAY: u32 = 4;

/// How many messages may wait here for their brokers, and how many KiB.
const LOCAL_MESSAGES_MAX: u32 = 16_384;
const LOCAL_KIB_MAX: u32 = 65_536;

/// The sending side of a queue.
pub(super) struct KafkaPublisher {
    config: ClientConfig,
    brokers: Arc<Brokers>,
    producer: Mutex<State>,
}

enum State {
    Open(Producer),
    Closed,
}

/// A client of librdkafka, shared; its end waits for threads and is therefore left to one of its own.
#[derive(Clone)]
struct Producer(Arc<Owned>);

struct Owned(Option<FutureProducer<GroupContext>>);

impl Drop for Owned {
    fn drop(&mut self) {
        let producer = self.0.take();
        // Where no thread can be had it ends right here.
        drop(std::thread::Builder::new().spawn(move || drop(producer)));
    }
}

/// Whether there are brokers.
#[derive(Default)]
struct Brokers {
    reports_without: AtomicU32,
}

/// What librdkafka tells the publisher.
struct GroupContext {
    brokers: Arc<Brokers>,
}

impl ClientContext for GroupContext {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        client::log(facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        client::log(&error.to_string(), reason);
    }

    fn stats(&self, statistics: Statistics) {
        let brokers = &self.brokers.reports_without;
        if statistics.brokers.values().any(|broker| matches!(&*broker.state, "UP" | "UPDATE")) {
            brokers.store(0, Ordering::Relaxed);
        } else {
            brokers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl KafkaPublisher {
    /// Prepares the client, which connects by itself.
    pub(super) fn new(settings: &KafkaSettings) -> KafkaResult<Self> {
        let mut config = config(settings);
        config
            // All copies that the topic demands have it before a message counts as published, and a
            // repetition after a lost answer does not write it twice.
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("linger.ms", "2")
            // Beyond PUBLISH_LIMIT: a message whose fate is unknown is sent again, under its old sequence
            // number, when brokers are back. Giving it up would cost the producer its epoch.
            .set("delivery.timeout.ms", "30000")
            .set("request.timeout.ms", "2000")
            .set("retry.backoff.ms", "50")
            .set("retry.backoff.max.ms", "500")
            // As Kafka's own clients: one key, one partition, the empty key too.
            .set("partitioner", "murmur2")
            .set("queue.buffering.max.messages", LOCAL_MESSAGES_MAX.to_string())
            .set("queue.buffering.max.kbytes", LOCAL_KIB_MAX.to_string())
            .set("statistics.interval.ms", REPORT_MS.to_string());
        let brokers = Arc::new(Brokers::default());
        let producer = Mutex::new(State::Open(Producer::new(&config, &brokers)?));
        Ok(Self { config, brokers, producer })
    }

    /// Done when the brokers have confirmed the record; by the deadline at the latest.
    pub(super) async fn send(
        &self,
        record: KafkaRecord,
        deadline: Instant,
    ) -> Result<(), PublishError> {
        if self.brokers.reports_without.load(Ordering::Relaxed) >= REPORTS_AWAY {
            return Err(PublishError::Away("no broker can be reached".to_owned()));
        }
        let producer = self.producer()?;
        let report = match producer.enqueue(&record) {
            // Nothing more goes through this client, whatever the reason was.
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) => {
                self.renew(&producer)?.enqueue(&record)
            }
            result => result,
        };
        let report = report.map_err(|error| refused(&error))?;
        match timeout_at(deadline, report).await {
            Ok(Ok(Ok(_))) => Ok(()),
            Ok(Ok(Err((error, _)))) => Err(reported(&error)),
            // It may go on waiting inside librdkafka, and be sent after all.
            Ok(Err(_)) | Err(_) => Err(PublishError::Unknown),
        }
    }

    /// Sends nothing more. What is under way may arrive or not.
    pub(super) fn close(&self) {
        *self.state() = State::Closed;
    }

    fn producer(&self) -> Result<Producer, PublishError> {
        match &*self.state() {
            State::Open(producer) => Ok(producer.clone()),
            State::Closed => Err(PublishError::Away("it has been closed here".to_owned())),
        }
    }

    /// The client that takes the place of a broken one.
    fn renew(&self, broken: &Producer) -> Result<Producer, PublishError> {
        let mut state = self.state();
        match &mut *state {
            State::Closed => Err(PublishError::Away("it has been closed here".to_owned())),
            State::Open(producer) => {
                if Arc::ptr_eq(&producer.0, &broken.0) {
                    log::warn!("kafka: the producer cannot go on: making another");
                    *producer = Producer::new(&self.config, &self.brokers)
                        .map_err(|error| PublishError::Away(error.to_string()))?;
                }
                Ok(producer.clone())
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Producer {
    fn new(config: &ClientConfig, brokers: &Arc<Brokers>) -> KafkaResult<Self> {
        let context = GroupContext { brokers: Arc::clone(brokers) };
        Ok(Self(Arc::new(Owned(Some(config.create_with_context(context)?)))))
    }

    /// Hands a record to librdkafka; waits for nothing. After an error it was not sent.
    fn enqueue(&self, record: &KafkaRecord) -> Result<DeliveryFuture, KafkaError> {
        let Some(producer) = &self.0.0 else { return Err(KafkaError::Canceled) };
        let mut sent = FutureRecord::<str, [u8]>::to(&record.topic).key(&record.key);
        sent.partition = record.partition;
        sent.payload = record.body.as_deref();
        sent.headers = Some(record.headers.clone());
        producer.send_result(sent).map_err(|(error, _)| error)
    }
}

/// What librdkafka did not even take.
fn refused(error: &KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => PublishError::Full,
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::Unfit(error.to_string()),
        _ => PublishError::Away(error.to_string()),
    }
}

/// What librdkafka took and reported as failed: it may have been sent, more than once, and confirmed in vain.
fn reported(error: &KafkaError) -> PublishError {
    match error.rdkafka_error_code() {
        // These are not about this attempt: every earlier one was, or would have been, refused too.
        Some(RDKafkaErrorCode::MessageSizeTooLarge) => PublishError::Unfit(error.to_string()),
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed,
        ) => PublishError::Away(error.to_string()),
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
    fn only_what_cannot_have_been_written_is_said_not_to_be() {
        assert_eq!(refused(&error(RDKafkaErrorCode::QueueFull)), PublishError::Full);
        let away = |answer| matches!(answer, PublishError::Away(_));
        assert!(away(refused(&error(RDKafkaErrorCode::UnknownPartition))));
        assert!(away(reported(&error(RDKafkaErrorCode::UnknownTopic))));
        for judge in [refused, reported] {
            let unfit = judge(&error(RDKafkaErrorCode::MessageSizeTooLarge));
            assert!(matches!(unfit, PublishError::Unfit(_)), "it is too large at every attempt");
        }
        for code in [
            RDKafkaErrorCode::MessageTimedOut,
            RDKafkaErrorCode::BrokerTransportFailure,
            RDKafkaErrorCode::NotEnoughReplicasAfterAppend,
            RDKafkaErrorCode::PurgeQueue,
            RDKafkaErrorCode::Fatal,
        ] {
            assert_eq!(reported(&error(code)), PublishError::Unknown, "{code}");
        }
    }
}

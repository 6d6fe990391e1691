//! The queue in RabbitMQ, 3.10 or later.
//!
//! `topology` names and declares the queues, `publisher` publishes through a `session`, `consumer` consumes, and
//! `dead_letters` reads and changes the dead letters through an `inspection`. `message` encodes and decodes messages.
//! `connection` connects through a `transport`. docs/adr/0008 explains the design.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered,
    Deliveries, Message, Partition, PublishError, Queue, QueueError,
};

mod connection;
mod consumer;
mod dead_letters;
mod inspection;
mod message;
mod publisher;
mod session;
mod topology;
mod transport;

use connection::RabbitConnector;
use consumer::Consumers;
use dead_letters::RabbitDeadLetters;
use message::OutboundMessage;
use publisher::RabbitPublisher;
use topology::RabbitTopology;

/// The broker, and the queues in it.
#[derive(Debug, Clone)]
pub struct RabbitSettings {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for an encrypted connection. With `amqps://`,
    /// `?cacertfile=PATH` names the trusted certificate authorities instead of the system's. The URL is a secret.
    pub url: String,
    /// The prefix of all queue names: `<name>.0`, `<name>.1`, …, `<name>.dead`.
    pub name: String,
    /// The number of partitions. Must not change while there are messages.
    pub partitions: u16,
    /// The most messages in all partitions together, divided equally among them; also the most dead letters. The broker
    /// may store a few more.
    pub max: u64,
}

/// A queue in RabbitMQ.
pub struct RabbitQueue {
    topology: Arc<RabbitTopology>,
    publisher: Arc<RabbitPublisher>,
    consumers: Consumers,
    dead_letters: RabbitDeadLetters,
}

impl RabbitQueue {
    /// Creates the queue, which connects at its first use. Must be called inside the tokio runtime in which its tasks
    /// run. Fails on invalid settings.
    pub fn new(settings: &RabbitSettings) -> Result<Self, QueueError> {
        let topology = Arc::new(RabbitTopology::new(settings)?);
        let connector = Arc::new(RabbitConnector::new(&settings.url)?);
        let publisher = RabbitPublisher::start(Arc::clone(&connector), Arc::clone(&topology));
        let publisher = Arc::new(publisher);
        let consumers = Consumers::new(Arc::clone(&connector), Arc::clone(&topology));
        let dead_letters = RabbitDeadLetters {
            connector,
            topology: Arc::clone(&topology),
            publisher: Arc::clone(&publisher),
        };
        Ok(Self { topology, publisher, consumers, dead_letters })
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn publish(&self, partition: Partition, message: Message) -> Result<(), PublishError> {
        let message = OutboundMessage::to_partition(&self.topology, partition, message)?;
        self.publisher.publish(message).await
    }

    async fn open(&self, partition: Partition) -> Result<Box<dyn Deliveries>, QueueError> {
        Ok(Box::new(self.consumers.open(partition).await?))
    }

    async fn add_dead_letter(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> Result<DeadLettered, QueueError> {
        self.dead_letters.add(partition, message, &reason).await
    }

    async fn dead_letters(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        self.dead_letters.list(limit).await
    }

    async fn resolve_dead_letters(
        &self,
        selection: DeadLetterSelection,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError> {
        self.dead_letters.resolve(&selection, action, progress).await
    }

    /// RabbitMQ does not distribute partitions among processes: the first consumer of a partition remains its consumer,
    /// so one process could have all of them.
    fn worker_group(&self) -> Option<String> {
        Some(self.topology.dead().as_str().to_owned())
    }

    async fn close(&self) {
        self.publisher.close().await;
        self.consumers.close().await;
    }
}

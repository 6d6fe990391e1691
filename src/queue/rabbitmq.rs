//! The queue in front in RabbitMQ, 3.10 or later: its settings, and what the queue promises in terms of its parts.
//!
//! `layout` names and declares the queues, `publisher` has the way in with `session`, `consumer` the way
//! out, `letters` with `desk` the dead letters; `form` is what all of them look like. `connection` connects,
//! `transport` is what lapin does it on.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use lapin::BasicProperties;
use lapin::types::ShortString;

use super::{
    DeadLetter, Deliveries, Fate, LetterCounts, LetterSelection, Message, Parked, Partition,
    PublishError, Queue, QueueError,
};

mod connection;
mod consumer;
mod dead_letters;
mod form;
mod inspection;
mod outbound;
mod publisher;
mod session;
mod topology;
mod transport;

use connection::RabbitConnector;
use consumer::Consumers;
use dead_letters::Letters;
use outbound::OutboundMessage;
use publisher::RabbitPublisher;
use topology::RabbitTopology;

/// Which RabbitMQ, and what of it.
#[derive(Debug, Clone)]
pub struct RabbitSettings {
    /// `amqp://user:password@host:port/vhost`, or `amqps://` for an encrypted connection; then
    /// `?cacertfile=PATH` names the authorities to believe instead of the system's. A secret.
    pub url: String,
    /// What the names of all queues begin with: `<name>.0`, `<name>.1`, …, `<name>.dead`.
    pub name: String,
    /// How many partitions there are. Must never change while there are messages.
    pub partitions: u16,
    /// How many messages may wait in all partitions together, an equal share in each; and how many dead
    /// letters. The broker may be a few over it.
    pub max: u64,
}

/// A queue in RabbitMQ.
pub struct RabbitQueue {
    layout: Arc<RabbitTopology>,
    publisher: Arc<RabbitPublisher>,
    consumers: Consumers,
    letters: Letters,
}

impl RabbitQueue {
    /// Connects with its first use. Has to be called within the tokio runtime that is to do its work. Fails on
    /// settings that no broker could suit.
    pub fn new(settings: &RabbitSettings) -> Result<Self, QueueError> {
        let layout = Arc::new(RabbitTopology::new(settings)?);
        let connector = Arc::new(RabbitConnector::new(&settings.url)?);
        let publisher =
            Arc::new(RabbitPublisher::start(Arc::clone(&connector), Arc::clone(&layout)));
        let consumers = Consumers::new(Arc::clone(&connector), Arc::clone(&layout));
        let letters = Letters::new(connector, Arc::clone(&layout), Arc::clone(&publisher));
        Ok(Self { layout, publisher, consumers, letters })
    }
}

impl Queue for RabbitQueue {
    fn publish(
        &self,
        partition: Partition,
        message: Message,
    ) -> BoxFuture<'_, Result<(), PublishError>> {
        async move {
            let parcel = self.layout.queue(partition).and_then(|queue| parcel(queue, message));
            let parcel = parcel.map_err(|problem| PublishError::Unfit(problem.0))?;
            self.publisher.publish(parcel).await
        }
        .boxed()
    }

    fn open(&self, partition: Partition) -> BoxFuture<'_, Result<Box<dyn Deliveries>, QueueError>> {
        async move {
            let deliveries = self.consumers.open(partition).await?;
            Ok(Box::new(deliveries) as Box<dyn Deliveries>)
        }
        .boxed()
    }

    fn park(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> BoxFuture<'_, Result<Parked, QueueError>> {
        self.letters.park(partition, message, reason).boxed()
    }

    fn letters(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, QueueError>> {
        self.letters.list(limit).boxed()
    }

    fn take<'a>(
        &'a self,
        which: LetterSelection,
        fate: Fate,
        tally: &'a LetterCounts,
    ) -> BoxFuture<'a, Result<(), QueueError>> {
        async move { self.letters.take(&which, fate, tally).await }.boxed()
    }

    /// A partition's first consumer would keep it as long as it lives, so one process would have them all.
    fn shared_as(&self) -> Option<String> {
        Some(self.layout.dead().as_str().to_owned())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.publisher.close().await;
            self.consumers.close().await;
        }
        .boxed()
    }
}

/// A message that survives the broker's restart. Fails if its id is longer than 255 bytes.
fn parcel(queue: ShortString, message: Message) -> Result<OutboundMessage, QueueError> {
    /// Written to disk (AMQP 0-9-1, basic class, `delivery-mode`).
    const PERSISTENT: u8 = 2;
    let id = ShortString::try_new(message.id).map_err(QueueError::new)?;
    let properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id);
    Ok(OutboundMessage { queue, properties, body: message.body })
}

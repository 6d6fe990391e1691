//! Reads and removes the dead letters in RabbitMQ.
//!
//! RabbitMQ cannot read a queue without consuming from it. So an inspection receives every dead letter, and returns the
//! dead letters that it does not remove. Only one connection at a time may inspect (docs/adr/0008).

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicGetOptions, BasicNackOptions,
    BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{sleep, timeout};

use super::connection::{RabbitConnection, RabbitConnector};
use super::message;
use super::topology::RabbitTopology;
use crate::queue::{DeadLetter, QueueError};

/// The time between two attempts to begin, and between two checks whether all returned dead letters are in the queue.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The longest wait for the end of another inspection.
const BEGIN_LIMIT: Duration = Duration::from_secs(60);

/// After this time without a delivery, a message is requested from the broker (`basic.get`). The broker delivers no
/// more messages than the prefetch limit, and none that another consumer has received.
const DELIVERY_WAIT: Duration = Duration::from_millis(500);

/// The longest wait for an answer of the broker.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The longest wait until the broker has requeued the returned dead letters.
const RETURN_LIMIT: Duration = Duration::from_secs(10);

/// An inspection of all dead letters.
pub(super) struct LetterInspection {
    connection: RabbitConnection,
    channel: Channel,
    topology: Arc<RabbitTopology>,
    consumer: Consumer,
    /// The number of dead letters that existed at the beginning and were not delivered yet.
    unread: usize,
    /// The number of dead letters that existed at the beginning and were not removed.
    remaining: usize,
}

impl LetterInspection {
    /// Waits until no other process inspects, then begins an inspection.
    pub(super) async fn begin(
        connector: &RabbitConnector,
        topology: Arc<RabbitTopology>,
    ) -> Result<Self, QueueError> {
        let beginning = async {
            let connection = connector.connect("dead letters").await?;
            topology.declare(&connection, &topology.dead()).await?;
            let channel = lock(&connection, &topology).await?;
            let count = count(&channel, &topology).await?;
            let prefetch = channel.basic_qos(u16::MAX, BasicQosOptions::default());
            prefetch.await.map_err(QueueError::new)?;
            let tag = ShortString::default();
            let options = BasicConsumeOptions::default();
            let queue = topology.dead();
            let consumer = channel.basic_consume(queue, tag, options, FieldTable::default()).await;
            let consumer = consumer.map_err(QueueError::new)?;
            let unread = count;
            let remaining = count;
            Ok(Self { connection, channel, topology, consumer, unread, remaining })
        };
        let late = |_| QueueError::new("another process inspects the dead letters");
        timeout(BEGIN_LIMIT, beginning).await.map_err(late)?
    }

    /// The next dead letter with its delivery tag. `None` after the last dead letter that existed at the beginning.
    /// Dead letters that an earlier inspection has returned come first.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, DeadLetter)>, QueueError> {
        if self.unread == 0 {
            return Ok(None);
        }
        let delivery = match timeout(DELIVERY_WAIT, self.consumer.next()).await {
            Ok(Some(delivery)) => delivery.map_err(QueueError::new)?,
            Ok(None) => return Err(QueueError::new("the broker has ended the inspection")),
            Err(_) => {
                let queue = self.topology.dead();
                let get = self.channel.basic_get(queue, BasicGetOptions::default());
                let Some(message) = answered(get).await? else {
                    self.unread = 0;
                    return Ok(None);
                };
                message.delivery
            }
        };
        self.unread -= 1;
        let letter = message::dead_letter(&self.topology, &delivery.properties, delivery.data);
        Ok(Some((delivery.delivery_tag, letter)))
    }

    pub(super) async fn remove(&mut self, tag: u64) -> Result<(), QueueError> {
        let removed = self.channel.basic_ack(tag, BasicAckOptions::default());
        removed.await.map_err(QueueError::new)?;
        self.remaining = self.remaining.saturating_sub(1);
        Ok(())
    }

    /// Returns all dead letters that were not removed, waits until the queue contains them again, and ends the
    /// inspection.
    pub(super) async fn end(self) -> Result<(), QueueError> {
        // The consumer must be cancelled first, otherwise returned dead letters would be delivered to it again.
        let ending = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        ending.await.map_err(QueueError::new)?;
        let options = BasicNackOptions { multiple: true, requeue: true };
        self.channel.basic_nack(0, options).await.map_err(QueueError::new)?;
        // The broker requeues them in the background. An earlier inspection would read them in another order.
        let returning = async {
            while count(&self.channel, &self.topology).await? < self.remaining {
                sleep(POLL_INTERVAL).await;
            }
            Ok::<_, QueueError>(())
        };
        let returned = timeout(RETURN_LIMIT, returning).await;
        self.connection.end().await;
        returned.unwrap_or(Ok(()))
    }
}

/// Waits until no other process inspects, and locks the dead letters by declaring an exclusive queue, which only one
/// connection can have.
async fn lock(
    connection: &RabbitConnection,
    topology: &RabbitTopology,
) -> Result<Channel, QueueError> {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    loop {
        let channel = connection.channel().await?;
        match channel.queue_declare(topology.inspection(), options, FieldTable::default()).await {
            Ok(_) => return Ok(channel),
            Err(error) if error.to_string().contains("RESOURCE_LOCKED") => {
                sleep(POLL_INTERVAL).await
            }
            Err(error) => return Err(QueueError::new(error)),
        }
    }
}

/// The number of dead letters that no consumer has received.
async fn count(channel: &Channel, topology: &RabbitTopology) -> Result<usize, QueueError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare(topology.dead(), passive, FieldTable::default());
    let queue = answered(queue).await?;
    Ok(usize::try_from(queue.message_count()).unwrap_or_default())
}

/// Waits for an answer of the broker, within the limit.
async fn answered<T>(answer: impl Future<Output = lapin::Result<T>>) -> Result<T, QueueError> {
    let answer = timeout(ANSWER_LIMIT, answer).await;
    answer.map_err(|_| QueueError::new("no answer from the broker"))?.map_err(QueueError::new)
}

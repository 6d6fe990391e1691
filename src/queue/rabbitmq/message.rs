//! The encoding of messages and dead letters in RabbitMQ: id, headers, body.

use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use sha2::{Digest as _, Sha256};

use super::topology::{DELIVERY_LIMIT, RabbitTopology};
use crate::domain::clock::EpochMs;
use crate::queue::{DeadLetter, Message, Partition, PublishError, QueueError};

/// The headers of a dead letter that this service has published.
const REASON: &str = "x-seatlock-reason";
const PARTITION: &str = "x-seatlock-partition";
const DEAD_LETTERED_AT: &str = "x-seatlock-parked-at";

/// The most characters of a reason. A longer reason is truncated, because all headers must fit into one frame.
const REASON_CHARS: usize = 2_000;

/// The delivery mode of messages that are written to disk (AMQP 0-9-1, basic class, `delivery-mode`).
const PERSISTENT: u8 = 2;

/// A message to publish to a queue.
pub(super) struct OutboundMessage {
    pub(super) queue: ShortString,
    /// They contain the message id, by which a returned message is recognised.
    pub(super) properties: BasicProperties,
    pub(super) body: Vec<u8>,
}

impl OutboundMessage {
    /// A message that survives a restart of the broker. Fails if its id is longer than 255 bytes.
    pub(super) fn new(queue: ShortString, message: Message) -> Result<Self, QueueError> {
        let id = ShortString::try_new(message.id).map_err(QueueError::new)?;
        let properties =
            BasicProperties::default().with_delivery_mode(PERSISTENT).with_message_id(id);
        Ok(Self { queue, properties, body: message.body })
    }

    /// A message for the queue of a partition.
    pub(super) fn to_partition(
        topology: &RabbitTopology,
        partition: Partition,
        message: Message,
    ) -> Result<Self, PublishError> {
        let new = topology.queue(partition).and_then(|queue| Self::new(queue, message));
        new.map_err(|error| PublishError::Rejected(error.0))
    }

    /// Adds the headers of a dead letter.
    pub(super) fn into_dead_letter(mut self, partition: Partition, reason: &str) -> Self {
        let reason: String = reason.chars().take(REASON_CHARS).collect();
        let mut headers = FieldTable::default();
        headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
        headers.insert(PARTITION.into(), AMQPValue::LongLongInt(partition.0.into()));
        let now = EpochMs::from(SystemTime::now());
        headers.insert(DEAD_LETTERED_AT.into(), AMQPValue::LongLongInt(now.0));
        self.properties = self.properties.with_headers(headers);
        self
    }
}

/// Reads a message, which another program may have published.
pub(super) fn message(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let id = properties.message_id().as_ref().map(|id| id.as_str().to_owned());
    // Without an id, a hash of the body identifies the message, because the body is the same in each delivery.
    let id = id.unwrap_or_else(|| {
        let digest = Sha256::digest(&body);
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    });
    Message { id, body }
}

/// Reads a dead letter, which has the headers of this service, the header of the broker (`x-death`), or none.
pub(super) fn dead_letter(
    topology: &RabbitTopology,
    properties: &BasicProperties,
    body: Vec<u8>,
) -> DeadLetter {
    let message = message(properties, body);
    let headers = properties.headers().clone().unwrap_or_default();
    if let Some(reason) = text(&headers, REASON) {
        let partition = number(&headers, PARTITION).and_then(|number| u16::try_from(number).ok());
        return DeadLetter {
            message,
            partition: Partition(partition.unwrap_or_default()),
            reason,
            dead_lettered_at: EpochMs(number(&headers, DEAD_LETTERED_AT).unwrap_or_default()),
        };
    }
    let death = match headers.inner().get("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => match deaths.as_slice().first() {
            Some(AMQPValue::FieldTable(death)) => death.clone(),
            _ => FieldTable::default(),
        },
        _ => FieldTable::default(),
    };
    let reason = match text(&death, "reason").as_deref() {
        Some("delivery_limit") => format!(
            "it was delivered more than {DELIVERY_LIMIT} times and never settled: each time its consumer ended, \
             or lost its connection to the broker"
        ),
        Some(other) => format!("rabbitmq made it a dead letter: {other}"),
        None => "another program published it to the dead letters".to_owned(),
    };
    let queue = text(&death, "queue").unwrap_or_default();
    DeadLetter {
        message,
        partition: topology.partition(&queue).unwrap_or(Partition(0)),
        reason,
        dead_lettered_at: EpochMs(number(&death, "time").unwrap_or_default()),
    }
}

fn text(table: &FieldTable, key: &str) -> Option<String> {
    match table.inner().get(key)? {
        AMQPValue::LongString(value) => {
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        }
        _ => None,
    }
}

/// The integer in a field. A time, which the broker writes in whole seconds, is converted to milliseconds.
fn number(table: &FieldTable, key: &str) -> Option<i64> {
    match table.inner().get(key)? {
        AMQPValue::LongLongInt(value) => Some(*value),
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds).ok()?.checked_mul(1_000),
        _ => None,
    }
}

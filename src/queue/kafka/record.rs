//! The encoding of messages and dead letters as records of Kafka: key, headers, body.

use rdkafka::message::{BorrowedMessage, Header, Headers, Message as _, OwnedHeaders};

use super::KafkaSettings;
use crate::domain::clock::EpochMs;
use crate::queue::{DeadLetter, Message, Partition};

/// The header with [`Message::id`]. The key contains the id too, for Kafka's own tools. It is not read, because a
/// message of another program may have any key.
const ID: &str = "id";
/// The header of a dead letter with [`DeadLetter::partition`], in decimal.
const PARTITION: &str = "partition";
/// The header of a dead letter with [`DeadLetter::reason`].
const REASON: &str = "reason";
/// The header of a dead letter with [`DeadLetter::dead_lettered_at`], epoch milliseconds in decimal.
const DEAD_LETTERED_AT: &str = "parked_at";

/// A record to write to a topic.
#[derive(Clone)]
pub(super) struct KafkaRecord {
    pub(super) topic: String,
    /// The partition; `None` to choose it by the key.
    pub(super) partition: Option<i32>,
    pub(super) key: String,
    /// The body; `None` deletes the earlier record of the key (a tombstone).
    pub(super) body: Option<Vec<u8>>,
    pub(super) headers: OwnedHeaders,
}

impl KafkaRecord {
    /// A message for a partition.
    pub(super) fn message(
        settings: &KafkaSettings,
        partition: Partition,
        message: Message,
    ) -> Self {
        Self {
            topic: settings.name.clone(),
            partition: Some(i32::from(partition.0)),
            headers: with(OwnedHeaders::new_with_capacity(1), ID, &message.id),
            key: message.id,
            body: Some(message.body),
        }
    }

    pub(super) fn dead_letter(settings: &KafkaSettings, letter: DeadLetter) -> Self {
        let headers = with(OwnedHeaders::new_with_capacity(4), ID, &letter.message.id);
        let headers = with(headers, PARTITION, &letter.partition.0.to_string());
        let headers = with(headers, REASON, &letter.reason);
        Self {
            topic: settings.dead_topic(),
            partition: None,
            headers: with(headers, DEAD_LETTERED_AT, &letter.dead_lettered_at.0.to_string()),
            // A retried message that becomes a dead letter again has another key. So deleting the first dead letter
            // does not delete the second one.
            key: format!("{}@{}", letter.message.id, letter.dead_lettered_at.0),
            body: Some(letter.message.body),
        }
    }

    /// The record that deletes the dead letter with this key.
    pub(super) fn tombstone(settings: &KafkaSettings, key: String) -> Self {
        let headers = OwnedHeaders::new();
        Self { topic: settings.dead_topic(), partition: None, key, body: None, headers }
    }
}

fn with(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key, value: Some(value) })
}

/// The text of a header; `None` if it is missing or not UTF-8.
fn header<'a>(record: &'a BorrowedMessage<'_>, key: &str) -> Option<&'a str> {
    let found = record.headers()?.iter().find(|header| header.key == key)?;
    std::str::from_utf8(found.value?).ok()
}

/// Reads a message. The id of a message without the header is its partition and offset.
pub(super) fn message(record: &BorrowedMessage<'_>) -> Message {
    let position = || format!("{}-{}", record.partition(), record.offset());
    Message {
        id: header(record, ID).map_or_else(position, str::to_owned),
        body: record.payload().unwrap_or_default().to_vec(),
    }
}

/// Reads the key of a dead letter and its content; `None` if the record deletes it.
pub(super) fn dead_letter(record: &BorrowedMessage<'_>) -> (String, Option<DeadLetter>) {
    let key = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
    let Some(body) = record.payload() else { return (key, None) };
    let number = |key| header(record, key).and_then(|text| text.parse::<i64>().ok());
    let partition = number(PARTITION).and_then(|number| u16::try_from(number).ok());
    let written_at = record.timestamp().to_millis();
    let id = header(record, ID).map_or_else(|| key.clone(), str::to_owned);
    let letter = DeadLetter {
        message: Message { id, body: body.to_vec() },
        partition: Partition(partition.unwrap_or(0)),
        reason: header(record, REASON).unwrap_or_default().to_owned(),
        dead_lettered_at: EpochMs(number(DEAD_LETTERED_AT).or(written_at).unwrap_or(0)),
    };
    (key, Some(letter))
}

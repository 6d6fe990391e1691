//! How messages and dead letters look in RabbitMQ: id, headers, body; written and read in one place.

use std::time::SystemTime;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use sha2::{Digest as _, Sha256};

use super::topology::{DELIVERY_LIMIT, RabbitTopology};
use crate::domain::clock::EpochMs;
use crate::queue::{DeadLetter, Message, Partition};

/// Headers of a letter that we have parked.
const REASON: &str = "x-seatlock-reason";
const PARTITION: &str = "x-seatlock-partition";
const PARKED_AT: &str = "x-seatlock-parked-at";

/// A reason is cut at so many characters: all headers have to fit into one frame.
const REASON_CHARS: usize = 2_000;

/// What a letter carries that we have parked.
pub(super) fn headers(partition: Partition, reason: &str) -> FieldTable {
    let reason: String = reason.chars().take(REASON_CHARS).collect();
    let mut headers = FieldTable::default();
    headers.insert(REASON.into(), AMQPValue::LongString(reason.into()));
    headers.insert(PARTITION.into(), AMQPValue::LongLongInt(partition.0.into()));
    let now = EpochMs::from(SystemTime::now());
    headers.insert(PARKED_AT.into(), AMQPValue::LongLongInt(now.0));
    headers
}

/// What was published, by us or by others.
pub(super) fn message_of(properties: &BasicProperties, body: Vec<u8>) -> Message {
    let own = properties.message_id().as_ref().map(|id| id.as_str().to_owned());
    // Without an id nothing but its content is the same with each delivery.
    let id = own.unwrap_or_else(|| {
        let digest = Sha256::digest(&body);
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    });
    Message { id, body }
}

/// A letter as it is in the queue: with our headers, with the broker's (`x-death`), or with none.
pub(super) fn letter(
    layout: &RabbitTopology,
    properties: &BasicProperties,
    body: Vec<u8>,
) -> DeadLetter {
    let message = message_of(properties, body);
    let headers = properties.headers().clone().unwrap_or_default();
    if let Some(reason) = text(&headers, REASON) {
        let partition = number(&headers, PARTITION).and_then(|number| u16::try_from(number).ok());
        return DeadLetter {
            message,
            partition: Partition(partition.unwrap_or_default()),
            reason,
            parked_at: EpochMs(number(&headers, PARKED_AT).unwrap_or_default()),
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
            "it was delivered more than {DELIVERY_LIMIT} times and never settled: whoever was to execute it \
             ended, or lost the broker, each time"
        ),
        Some(other) => format!("rabbitmq has put it here: {other}"),
        None => "somebody else has put it here".to_owned(),
    };
    let queue = text(&death, "queue").unwrap_or_default();
    DeadLetter {
        message,
        partition: layout.partition(&queue).unwrap_or(Partition(0)),
        reason,
        parked_at: EpochMs(number(&death, "time").unwrap_or_default()),
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

/// A whole number; a time of the broker's, which are whole seconds, as milliseconds.
fn number(table: &FieldTable, key: &str) -> Option<i64> {
    match table.inner().get(key)? {
        AMQPValue::LongLongInt(value) => Some(*value),
        AMQPValue::Timestamp(seconds) => i64::try_from(*seconds).ok()?.checked_mul(1_000),
        _ => None,
    }
}

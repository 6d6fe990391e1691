//! The dead letters in RabbitMQ: parked by us or put away by the broker, looked at and taken by people.
//!
//! RabbitMQ has no way to read a queue without taking. To look is to get every letter and to give all back;
//! who looks has the queue for itself meanwhile, on a connection of its own, with whose end the broker gives
//! back everything in any case.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use sha2::{Digest as _, Sha256};
use tokio::time::{sleep, timeout};

use super::connection::{Connector, Link};
use super::layout::{DELIVERY_LIMIT, Layout};
use super::parcel;
use super::publisher::Publisher;
use crate::domain::clock::EpochMs;
use crate::queue::{DeadLetter, Fate, Message, Partition, PublishError, QueueError};

/// Headers of a letter that we have parked.
const REASON: &str = "x-seatlock-reason";
const PARTITION: &str = "x-seatlock-partition";
const PARKED_AT: &str = "x-seatlock-parked-at";

/// A reason is cut at so many characters: all headers have to fit into one frame.
const REASON_CHARS: usize = 2_000;

/// The longest that looking through all letters may take.
const DESK_LIMIT: Duration = Duration::from_secs(60);

/// Between two tries to be the one who looks.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// Parks and reads letters.
pub(super) struct Letters {
    connector: Arc<Connector>,
    layout: Arc<Layout>,
    publisher: Arc<Publisher>,
}

impl Letters {
    pub(super) fn new(
        connector: Arc<Connector>,
        layout: Arc<Layout>,
        publisher: Arc<Publisher>,
    ) -> Self {
        Self { connector, layout, publisher }
    }

    /// Keeps a letter; done when the broker has confirmed it.
    pub(super) async fn park(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> Result<(), QueueError> {
        let mut letter = parcel(self.layout.dead(), message)?;
        letter.properties = letter.properties.with_headers(headers(partition, &reason));
        self.publisher.publish(letter).await.map_err(|error| match error {
            PublishError::Full => {
                QueueError::new("there are too many dead letters; retry or drop some")
            }
            other => QueueError::new(other),
        })
    }

    /// The oldest letters, at most so many.
    pub(super) async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let looking = async {
            let desk = self.desk().await?;
            let mut letters = Vec::new();
            let there = desk.read(limit, |_, letter| letters.push(letter)).await?;
            desk.leave(there).await?;
            Ok(letters)
        };
        let mut letters = timeout(DESK_LIMIT, looking).await.map_err(too_slow)??;
        // Those that somebody else had and lost come behind others.
        letters.sort_by_key(|letter| letter.parked_at);
        letters.truncate(limit);
        Ok(letters)
    }

    /// Takes all letters of this id, however often it was parked; false if there is none.
    pub(super) async fn take(&self, id: String, fate: Fate) -> Result<bool, QueueError> {
        let taking = async {
            let desk = self.desk().await?;
            let (mut tags, mut found) = (Vec::new(), None);
            let look = |tag, letter: DeadLetter| {
                if letter.message.id == id {
                    tags.push(tag);
                    found = Some(letter);
                }
            };
            let there = desk.read(usize::MAX, look).await?;
            if let (Some(letter), Fate::Retry) = (&found, fate) {
                self.send_back(letter).await?;
            }
            for tag in &tags {
                let taken = desk.channel.basic_ack(*tag, BasicAckOptions::default());
                taken.await.map_err(QueueError::new)?;
            }
            desk.leave(there.saturating_sub(tags.len())).await?;
            Ok(found.is_some())
        };
        timeout(DESK_LIMIT, taking).await.map_err(too_slow)?
    }

    async fn send_back(&self, letter: &DeadLetter) -> Result<(), QueueError> {
        let queue = self.layout.queue(letter.partition)?;
        let again = parcel(queue, letter.message.clone())?;
        self.publisher.publish(again).await.map_err(QueueError::new)
    }

    async fn desk(&self) -> Result<Desk, QueueError> {
        let link = self.connector.connect("dead letters").await?;
        self.layout.declare(&link, &self.layout.dead()).await?;
        // Only one connection can have a queue that is exclusive.
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let channel = loop {
            let channel = link.channel().await?;
            let turn =
                channel.queue_declare(self.layout.desk(), options, FieldTable::default()).await;
            match turn {
                Ok(_) => break channel,
                Err(error) if error.to_string().contains("RESOURCE_LOCKED") => {
                    sleep(TURN_PAUSE).await;
                }
                Err(error) => return Err(QueueError::new(error)),
            }
        };
        Ok(Desk { link, channel, layout: Arc::clone(&self.layout) })
    }
}

fn too_slow(_: tokio::time::error::Elapsed) -> QueueError {
    QueueError::new("the dead letters cannot be read in time")
}

/// Where one looks at letters: all that were got are given back on leaving.
struct Desk {
    link: Link,
    channel: Channel,
    layout: Arc<Layout>,
}

impl Desk {
    /// Shows each letter with its tag, until there are enough. Gives how many there are, shown or not.
    ///
    /// What was given back before comes first, in the order in which it was given back: so all of it has to be
    /// got each time, or it would come behind itself the next time.
    async fn read(
        &self,
        enough: usize,
        mut look: impl FnMut(u64, DeadLetter),
    ) -> Result<usize, QueueError> {
        let mut got = 0_usize;
        loop {
            let next = self.channel.basic_get(self.layout.dead(), BasicGetOptions::default()).await;
            let Some(next) = next.map_err(QueueError::new)? else { return Ok(got) };
            let (delivery, behind) = (next.delivery, next.message_count);
            look(delivery.delivery_tag, letter(&self.layout, &delivery.properties, delivery.data));
            got += 1;
            if got >= enough && !delivery.redelivered {
                return Ok(got + usize::try_from(behind).unwrap_or_default());
            }
        }
    }

    /// Gives back all that was not taken, and leaves the queue to others when it has its letters again.
    async fn leave(self, letters: usize) -> Result<(), QueueError> {
        let options = BasicNackOptions { multiple: true, requeue: true };
        self.channel.basic_nack(0, options).await.map_err(QueueError::new)?;
        // The broker gives them back in its own time. Whoever looked before would find others in front.
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        while let Ok(queue) =
            self.channel.queue_declare(self.layout.dead(), passive, FieldTable::default()).await
            && usize::try_from(queue.message_count()).unwrap_or_default() < letters
        {
            sleep(TURN_PAUSE).await;
        }
        self.link.end().await;
        Ok(())
    }
}

fn headers(partition: Partition, reason: &str) -> FieldTable {
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
fn letter(layout: &Layout, properties: &BasicProperties, body: Vec<u8>) -> DeadLetter {
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

//! Where dead letters of RabbitMQ are looked at and taken.
//!
//! RabbitMQ has no way to read a queue without taking. To look is to get every letter and to give all back.
//! One connection at a time may look; when it ends, the broker gives back what it was given.

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
use super::form;
use super::topology::RabbitTopology;
use crate::queue::{DeadLetter, QueueError};

/// Between two tries to be the one who looks, and to see whether the letters are back.
const TURN_PAUSE: Duration = Duration::from_millis(50);

/// The longest that one waits to be the one who looks.
const TURN_LIMIT: Duration = Duration::from_secs(60);

/// After this time without a letter the broker is asked for one. It sends no more than it may to a consumer
/// that has given none back, and none that somebody else has.
const SILENCE: Duration = Duration::from_millis(500);

/// The longest that the broker may take for an answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// The longest that the broker may take to have its letters again.
const RETURN_LIMIT: Duration = Duration::from_secs(10);

/// The look at all letters.
pub(super) struct LetterInspection {
    link: RabbitConnection,
    channel: Channel,
    layout: Arc<RabbitTopology>,
    consumer: Consumer,
    /// Letters that there were at the beginning and that have not been got.
    left: usize,
    /// Letters that there are, without those that were taken away.
    letters: usize,
}

impl LetterInspection {
    /// Begins to look, as soon as no other process does.
    pub(super) async fn open(
        connector: &RabbitConnector,
        layout: Arc<RabbitTopology>,
    ) -> Result<Self, QueueError> {
        let opening = Self::begin(connector, layout);
        let late = |_| QueueError::new("somebody else works on the dead letters");
        timeout(TURN_LIMIT, opening).await.map_err(late)?
    }

    async fn begin(
        connector: &RabbitConnector,
        layout: Arc<RabbitTopology>,
    ) -> Result<Self, QueueError> {
        let link = connector.connect("dead letters").await?;
        layout.declare(&link, &layout.dead()).await?;
        let channel = turn(&link, &layout).await?;
        let letters = count(&channel, &layout).await?;
        let ahead = channel.basic_qos(u16::MAX, BasicQosOptions::default());
        ahead.await.map_err(QueueError::new)?;
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let consuming = channel.basic_consume(layout.dead(), tag, options, FieldTable::default());
        let consumer = consuming.await.map_err(QueueError::new)?;
        Ok(Self { link, channel, layout, consumer, left: letters, letters })
    }

    /// The next letter with its tag; none after the last that was there at the beginning. What was given back
    /// before comes first.
    pub(super) async fn next(&mut self) -> Result<Option<(u64, DeadLetter)>, QueueError> {
        if self.left == 0 {
            return Ok(None);
        }
        let delivery = match timeout(SILENCE, self.consumer.next()).await {
            Ok(Some(delivery)) => delivery.map_err(QueueError::new)?,
            Ok(None) => return Err(QueueError::new("the broker has ended the look")),
            Err(_) => {
                let getting =
                    self.channel.basic_get(self.layout.dead(), BasicGetOptions::default());
                let got = timeout(ANSWER_LIMIT, getting).await;
                let got = got.map_err(|_| QueueError::new("no answer from the broker"))?;
                match got.map_err(QueueError::new)? {
                    Some(got) => got.delivery,
                    None => {
                        self.left = 0;
                        return Ok(None);
                    }
                }
            }
        };
        self.left -= 1;
        let letter = form::letter(&self.layout, &delivery.properties, delivery.data);
        Ok(Some((delivery.delivery_tag, letter)))
    }

    /// Takes a letter away for good.
    pub(super) async fn take(&mut self, tag: u64) -> Result<(), QueueError> {
        let taken = self.channel.basic_ack(tag, BasicAckOptions::default());
        taken.await.map_err(QueueError::new)?;
        self.letters = self.letters.saturating_sub(1);
        Ok(())
    }

    /// Gives back all that was not taken, and lets others look when the queue has its letters again.
    pub(super) async fn leave(self) -> Result<(), QueueError> {
        // Otherwise what is given back would come again.
        let ending = self.channel.basic_cancel(self.consumer.tag(), BasicCancelOptions::default());
        ending.await.map_err(QueueError::new)?;
        let options = BasicNackOptions { multiple: true, requeue: true };
        self.channel.basic_nack(0, options).await.map_err(QueueError::new)?;
        // The broker gives them back in its own time. Who looked before would find others in front.
        let returning = async {
            while count(&self.channel, &self.layout).await? < self.letters {
                sleep(TURN_PAUSE).await;
            }
            Ok::<_, QueueError>(())
        };
        let returned = timeout(RETURN_LIMIT, returning).await;
        self.link.end().await;
        returned.unwrap_or(Ok(()))
    }
}

/// Waits until no other process looks: only one connection can have a queue that is exclusive.
async fn turn(link: &RabbitConnection, layout: &RabbitTopology) -> Result<Channel, QueueError> {
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    loop {
        let channel = link.channel().await?;
        match channel.queue_declare(layout.desk(), options, FieldTable::default()).await {
            Ok(_) => return Ok(channel),
            Err(error) if error.to_string().contains("RESOURCE_LOCKED") => sleep(TURN_PAUSE).await,
            Err(error) => return Err(QueueError::new(error)),
        }
    }
}

/// How many letters there are that no consumer has been given.
async fn count(channel: &Channel, layout: &RabbitTopology) -> Result<usize, QueueError> {
    let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let asking = channel.queue_declare(layout.dead(), passive, FieldTable::default());
    let queue = timeout(ANSWER_LIMIT, asking).await;
    let queue = queue.map_err(|_| QueueError::new("no answer from the broker"))?;
    let queue = queue.map_err(QueueError::new)?;
    Ok(usize::try_from(queue.message_count()).unwrap_or_default())
}

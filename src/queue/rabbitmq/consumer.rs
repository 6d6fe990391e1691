//! The way out of RabbitMQ: the consumers' connection, and the messages of one partition.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::connection::{RabbitConnection, RabbitConnector, ReconnectBackoff};
use super::form::message_of;
use super::topology::RabbitTopology;
use crate::queue::{Deliveries, Message, Partition, QueueError, UNSETTLED_MAX};

/// The longest that a partition may take to be opened, behind others that are opened before it.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// The connection that all consumers of this process share. It is not that of the publisher: RabbitMQ stops
/// reading from connections that publish when its memory is full, and consumers are what makes room.
pub(super) struct Consumers {
    connector: Arc<RabbitConnector>,
    layout: Arc<RabbitTopology>,
    state: Mutex<State>,
}

struct State {
    link: Option<Arc<RabbitConnection>>,
    backoff: ReconnectBackoff,
    /// Why there was no connection the last time.
    problem: Option<QueueError>,
    closed: bool,
}

impl Consumers {
    /// Connects when the first partition is opened.
    pub(super) fn new(connector: Arc<RabbitConnector>, layout: Arc<RabbitTopology>) -> Self {
        let state =
            State { link: None, backoff: ReconnectBackoff::new(), problem: None, closed: false };
        Self { connector, layout, state: Mutex::new(state) }
    }

    /// Becomes a consumer of a partition.
    pub(super) async fn open(&self, partition: Partition) -> Result<RabbitDeliveries, QueueError> {
        let queue = self.layout.queue(partition)?;
        let link = self.link().await?;
        let opened = timeout(OPEN_LIMIT, self.consume(&link, &queue)).await;
        let problem = match opened {
            Ok(Ok(deliveries)) => return Ok(deliveries),
            // What is wrong with one queue does not concern the others.
            Ok(Err(problem)) if link.connection().status().connected() => return Err(problem),
            Ok(Err(problem)) => problem,
            Err(_) => QueueError::new("no answer from the broker"),
        };
        self.give_up(&link).await;
        Err(problem)
    }

    async fn consume(
        &self,
        link: &Arc<RabbitConnection>,
        queue: &ShortString,
    ) -> Result<RabbitDeliveries, QueueError> {
        self.layout.declare(link, queue).await?;
        let channel = link.channel().await?;
        let ahead = channel.basic_qos(UNSETTLED_MAX, BasicQosOptions::default());
        ahead.await.map_err(QueueError::new)?;
        let (tag, options) = (ShortString::default(), BasicConsumeOptions::default());
        let consumer =
            channel.basic_consume(queue.clone(), tag, options, FieldTable::default()).await;
        Ok(RabbitDeliveries {
            consumer: Some(consumer.map_err(QueueError::new)?),
            channel,
            unsettled: VecDeque::new(),
            runtime: self.connector.runtime().clone(),
            _link: Arc::clone(link),
        })
    }

    /// The connection as it is, or a new one. After a failure the next try is made only after a pause, and
    /// until then the failure is told again: all partitions lose their consumers at once.
    async fn link(&self) -> Result<Arc<RabbitConnection>, QueueError> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(QueueError::new("it has been closed"));
        }
        if let Some(link) =
            state.link.as_ref().filter(|link| link.connection().status().connected())
        {
            return Ok(Arc::clone(link));
        }
        state.link = None;
        if let (Some(problem), Some(_)) = (&state.problem, state.backoff.until()) {
            return Err(problem.clone());
        }
        match self.connector.connect("consumers").await {
            Ok(link) => {
                let link = Arc::new(link);
                state.link = Some(Arc::clone(&link));
                state.backoff.succeeded();
                Ok(link)
            }
            Err(problem) => {
                state.backoff.failed();
                state.problem = Some(problem.clone());
                Err(problem)
            }
        }
    }

    /// Whoever opens a partition next connects anew.
    async fn give_up(&self, link: &Arc<RabbitConnection>) {
        let mut state = self.state.lock().await;
        link.cut();
        state.link.take_if(|current| Arc::ptr_eq(current, link));
    }

    /// Ends the connection, and all deliveries with it.
    pub(super) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(link) = state.link.take() {
            link.end().await;
        }
    }
}

/// A consumer of one partition, on a channel of its own.
pub(super) struct RabbitDeliveries {
    channel: Channel,
    /// None only when it is being dropped.
    consumer: Option<Consumer>,
    /// The delivery tags of what was given and not settled, in order.
    unsettled: VecDeque<u64>,
    runtime: Handle,
    /// The connection lives as long as somebody consumes on it.
    _link: Arc<RabbitConnection>,
}

impl Deliveries for RabbitDeliveries {
    fn next(&mut self) -> BoxFuture<'_, Result<Message, QueueError>> {
        async {
            let next = match &mut self.consumer {
                Some(consumer) => consumer.next().await,
                None => None,
            };
            let ended = || QueueError::new("the consumer was ended by the broker");
            let delivery = next.ok_or_else(ended)?.map_err(QueueError::new)?;
            self.unsettled.push_back(delivery.delivery_tag);
            Ok(message_of(&delivery.properties, delivery.data))
        }
        .boxed()
    }

    fn settle(&mut self, count: usize) -> BoxFuture<'_, Result<(), QueueError>> {
        async move {
            let count = count.min(self.unsettled.len());
            let Some(last) = self.unsettled.drain(..count).next_back() else { return Ok(()) };
            // All up to this one.
            let acknowledged = self.channel.basic_ack(last, BasicAckOptions { multiple: true });
            acknowledged.await.map_err(QueueError::new)
        }
        .boxed()
    }
}

impl Drop for RabbitDeliveries {
    fn drop(&mut self) {
        let (channel, consumer) = (self.channel.clone(), self.consumer.take());
        // Closing the channel gives everything back before another consumer has its turn. Dropping the consumer
        // first would cancel it, and the next one would be given what is behind before what was not settled.
        drop(self.runtime.spawn(async move {
            // Fails where the channel or its connection has ended, which gives back as well.
            drop(channel.close(200, "goodbye".into()).await);
            drop(consumer);
        }));
    }
}

//! The consumers of RabbitMQ: their common connection, and the messages of one partition.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::runtime::Handle;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::connection::{RabbitConnection, RabbitConnector, reconnect_backoff};
use super::message;
use super::topology::RabbitTopology;
use crate::backoff::Backoff;
use crate::queue::{Deliveries, Message, Partition, QueueError, UNSETTLED_MAX};

/// The longest time to open a partition, including the wait for partitions that are opened before it.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// The connection of all consumers of this process. The publisher has a separate connection: when RabbitMQ's memory is
/// full, it stops reading from connections that publish, but consumers must continue, because they free memory.
pub(super) struct Consumers {
    connector: Arc<RabbitConnector>,
    topology: Arc<RabbitTopology>,
    state: Mutex<State>,
}

struct State {
    connection: Option<Arc<RabbitConnection>>,
    backoff: Backoff,
    /// The last failure to connect, and the time until which connecting is not retried.
    failure: Option<(QueueError, Instant)>,
    closed: bool,
}

impl Consumers {
    /// Creates the consumers. They connect when the first partition is opened.
    pub(super) fn new(connector: Arc<RabbitConnector>, topology: Arc<RabbitTopology>) -> Self {
        let backoff = reconnect_backoff();
        let state = State { connection: None, backoff, failure: None, closed: false };
        Self { connector, topology, state: Mutex::new(state) }
    }

    /// Subscribes to a partition.
    pub(super) async fn open(&self, partition: Partition) -> Result<RabbitDeliveries, QueueError> {
        let queue = self.topology.queue(partition)?;
        let connection = self.connection().await?;
        let opened = timeout(OPEN_LIMIT, self.consume(&connection, &queue)).await;
        let problem = match opened {
            Ok(Ok(deliveries)) => return Ok(deliveries),
            // The other partitions are not affected by a problem of one queue.
            Ok(Err(problem)) if connection.is_connected() => return Err(problem),
            Ok(Err(problem)) => problem,
            Err(_) => QueueError::new("no answer from the broker"),
        };
        connection.cut();
        // The next call that opens a partition reconnects.
        let mut state = self.state.lock().await;
        state.connection.take_if(|current| Arc::ptr_eq(current, &connection));
        Err(problem)
    }

    async fn consume(
        &self,
        connection: &Arc<RabbitConnection>,
        queue: &ShortString,
    ) -> Result<RabbitDeliveries, QueueError> {
        self.topology.declare(connection, queue).await?;
        let channel = connection.channel().await?;
        let prefetch = channel.basic_qos(UNSETTLED_MAX, BasicQosOptions::default());
        prefetch.await.map_err(QueueError::new)?;
        let tag = ShortString::default();
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue.clone(), tag, options, FieldTable::default()).await;
        Ok(RabbitDeliveries {
            consumer: Some(consumer.map_err(QueueError::new)?),
            channel,
            unsettled: VecDeque::new(),
            runtime: self.connector.runtime().clone(),
            _connection: Arc::clone(connection),
        })
    }

    /// The current connection, or a new one. All partitions lose their consumers at the same time, so a failure to
    /// connect is returned to all of them until the backoff permits the next attempt.
    async fn connection(&self) -> Result<Arc<RabbitConnection>, QueueError> {
        let mut state = self.state.lock().await;
        if state.closed {
            return Err(QueueError::new("it has been closed"));
        }
        if let Some(connection) = state.connection.as_ref().filter(|one| one.is_connected()) {
            return Ok(Arc::clone(connection));
        }
        state.connection = None;
        if let Some((problem, until)) = &state.failure
            && Instant::now() < *until
        {
            return Err(problem.clone());
        }
        match self.connector.connect("consumers").await {
            Ok(connection) => {
                state.backoff = reconnect_backoff();
                state.failure = None;
                Ok(Arc::clone(state.connection.insert(Arc::new(connection))))
            }
            Err(problem) => {
                let until = Instant::now() + state.backoff.next_pause();
                state.failure = Some((problem.clone(), until));
                Err(problem)
            }
        }
    }

    /// Ends the connection, and all deliveries with it.
    pub(super) async fn close(&self) {
        let mut state = self.state.lock().await;
        state.closed = true;
        if let Some(connection) = state.connection.take() {
            connection.end().await;
        }
    }
}

/// A consumer of one partition, on its own channel.
pub(super) struct RabbitDeliveries {
    channel: Channel,
    /// `None` only while this value is being dropped.
    consumer: Option<Consumer>,
    /// The tags of the unsettled deliveries, in order.
    unsettled: VecDeque<u64>,
    runtime: Handle,
    /// Keeps the connection open.
    _connection: Arc<RabbitConnection>,
}

#[async_trait]
impl Deliveries for RabbitDeliveries {
    async fn next(&mut self) -> Result<Message, QueueError> {
        let next = match &mut self.consumer {
            Some(consumer) => consumer.next().await,
            None => None,
        };
        let ended = || QueueError::new("the broker has ended the consumer");
        let delivery = next.ok_or_else(ended)?.map_err(QueueError::new)?;
        self.unsettled.push_back(delivery.delivery_tag);
        Ok(message::message(&delivery.properties, delivery.data))
    }

    async fn settle(&mut self, count: usize) -> Result<(), QueueError> {
        let count = count.min(self.unsettled.len());
        let Some(last) = self.unsettled.drain(..count).next_back() else { return Ok(()) };
        // Acknowledges all deliveries up to this one.
        let acknowledged = self.channel.basic_ack(last, BasicAckOptions { multiple: true });
        acknowledged.await.map_err(QueueError::new)
    }
}

impl Drop for RabbitDeliveries {
    fn drop(&mut self) {
        let channel = self.channel.clone();
        let consumer = self.consumer.take();
        // Closing the channel requeues the unsettled messages before the next consumer becomes active. Dropping the
        // consumer first would cancel it, and the next consumer would receive later messages before the unsettled ones.
        drop(self.runtime.spawn(async move {
            // Fails if the channel or its connection has already ended, which also requeues the messages.
            drop(channel.close(200, "goodbye".into()).await);
            drop(consumer);
        }));
    }
}

//! A session: one publishing connection, from its first message until it is lost or closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Event};
use tokio::sync::{OnceCell, mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::connection::{RabbitConnection, RabbitConnector};
use super::message::OutboundMessage;
use super::topology::RabbitTopology;
use crate::queue::{PUBLISH_LIMIT, PublishError, QueueError};

/// The most messages in flight without a confirmation.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// The connection is closed if no message is confirmed for this time while messages are in flight. The limit is longer
/// than [`PUBLISH_LIMIT`]: when it is reached, the callers of these messages do not wait any more, so closing the
/// connection makes no outcome unknown that a caller could still have received.
const STALL_LIMIT: Duration = Duration::from_secs(4);

/// A message, and the caller that waits for its confirmation.
pub(super) struct PendingPublish {
    pub(super) message: Box<OutboundMessage>,
    pub(super) reply: oneshot::Sender<Result<(), PublishError>>,
}

impl PendingPublish {
    pub(super) fn answer(self, outcome: Result<(), PublishError>) {
        // The caller may have given up.
        drop(self.reply.send(outcome));
    }
}

/// A connection for publishing.
pub(super) struct RabbitSession {
    connection: Arc<RabbitConnection>,
    channel: Channel,
    topology: Arc<RabbitTopology>,
    /// The queues of which the declaration has begun. The first message of a queue declares it; other messages of the
    /// queue wait for that.
    declared: HashMap<ShortString, Arc<OnceCell<()>>>,
}

impl RabbitSession {
    pub(super) async fn open(
        connector: Arc<RabbitConnector>,
        topology: Arc<RabbitTopology>,
    ) -> Result<Self, QueueError> {
        let connection = Arc::new(connector.connect("publisher").await?);
        let channel = connection.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        confirming.await.map_err(QueueError::new)?;
        Ok(Self { connection, channel, topology, declared: HashMap::new() })
    }

    /// Publishes the messages of `waiting` and those of `inbox`, until `inbox` ends. Fails when the connection is lost;
    /// the outcome of the messages in flight is then unknown. Sets `confirmed` when a message was confirmed.
    pub(super) async fn serve(
        mut self,
        inbox: &mut mpsc::Receiver<PendingPublish>,
        waiting: Vec<PendingPublish>,
        confirmed: &mut bool,
    ) -> Result<(), QueueError> {
        let ended = self.publish_all(inbox, waiting, confirmed).await;
        match ended {
            Ok(()) => self.connection.end().await,
            Err(_) => self.connection.cut(),
        }
        ended
    }

    async fn publish_all(
        &mut self,
        inbox: &mut mpsc::Receiver<PendingPublish>,
        waiting: Vec<PendingPublish>,
        confirmed: &mut bool,
    ) -> Result<(), QueueError> {
        let connection = Arc::clone(&self.connection);
        let mut events = std::pin::pin!(connection.connection.events_listener());
        let mut in_flight: FuturesUnordered<_> =
            waiting.into_iter().map(|pending| self.send(pending)).collect();
        let mut returned = Returned::default();
        let mut blocked = None;
        // When a message was last confirmed, or when the first message in flight was sent.
        let mut progress_at = Instant::now();
        loop {
            let busy = !in_flight.is_empty();
            let room = in_flight.len() < IN_FLIGHT_MAX;
            tokio::select! {
                Some(sent) = in_flight.next(), if busy => {
                    progress_at = Instant::now();
                    let mut batch = vec![sent];
                    // All confirmations that have arrived are handled together: see `Returned`.
                    while let Some(Some(sent)) = in_flight.next().now_or_never() {
                        batch.push(sent);
                    }
                    *confirmed |= self.answer(batch, &mut returned)?;
                }
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        log::warn!("rabbitmq accepts no messages until it has free resources: {reason}");
                        blocked = Some(reason);
                    }
                    Some(Event::ConnectionUnblocked) => {
                        progress_at = Instant::now();
                        blocked = None;
                    }
                    // Errors of other channels are ignored here: a refused declaration is returned to its caller.
                    Some(Event::Error(error)) if !self.channel.status().connected() => {
                        return Err(QueueError::new(error));
                    }
                    Some(_) => {}
                    None => return Err(QueueError::new("the connection has ended")),
                },
                pending = inbox.recv(), if room || blocked.is_some() => match (pending, &blocked) {
                    (Some(pending), Some(reason)) => {
                        let reason = format!("the broker has no room: {reason}");
                        pending.answer(Err(PublishError::Unavailable(reason)));
                    }
                    (Some(pending), None) => {
                        if !busy {
                            progress_at = Instant::now();
                        }
                        in_flight.push(self.send(pending));
                    }
                    (None, _) => break,
                },
                () = sleep_until(progress_at + STALL_LIMIT), if busy && blocked.is_none() => {
                    return Err(QueueError::new("the broker confirms nothing any more"));
                }
            }
        }
        let rest = async {
            while let Some(sent) = in_flight.next().await {
                if self.answer(vec![sent], &mut returned).is_err() {
                    break;
                }
            }
        };
        drop(timeout(PUBLISH_LIMIT, rest).await);
        Ok(())
    }

    /// Sends a message after all earlier ones, and waits for its outcome.
    fn send(&mut self, pending: PendingPublish) -> impl Future<Output = Sent> + use<> {
        let declared = self.declared.entry(pending.message.queue.clone()).or_default();
        let declared = Arc::clone(declared);
        let connection = Arc::clone(&self.connection);
        let topology = Arc::clone(&self.topology);
        let channel = self.channel.clone();
        async move {
            let queue = &pending.message.queue;
            let ready = declared.get_or_try_init(|| topology.declare(&connection, queue)).await;
            let result = match ready {
                Err(problem) => SendResult::NotSent(problem),
                // The caller has given up, and may publish the message again.
                Ok(()) if pending.reply.is_closed() => {
                    SendResult::NotSent(QueueError::new("too late"))
                }
                Ok(()) => publish(&channel, &pending.message).await,
            };
            Sent { pending, result }
        }
    }

    /// Answers the callers of a batch. Returns whether a message was confirmed. An error ends the session.
    fn answer(&mut self, batch: Vec<Sent>, returned: &mut Returned) -> Result<bool, QueueError> {
        returned.note(&batch);
        let mut confirmed = false;
        let mut lost = None;
        for Sent { pending, result } in batch {
            let queue = &pending.message.queue;
            let outcome = match result {
                _ if returned.take(&pending.message) => {
                    // The queue was deleted. The next message declares it again.
                    self.declared.remove(queue);
                    Err(PublishError::Unavailable(format!("there is no queue {queue}")))
                }
                SendResult::NotSent(problem) => Err(PublishError::Unavailable(problem.0)),
                SendResult::Answered { accepted: true, .. } => Ok(()),
                SendResult::Answered { accepted: false, .. } => Err(PublishError::Full),
                SendResult::Lost(problem) => {
                    lost = Some(problem);
                    Err(PublishError::Unknown)
                }
            };
            confirmed |= outcome.is_ok();
            pending.answer(outcome);
        }
        lost.map_or(Ok(confirmed), Err)
    }
}

struct Sent {
    pending: PendingPublish,
    result: SendResult,
}

enum SendResult {
    NotSent(QueueError),
    Answered {
        /// False if the queue is full.
        accepted: bool,
        /// The id of a returned message, not necessarily this one.
        returned: Option<ShortString>,
    },
    /// The connection was lost: the outcome is unknown.
    Lost(QueueError),
}

async fn publish(channel: &Channel, message: &OutboundMessage) -> SendResult {
    if !channel.status().connected() {
        return SendResult::NotSent(QueueError::new("the connection has ended"));
    }
    // If the queue does not exist, a mandatory message is returned. Any other message would be dropped and confirmed.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let queue = message.queue.clone();
    let properties = message.properties.clone();
    let sent =
        channel.basic_publish(ShortString::default(), queue, options, &message.body, properties);
    let confirmed = async { sent.await?.await };
    let (accepted, returned) = match confirmed.await {
        Ok(Confirmation::Ack(returned)) => (true, returned),
        Ok(Confirmation::Nack(returned)) => (false, returned),
        Ok(Confirmation::NotRequested) => {
            return SendResult::Lost(QueueError::new("the channel does not confirm"));
        }
        Err(error) => return SendResult::Lost(QueueError::new(error)),
    };
    let id = |message: BasicReturnMessage| message.properties.message_id().clone();
    SendResult::Answered { accepted, returned: returned.and_then(id) }
}

/// The ids of returned messages.
///
/// The broker returns a message before it confirms the message. lapin attaches the returned message to the next
/// confirmation; if one frame confirms many messages, to any of them. So a confirmation counts only after all
/// confirmations that have arrived were searched for the confirmed message.
#[derive(Default)]
struct Returned(Vec<ShortString>);

impl Returned {
    fn note(&mut self, batch: &[Sent]) {
        let ids = batch.iter().filter_map(|sent| match &sent.result {
            SendResult::Answered { returned, .. } => returned.clone(),
            _ => None,
        });
        self.0.extend(ids);
    }

    fn take(&mut self, message: &OutboundMessage) -> bool {
        let own = message.properties.message_id().as_ref();
        let index = self.0.iter().position(|id| Some(id) == own);
        index.map(|index| self.0.swap_remove(index)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::BasicProperties;

    fn sent(id: &str, returned: Option<&str>) -> Sent {
        let properties = BasicProperties::default().with_message_id(id.into());
        let message = Box::new(OutboundMessage { queue: "q".into(), properties, body: Vec::new() });
        let (reply, _) = oneshot::channel();
        let returned = returned.map(ShortString::from);
        let result = SendResult::Answered { accepted: true, returned };
        Sent { pending: PendingPublish { message, reply }, result }
    }

    #[test]
    fn a_returned_message_is_recognised_by_its_id_with_any_confirmation() {
        let mut returned = Returned::default();
        // The returned message is attached to the confirmation of another one, in the same batch or an earlier one.
        let batches = [
            vec![sent("1", None), sent("2", Some("1"))],
            vec![sent("3", Some("4"))],
            vec![sent("4", None)],
        ];
        let mut taken = Vec::new();
        for batch in batches {
            returned.note(&batch);
            taken.extend(batch.iter().map(|sent| returned.take(&sent.pending.message)));
        }
        assert_eq!(taken, [true, false, false, true]);
    }
}

//! One publishing connection, from its first message to its loss: what is under way, and what became of it.

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
use super::outbound::{OutboundMessage, PendingPublish, SessionCommand};
use super::topology::RabbitTopology;
use crate::queue::{PUBLISH_LIMIT, PublishError, QueueError};

/// Messages on their way without a confirmation.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// Without one confirmation in this time, while some are due, the connection is given up. Longer than anybody
/// waits for one, so that nobody is told sooner than need be that it is not known.
const STALL_LIMIT: Duration = Duration::from_secs(4);

/// How a session ends.
pub(super) enum SessionEnd {
    /// It was asked to; who wants to know is told by dropping this.
    Closed(Option<oneshot::Sender<()>>),
    /// The connection is not to be used any more.
    Lost(QueueError),
}

/// A connection for publishing.
pub(super) struct RabbitSession {
    link: Arc<RabbitConnection>,
    channel: Channel,
    layout: Arc<RabbitTopology>,
    /// Each queue is declared by its first message; the others wait for that.
    declared: HashMap<ShortString, Arc<OnceCell<()>>>,
}

impl RabbitSession {
    pub(super) async fn open(
        connector: Arc<RabbitConnector>,
        layout: Arc<RabbitTopology>,
    ) -> Result<Self, QueueError> {
        let link = connector.connect("publisher").await?;
        let channel = link.channel().await?;
        let confirming = channel.confirm_select(ConfirmSelectOptions::default());
        confirming.await.map_err(QueueError::new)?;
        Ok(Self { link: Arc::new(link), channel, layout, declared: HashMap::new() })
    }

    /// Publishes what is there and what comes, until the end. `served` says whether anything was confirmed.
    pub(super) async fn serve(
        mut self,
        inbox: &mut mpsc::Receiver<SessionCommand>,
        postings: Vec<PendingPublish>,
        served: &mut bool,
    ) -> SessionEnd {
        let mut events = std::pin::pin!(self.link.connection().events_listener());
        let mut in_flight: FuturesUnordered<_> =
            postings.into_iter().map(|posting| self.send(posting)).collect();
        let mut returned = Returned::default();
        let mut blocked = None;
        // When something was confirmed, or began to be due.
        let mut moved = Instant::now();
        loop {
            let due = !in_flight.is_empty();
            let room = in_flight.len() < IN_FLIGHT_MAX;
            tokio::select! {
                Some(sent) = in_flight.next(), if due => {
                    moved = Instant::now();
                    let mut batch = vec![sent];
                    // All that is known by now: see `Returned`.
                    while let Some(Some(sent)) = in_flight.next().now_or_never() {
                        batch.push(sent);
                    }
                    match self.settle(batch, &mut returned) {
                        Ok(confirmed) => *served |= confirmed,
                        Err(problem) => return self.lost(problem),
                    }
                }
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        log::warn!("rabbitmq takes no messages until it has room: {reason}");
                        blocked = Some(reason);
                    }
                    Some(Event::ConnectionUnblocked) => {
                        moved = Instant::now();
                        blocked = None;
                    }
                    // Also of channels on which a declaration was refused, which is told to whoever asked.
                    Some(Event::Error(error)) if !self.channel.status().connected() => {
                        return self.lost(QueueError::new(error));
                    }
                    Some(_) => {}
                    None => return self.lost(QueueError::new("the connection has ended")),
                },
                order = inbox.recv(), if room || blocked.is_some() => match (order, &blocked) {
                    (Some(SessionCommand::Post(posting)), Some(reason)) => {
                        posting.answer(Err(PublishError::Away(format!("it has no room: {reason}"))));
                    }
                    (Some(SessionCommand::Post(posting)), None) => {
                        if !due {
                            moved = Instant::now();
                        }
                        in_flight.push(self.send(posting));
                    }
                    (Some(SessionCommand::Close(done)), _) => {
                        self.finish(in_flight, returned).await;
                        return SessionEnd::Closed(Some(done));
                    }
                    (None, _) => {
                        self.finish(in_flight, returned).await;
                        return SessionEnd::Closed(None);
                    }
                },
                () = sleep_until(moved + STALL_LIMIT), if due && blocked.is_none() => {
                    return self.lost(QueueError::new("it confirms nothing any more"));
                }
            }
        }
    }

    /// Whoever waits for a confirmation hears that it is unknown, by the end of its future.
    fn lost(self, problem: QueueError) -> SessionEnd {
        self.link.cut();
        SessionEnd::Lost(problem)
    }

    async fn finish(
        &mut self,
        mut in_flight: FuturesUnordered<impl Future<Output = Sent>>,
        mut returned: Returned,
    ) {
        let rest = async {
            while let Some(sent) = in_flight.next().await {
                if self.settle(vec![sent], &mut returned).is_err() {
                    break;
                }
            }
        };
        drop(timeout(PUBLISH_LIMIT, rest).await);
        self.link.end().await;
    }

    /// Sends a message, behind those that were sent before, and waits for what becomes of it.
    fn send(&mut self, posting: PendingPublish) -> impl Future<Output = Sent> + use<> {
        let declared = self.declared.entry(posting.parcel.queue.clone()).or_default();
        let declared = Arc::clone(declared);
        let (link, layout) = (Arc::clone(&self.link), Arc::clone(&self.layout));
        let channel = self.channel.clone();
        async move {
            let queue = &posting.parcel.queue;
            let ready = declared.get_or_try_init(|| layout.declare(&link, queue)).await;
            let fate = match ready {
                Err(problem) => Fate::NotSent(problem),
                // Nobody waits for it any more, and whoever did will send it again.
                Ok(()) if posting.reply.is_closed() => Fate::NotSent(QueueError::new("too late")),
                Ok(()) => publish(&channel, &posting.parcel).await,
            };
            Sent { posting, fate }
        }
    }

    /// Answers those whose fate is known; whether one was confirmed. An error ends the session.
    fn settle(&mut self, batch: Vec<Sent>, returned: &mut Returned) -> Result<bool, QueueError> {
        returned.note(&batch);
        let (mut confirmed, mut lost) = (false, None);
        for Sent { posting, fate } in batch {
            let parcel = &posting.parcel;
            let outcome = if returned.take(parcel) {
                // Somebody has deleted it: the next message makes it again.
                self.declared.remove(&parcel.queue);
                Err(PublishError::Away(format!("there is no queue {}", parcel.queue)))
            } else {
                match fate {
                    Fate::NotSent(problem) => Err(PublishError::Away(problem.0)),
                    Fate::Known { taken: true, .. } => Ok(()),
                    Fate::Known { taken: false, .. } => Err(PublishError::Full),
                    Fate::Lost(problem) => {
                        lost = Some(problem);
                        Err(PublishError::Unknown)
                    }
                }
            };
            confirmed |= outcome.is_ok();
            posting.answer(outcome);
        }
        lost.map_or(Ok(confirmed), Err)
    }
}

/// A message whose fate is known as far as it will be.
struct Sent {
    posting: PendingPublish,
    fate: Fate,
}

enum Fate {
    NotSent(QueueError),
    Known {
        /// Or refused, for want of room.
        taken: bool,
        /// The id of some message that came back.
        returned: Option<ShortString>,
    },
    Lost(QueueError),
}

async fn publish(channel: &Channel, parcel: &OutboundMessage) -> Fate {
    if !channel.status().connected() {
        return Fate::NotSent(QueueError::new("the connection has ended"));
    }
    // Without a queue of this name the message comes back, instead of vanishing confirmed.
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (queue, properties) = (parcel.queue.clone(), parcel.properties.clone());
    let sent =
        channel.basic_publish(ShortString::default(), queue, options, &parcel.body, properties);
    let confirmed = async { sent.await?.await };
    let (taken, returned) = match confirmed.await {
        Ok(Confirmation::Ack(returned)) => (true, returned),
        Ok(Confirmation::Nack(returned)) => (false, returned),
        Ok(Confirmation::NotRequested) => {
            return Fate::Lost(QueueError::new("the channel does not confirm"));
        }
        Err(error) => return Fate::Lost(QueueError::new(error)),
    };
    let id = |message: BasicReturnMessage| message.properties.message_id().clone();
    Fate::Known { taken, returned: returned.and_then(id) }
}

/// The ids of messages that came back.
///
/// A message comes back before it is confirmed; lapin attaches it to whatever confirmation comes next, and where
/// one frame confirms many, to any of them. So a confirmation counts only when all others that are known at
/// the time have been looked through for its message.
#[derive(Default)]
struct Returned(Vec<ShortString>);

impl Returned {
    fn note(&mut self, batch: &[Sent]) {
        let ids = batch.iter().filter_map(|sent| match &sent.fate {
            Fate::Known { returned, .. } => returned.clone(),
            _ => None,
        });
        self.0.extend(ids);
    }

    fn take(&mut self, parcel: &OutboundMessage) -> bool {
        let own = parcel.properties.message_id().as_ref();
        let place = self.0.iter().position(|id| Some(id) == own);
        place.map(|place| self.0.swap_remove(place)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::BasicProperties;

    fn sent(id: &str, returned: Option<&str>) -> Sent {
        let properties = BasicProperties::default().with_message_id(id.into());
        let parcel = Box::new(OutboundMessage { queue: "q".into(), properties, body: Vec::new() });
        let (reply, _) = oneshot::channel();
        let fate = Fate::Known { taken: true, returned: returned.map(ShortString::from) };
        Sent { posting: PendingPublish { parcel, reply }, fate }
    }

    #[test]
    fn a_message_that_came_back_is_known_by_its_id_whose_confirmation_it_came_with() {
        let mut returned = Returned::default();
        // Attached to the confirmation of another message, in this batch or in one before.
        let batches = [
            vec![sent("1", None), sent("2", Some("1"))],
            vec![sent("3", Some("4"))],
            vec![sent("4", None)],
        ];
        let mut gone = Vec::new();
        for batch in batches {
            returned.note(&batch);
            gone.extend(batch.iter().map(|sent| returned.take(&sent.posting.parcel)));
        }
        assert_eq!(gone, [true, false, false, true]);
    }
}

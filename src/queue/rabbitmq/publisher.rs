//! The way into RabbitMQ: one task that has the publishing connection and many messages under way on it.
//!
//! Each message waits for its own confirmation, behind nobody else's. Without a connection they are refused at
//! once, and the task connects again in its own time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::{RabbitConnector, ReconnectBackoff};
use super::outbound::{OutboundMessage, PendingPublish, SessionCommand};
use super::session::{IN_FLIGHT_MAX, RabbitSession, SessionEnd};
use super::topology::RabbitTopology;
use crate::queue::{PUBLISH_LIMIT, PublishError, QueueError};

/// How long a message waits for a connection that is being made again.
const PATIENCE: Duration = Duration::from_millis(300);

/// How long the first ones wait for the first connection.
const FIRST_PATIENCE: Duration = Duration::from_millis(2_500);

/// Sends messages.
pub(super) struct RabbitPublisher {
    orders: mpsc::Sender<SessionCommand>,
}

impl RabbitPublisher {
    /// Starts the task, which connects when there is something to publish.
    pub(super) fn start(connector: Arc<RabbitConnector>, layout: Arc<RabbitTopology>) -> Self {
        let (orders, inbox) = mpsc::channel(IN_FLIGHT_MAX);
        let runtime = connector.runtime().clone();
        let task = Task { connector, layout, inbox, waiting: VecDeque::new() };
        drop(runtime.spawn(task.run()));
        Self { orders }
    }

    /// Done when the broker has confirmed; answers within [`PUBLISH_LIMIT`].
    pub(super) async fn publish(&self, parcel: OutboundMessage) -> Result<(), PublishError> {
        let deadline = Instant::now() + PUBLISH_LIMIT;
        let place = match timeout_at(deadline, self.orders.reserve()).await {
            Ok(Ok(place)) => place,
            Ok(Err(_)) => return Err(PublishError::Away("it has been closed".to_owned())),
            Err(_) => {
                let reason = "too many messages wait for their confirmation";
                return Err(PublishError::Away(reason.to_owned()));
            }
        };
        let (reply, answer) = oneshot::channel();
        let parcel = Box::new(parcel);
        place.send(SessionCommand::Post(PendingPublish { parcel, reply }));
        match timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            // Too late, or the connection was lost in between.
            Ok(Err(_)) | Err(_) => Err(PublishError::Unknown),
        }
    }

    /// Ends the task and its connection when what is under way is confirmed, or its time is over.
    pub(super) async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.orders.send(SessionCommand::Close(done)).await.is_ok() {
            // An error says that it has ended, too.
            drop(closed.await);
        }
    }
}

/// What the task has.
struct Task {
    connector: Arc<RabbitConnector>,
    layout: Arc<RabbitTopology>,
    inbox: mpsc::Receiver<SessionCommand>,
    /// Those that came while there was no connection, and how long they wait for it.
    waiting: VecDeque<(Instant, PendingPublish)>,
}

/// Who wants to know when the task has ended, if anybody; told by dropping it.
type Closing = Option<oneshot::Sender<()>>;

impl Task {
    async fn run(mut self) {
        let closing = self.work().await;
        self.inbox.close();
        let away = || Err(PublishError::Away("it has been closed".to_owned()));
        for (_, posting) in self.waiting.drain(..) {
            posting.answer(away());
        }
        while let Some(order) = self.inbox.recv().await {
            if let SessionCommand::Post(posting) = order {
                posting.answer(away());
            }
        }
        drop(closing);
    }

    async fn work(&mut self) -> Closing {
        let mut patience = FIRST_PATIENCE;
        match self.inbox.recv().await {
            Some(SessionCommand::Post(first)) => {
                self.waiting.push_back((Instant::now() + patience, first))
            }
            Some(SessionCommand::Close(done)) => return Some(done),
            None => return None,
        }
        let mut backoff = ReconnectBackoff::new();
        let mut away = false;
        loop {
            let lost = match self.connect(patience).await {
                Err(closing) => return closing,
                Ok(Err(problem)) => problem,
                Ok(Ok(session)) => {
                    if std::mem::take(&mut away) {
                        log::info!("the queue in rabbitmq takes messages again");
                    }
                    let waiting = std::mem::take(&mut self.waiting);
                    let postings = waiting.into_iter().map(|(_, posting)| posting).collect();
                    let mut served = false;
                    match session.serve(&mut self.inbox, postings, &mut served).await {
                        SessionEnd::Closed(done) => return done,
                        SessionEnd::Lost(problem) => {
                            if served {
                                backoff.succeeded();
                            }
                            problem
                        }
                    }
                }
            };
            if !std::mem::replace(&mut away, true) {
                log::warn!("the queue in rabbitmq is away; trying again until it is back: {lost}");
            }
            patience = PATIENCE;
            backoff.failed();
            if let Err(closing) = self.pause(&backoff, &lost).await {
                return closing;
            }
        }
    }

    /// Connects, while messages wait for their time.
    async fn connect(
        &mut self,
        patience: Duration,
    ) -> Result<Result<RabbitSession, QueueError>, Closing> {
        let opening = RabbitSession::open(Arc::clone(&self.connector), Arc::clone(&self.layout));
        let mut opening = std::pin::pin!(opening);
        loop {
            let longest = self.waiting.front().map(|(until, _)| *until);
            let overdue = async {
                match longest {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                opened = &mut opening => return Ok(opened),
                order = self.inbox.recv(), if self.waiting.len() < IN_FLIGHT_MAX => match order {
                    Some(SessionCommand::Post(posting)) => {
                        self.waiting.push_back((Instant::now() + patience, posting));
                    }
                    Some(SessionCommand::Close(done)) => return Err(Some(done)),
                    None => return Err(None),
                },
                () = overdue => if let Some((_, posting)) = self.waiting.pop_front() {
                    posting.answer(Err(PublishError::Away("it is being connected to".to_owned())));
                },
            }
        }
    }

    /// Refuses everything until it is time to connect again.
    async fn pause(
        &mut self,
        backoff: &ReconnectBackoff,
        problem: &QueueError,
    ) -> Result<(), Closing> {
        let away = || Err(PublishError::Away(problem.0.clone()));
        for (_, posting) in self.waiting.drain(..) {
            posting.answer(away());
        }
        while let Some(until) = backoff.until() {
            match timeout_at(until, self.inbox.recv()).await {
                Ok(Some(SessionCommand::Post(posting))) => posting.answer(away()),
                Ok(Some(SessionCommand::Close(done))) => return Err(Some(done)),
                Ok(None) => return Err(None),
                Err(_) => break,
            }
        }
        Ok(())
    }
}

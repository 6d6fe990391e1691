//! The publisher of RabbitMQ. One task owns the publishing connection; many messages are in flight at the same time.
//!
//! Each caller waits for the confirmation of its own message. Without a connection, messages are refused, and the task
//! reconnects in the background.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connection::{RabbitConnector, reconnect_backoff};
use super::message::OutboundMessage;
use super::session::{IN_FLIGHT_MAX, PendingPublish, RabbitSession};
use super::topology::RabbitTopology;
use crate::queue::{PUBLISH_LIMIT, PublishError, QueueError};

/// How long a message waits for a new connection while the task is connecting.
const RECONNECT_WAIT: Duration = Duration::from_millis(300);

/// How long the first messages wait for the first connection.
const FIRST_CONNECT_WAIT: Duration = Duration::from_millis(2_500);

/// The handle of the publishing task.
pub(super) struct RabbitPublisher {
    /// `None` after the publisher was closed.
    task: Mutex<Option<(mpsc::Sender<PendingPublish>, JoinHandle<()>)>>,
}

impl RabbitPublisher {
    /// Starts the task, which connects when the first message is published.
    pub(super) fn start(connector: Arc<RabbitConnector>, topology: Arc<RabbitTopology>) -> Self {
        let (sender, inbox) = mpsc::channel(IN_FLIGHT_MAX);
        let runtime = connector.runtime().clone();
        let task = Task { connector, topology, inbox, waiting: VecDeque::new() };
        Self { task: Mutex::new(Some((sender, runtime.spawn(task.run())))) }
    }

    /// Publishes a message. Returns when the broker has confirmed it, and always within [`PUBLISH_LIMIT`].
    pub(super) async fn publish(&self, message: OutboundMessage) -> Result<(), PublishError> {
        let deadline = Instant::now() + PUBLISH_LIMIT;
        let sender = self.task.lock().as_ref().map(|(sender, _)| sender.clone());
        let sender = sender.ok_or_else(closed)?;
        let permit = match timeout_at(deadline, sender.reserve()).await {
            Ok(permit) => permit.map_err(|_| closed())?,
            Err(_) => {
                let reason = "too many messages wait for their confirmation";
                return Err(PublishError::Unavailable(reason.to_owned()));
            }
        };
        let (reply, answer) = oneshot::channel();
        permit.send(PendingPublish { message: Box::new(message), reply });
        match timeout_at(deadline, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The deadline has passed, or the connection was lost.
            Ok(Err(_)) | Err(_) => Err(PublishError::Unknown),
        }
    }

    /// Refuses new messages. Returns when the messages in flight are confirmed, or their time limit has passed.
    pub(super) async fn close(&self) {
        let task = self.task.lock().take();
        if let Some((sender, task)) = task {
            drop(sender);
            // An error also means that the task has ended.
            let _ = task.await;
        }
    }
}

fn closed() -> PublishError {
    PublishError::Unavailable("it has been closed".to_owned())
}

struct Task {
    connector: Arc<RabbitConnector>,
    topology: Arc<RabbitTopology>,
    /// Ends when the publisher is closed.
    inbox: mpsc::Receiver<PendingPublish>,
    /// The messages that wait for a connection, each with the end of its wait.
    waiting: VecDeque<(Instant, PendingPublish)>,
}

impl Task {
    async fn run(mut self) {
        self.publish_until_closed().await;
        self.refuse_waiting(&closed());
    }

    async fn publish_until_closed(&mut self) {
        let Some(first) = self.inbox.recv().await else { return };
        let mut wait = FIRST_CONNECT_WAIT;
        self.waiting.push_back((Instant::now() + wait, first));
        let mut backoff = reconnect_backoff();
        let mut unavailable = false;
        loop {
            let problem = match self.connect(wait).await {
                None => return,
                Some(Err(problem)) => problem,
                Some(Ok(session)) => {
                    if std::mem::take(&mut unavailable) {
                        log::info!("the queue in rabbitmq is available again");
                    }
                    let waiting = std::mem::take(&mut self.waiting);
                    let waiting = waiting.into_iter().map(|(_, pending)| pending).collect();
                    let mut confirmed = false;
                    let ended = session.serve(&mut self.inbox, waiting, &mut confirmed).await;
                    if confirmed {
                        backoff = reconnect_backoff();
                    }
                    match ended {
                        Ok(()) => return,
                        Err(problem) => problem,
                    }
                }
            };
            if !std::mem::replace(&mut unavailable, true) {
                log::warn!("the queue in rabbitmq is unavailable; reconnecting: {problem}");
            }
            wait = RECONNECT_WAIT;
            if self.refuse_until(Instant::now() + backoff.next_pause(), problem).await.is_none() {
                return;
            }
        }
    }

    /// Connects. Meanwhile messages wait for the connection, within their limits. Returns `None` if the publisher is
    /// closed meanwhile.
    async fn connect(&mut self, wait: Duration) -> Option<Result<RabbitSession, QueueError>> {
        let opening = RabbitSession::open(Arc::clone(&self.connector), Arc::clone(&self.topology));
        let mut opening = std::pin::pin!(opening);
        loop {
            let oldest = self.waiting.front().map(|(until, _)| *until);
            let overdue = async {
                match oldest {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                opened = &mut opening => return Some(opened),
                pending = self.inbox.recv(), if self.waiting.len() < IN_FLIGHT_MAX => {
                    self.waiting.push_back((Instant::now() + wait, pending?));
                }
                () = overdue => if let Some((_, pending)) = self.waiting.pop_front() {
                    let reason = "there is no connection yet".to_owned();
                    pending.answer(Err(PublishError::Unavailable(reason)));
                },
            }
        }
    }

    /// Refuses all messages until the next attempt to connect. Returns `None` if the publisher is closed meanwhile.
    async fn refuse_until(&mut self, until: Instant, problem: QueueError) -> Option<()> {
        let error = PublishError::Unavailable(problem.0);
        self.refuse_waiting(&error);
        while let Ok(pending) = timeout_at(until, self.inbox.recv()).await {
            pending?.answer(Err(error.clone()));
        }
        Some(())
    }

    fn refuse_waiting(&mut self, error: &PublishError) {
        for (_, pending) in self.waiting.drain(..) {
            pending.answer(Err(error.clone()));
        }
    }
}

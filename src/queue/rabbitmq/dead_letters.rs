//! The dead letters in RabbitMQ: parked by us or put away by the broker, looked at and taken by people.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::connection::RabbitConnector;
use super::form;
use super::inspection::LetterInspection;
use super::parcel;
use super::publisher::RabbitPublisher;
use super::topology::RabbitTopology;
use crate::queue::{
    DeadLetter, Fate, LetterCounts, LetterSelection, Message, Parked, Partition, PublishError,
    QueueError,
};

/// The longest that listing the letters may take.
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// Letters that are sent back at the same time.
const TOGETHER: usize = 256;

/// Parks and reads letters.
pub(super) struct Letters {
    connector: Arc<RabbitConnector>,
    layout: Arc<RabbitTopology>,
    publisher: Arc<RabbitPublisher>,
}

impl Letters {
    pub(super) fn new(
        connector: Arc<RabbitConnector>,
        layout: Arc<RabbitTopology>,
        publisher: Arc<RabbitPublisher>,
    ) -> Self {
        Self { connector, layout, publisher }
    }

    /// Keeps a letter; done when the broker has confirmed it.
    pub(super) async fn park(
        &self,
        partition: Partition,
        message: Message,
        reason: String,
    ) -> Result<Parked, QueueError> {
        let mut letter = parcel(self.layout.dead(), message)?;
        letter.properties = letter.properties.with_headers(form::headers(partition, &reason));
        match self.publisher.publish(letter).await {
            Ok(()) => Ok(Parked::Kept),
            Err(PublishError::Full) => {
                let full = "there are as many dead letters as QUEUE_MAX allows";
                Ok(Parked::NoRoom(full.to_owned()))
            }
            Err(error) => Err(QueueError::new(error)),
        }
    }

    /// The oldest letters, at most so many.
    pub(super) async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let looking = async {
            let mut desk = self.desk().await?;
            let mut letters = Vec::new();
            // All of them: they are given back behind those that no consumer was given.
            while let Some((_, letter)) = desk.next().await? {
                letters.push(letter);
            }
            desk.leave().await?;
            Ok(letters)
        };
        let late = |_| QueueError::new("the dead letters cannot be read in time");
        let mut letters = timeout(LIST_LIMIT, looking).await.map_err(late)??;
        // Those that somebody else had and lost come behind others.
        letters.sort_by_key(|letter: &DeadLetter| letter.parked_at);
        letters.truncate(limit);
        Ok(letters)
    }

    /// Takes the letters that are meant, in one look.
    pub(super) async fn take(
        &self,
        which: &LetterSelection,
        fate: Fate,
        tally: &LetterCounts,
    ) -> Result<(), QueueError> {
        let mut desk = self.desk().await?;
        let mut some = Vec::new();
        while let Some((tag, letter)) = desk.next().await? {
            if which.includes(&letter.message.id) {
                some.push((tag, letter));
            }
            if some.len() >= TOGETHER {
                self.take_some(&mut desk, std::mem::take(&mut some), fate, tally).await?;
            }
        }
        self.take_some(&mut desk, some, fate, tally).await?;
        desk.leave().await
    }

    /// A letter is taken away when the broker has confirmed that it is back in its partition.
    async fn take_some(
        &self,
        desk: &mut LetterInspection,
        some: Vec<(u64, DeadLetter)>,
        fate: Fate,
        tally: &LetterCounts,
    ) -> Result<(), QueueError> {
        let outcomes: Vec<Result<(), PublishError>> = match fate {
            Fate::Drop => vec![Ok(()); some.len()],
            Fate::Retry => join_all(some.iter().map(|(_, letter)| self.send_back(letter))).await,
        };
        let mut problem = Ok(());
        for ((tag, letter), outcome) in some.into_iter().zip(outcomes) {
            let id = letter.message.id;
            match outcome {
                Ok(()) => {
                    desk.take(tag).await?;
                    tally.note_done(id);
                }
                Err(error) => {
                    tally.note_failed(id, error.to_string());
                    // A partition may have no room, or not be there; the others have.
                    if matches!(error, PublishError::Away(_) | PublishError::Unknown) {
                        problem = Err(QueueError::new(error));
                    }
                }
            }
        }
        problem
    }

    async fn send_back(&self, letter: &DeadLetter) -> Result<(), PublishError> {
        let queue = self.layout.queue(letter.partition);
        let again = queue.and_then(|queue| parcel(queue, letter.message.clone()));
        self.publisher.publish(again.map_err(|error| PublishError::Unfit(error.0))?).await
    }

    async fn desk(&self) -> Result<LetterInspection, QueueError> {
        LetterInspection::open(&self.connector, Arc::clone(&self.layout)).await
    }
}

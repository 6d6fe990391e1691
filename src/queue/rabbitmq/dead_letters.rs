//! The dead letters in RabbitMQ. This program or the broker has stored them.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use super::connection::RabbitConnector;
use super::inspection::LetterInspection;
use super::message::OutboundMessage;
use super::publisher::RabbitPublisher;
use super::topology::RabbitTopology;
use crate::queue::{
    DeadLetter, DeadLetterAction, DeadLetterProgress, DeadLetterSelection, DeadLettered, Message,
    Partition, PublishError, QueueError,
};

/// The longest time to list dead letters.
const LIST_LIMIT: Duration = Duration::from_secs(60);

/// The most dead letters that are retried at the same time.
const RETRIES_MAX: usize = 256;

/// Adds, lists, retries and deletes dead letters.
pub(super) struct RabbitDeadLetters {
    pub(super) connector: Arc<RabbitConnector>,
    pub(super) topology: Arc<RabbitTopology>,
    pub(super) publisher: Arc<RabbitPublisher>,
}

impl RabbitDeadLetters {
    pub(super) async fn add(
        &self,
        partition: Partition,
        message: Message,
        reason: &str,
    ) -> Result<DeadLettered, QueueError> {
        let message = OutboundMessage::new(self.topology.dead(), message)?;
        match self.publisher.publish(message.into_dead_letter(partition, reason)).await {
            Ok(()) => Ok(DeadLettered::Stored),
            Err(PublishError::Full) => {
                let full = "there are as many dead letters as QUEUE_MAX allows";
                Ok(DeadLettered::NotStored(full.to_owned()))
            }
            Err(error) => Err(QueueError::new(error)),
        }
    }

    /// The oldest dead letters, at most `limit`.
    pub(super) async fn list(&self, limit: usize) -> Result<Vec<DeadLetter>, QueueError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let reading = async {
            let mut inspection = self.inspect().await?;
            let mut letters = Vec::new();
            // All dead letters must be read, because returned ones are requeued behind those that were not delivered.
            while let Some((_, letter)) = inspection.next().await? {
                letters.push(letter);
            }
            inspection.end().await?;
            Ok(letters)
        };
        let late = |_| QueueError::new("the dead letters cannot be read in time");
        let mut letters = timeout(LIST_LIMIT, reading).await.map_err(late)??;
        // Dead letters that another inspection received and lost are not at their position in the queue.
        letters.sort_by_key(|letter: &DeadLetter| letter.dead_lettered_at);
        letters.truncate(limit);
        Ok(letters)
    }

    /// Retries or deletes the selected dead letters, in one inspection.
    pub(super) async fn resolve(
        &self,
        selection: &DeadLetterSelection,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError> {
        let mut inspection = self.inspect().await?;
        let mut chunk = Vec::new();
        while let Some((tag, letter)) = inspection.next().await? {
            if selection.includes(&letter.message.id) {
                chunk.push((tag, letter));
            }
            if chunk.len() >= RETRIES_MAX {
                let chunk = std::mem::take(&mut chunk);
                self.resolve_chunk(&mut inspection, chunk, action, progress).await?;
            }
        }
        self.resolve_chunk(&mut inspection, chunk, action, progress).await?;
        inspection.end().await
    }

    /// Retries or deletes the dead letters of a chunk. A retried dead letter is removed when the broker has confirmed
    /// that the message is in its partition again.
    async fn resolve_chunk(
        &self,
        inspection: &mut LetterInspection,
        chunk: Vec<(u64, DeadLetter)>,
        action: DeadLetterAction,
        progress: &DeadLetterProgress,
    ) -> Result<(), QueueError> {
        let outcomes: Vec<Result<(), PublishError>> = match action {
            DeadLetterAction::Drop => vec![Ok(()); chunk.len()],
            DeadLetterAction::Retry => {
                join_all(chunk.iter().map(|(_, letter)| self.publish_again(letter))).await
            }
        };
        let mut result = Ok(());
        for ((tag, letter), outcome) in chunk.into_iter().zip(outcomes) {
            if outcome.is_ok() {
                inspection.remove(tag).await?;
            }
            result = progress.note(letter.message.id, outcome).and(result);
        }
        result
    }

    async fn publish_again(&self, letter: &DeadLetter) -> Result<(), PublishError> {
        let message = letter.message.clone();
        let message = OutboundMessage::to_partition(&self.topology, letter.partition, message)?;
        self.publisher.publish(message).await
    }

    async fn inspect(&self) -> Result<LetterInspection, QueueError> {
        LetterInspection::begin(&self.connector, Arc::clone(&self.topology)).await
    }
}

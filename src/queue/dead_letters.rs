//! The types of dead letters, for every backend: the dead letter, a selection of dead letters, and the progress of
//! retrying or deleting them.

use std::collections::{BTreeMap, HashSet};

use parking_lot::Mutex;

use crate::domain::clock::EpochMs;

use super::{Message, Partition};
#[cfg(any(feature = "rabbitmq", feature = "kafka"))]
use super::{PublishError, QueueError};

/// A message that could not be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message.
    pub message: Message,
    /// The partition from which the message was delivered.
    pub partition: Partition,
    /// Why the message could not be executed.
    pub reason: String,
    /// When the message became a dead letter, by the clock of the process or broker that stored it as one.
    pub dead_lettered_at: EpochMs,
}

/// Whether a message became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLettered {
    /// The queue has stored it as a dead letter.
    Stored,
    /// The queue cannot store it, and a retry would not help, for this reason.
    NotStored(String),
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadLetterAction {
    /// Publish them again.
    Retry,
    /// Delete them.
    Drop,
}

/// A selection of dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeadLetterSelection {
    /// All that exist when the operation begins.
    All,
    /// Those with these ids.
    Ids(HashSet<String>),
}

impl DeadLetterSelection {
    /// Whether the dead letter with this id is selected.
    #[must_use]
    pub fn includes(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.contains(id),
        }
    }
}

/// The dead letters that were retried or deleted so far, and those for which that failed. It can be read at any time,
/// even after the operation was cancelled.
#[derive(Debug, Default)]
pub struct DeadLetterProgress(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: HashSet<String>,
    failed: BTreeMap<String, String>,
}

impl DeadLetterProgress {
    /// Records that the dead letter with this id was retried or deleted.
    pub fn note_done(&self, id: String) {
        let mut counts = self.0.lock();
        counts.failed.remove(&id);
        counts.done.insert(id);
    }

    /// Records why the dead letter with this id still exists.
    pub fn note_failed(&self, id: String, reason: String) {
        let mut counts = self.0.lock();
        if !counts.done.contains(&id) {
            counts.failed.insert(id, reason);
        }
    }

    /// Records an outcome. Returns an error if the queue is unavailable: then the next dead letters would fail, too.
    #[cfg(any(feature = "rabbitmq", feature = "kafka"))]
    pub(super) fn note(
        &self,
        id: String,
        outcome: Result<(), PublishError>,
    ) -> Result<(), QueueError> {
        let Err(error) = outcome else {
            self.note_done(id);
            return Ok(());
        };
        self.note_failed(id, error.to_string());
        match error {
            PublishError::Unavailable(_) | PublishError::Unknown => Err(QueueError::new(error)),
            // Other partitions may have room.
            PublishError::Full | PublishError::Rejected(_) => Ok(()),
        }
    }

    /// The number of dead letters that were retried or deleted.
    #[must_use]
    pub fn done(&self) -> usize {
        self.0.lock().done.len()
    }

    /// The dead letters that failed, each with its reason, sorted by id.
    #[must_use]
    pub fn failed(&self) -> Vec<(String, String)> {
        self.0.lock().failed.clone().into_iter().collect()
    }

    /// Whether an outcome of the dead letter with this id was recorded.
    #[must_use]
    pub fn has_found(&self, id: &str) -> bool {
        let counts = self.0.lock();
        counts.done.contains(id) || counts.failed.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_letter_that_failed_and_was_done_later_counts_as_done() {
        let progress = DeadLetterProgress::default();
        progress.note_failed("1".to_owned(), "full".to_owned());
        progress.note_failed("2".to_owned(), "full".to_owned());
        progress.note_done("1".to_owned());
        progress.note_failed("1".to_owned(), "a copy of it failed".to_owned());
        assert_eq!(progress.done(), 1);
        assert_eq!(progress.failed(), [("2".to_owned(), "full".to_owned())]);
        let found = ["1", "2", "3"].map(|id| progress.has_found(id));
        assert_eq!(found, [true, true, false]);
    }
}

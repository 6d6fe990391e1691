//! Dead letters as every queue has them: what they are, which are meant, and what has been done with them.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::clock::EpochMs;

use super::{Message, Partition};

/// A message that could not be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// What it was.
    pub message: Message,
    /// Where it came from.
    pub partition: Partition,
    /// Why it was parked.
    pub reason: String,
    /// When; by the clock of the process that parked it.
    pub parked_at: EpochMs,
}

/// Whether a message became a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parked {
    /// It is one.
    Kept,
    /// The queue cannot keep it, and will not be able to by itself: the reason.
    NoRoom(String),
}

/// What becomes of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is published again.
    Retry,
    /// It is deleted.
    Drop,
}

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LetterSelection {
    /// All that are there when the work begins.
    All,
    /// Those with these ids.
    Ids(HashSet<String>),
}

impl LetterSelection {
    /// Whether the letter with this id is meant.
    #[must_use]
    pub fn includes(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::Ids(ids) => ids.contains(id),
        }
    }
}

/// What has been done with dead letters so far. It is read while the work goes on, and is true at every
/// moment, also when the work ends early.
#[derive(Debug, Default)]
pub struct LetterCounts(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    done: HashSet<String>,
    failed: BTreeMap<String, String>,
}

impl LetterCounts {
    /// Notes that the letter with this id was taken away.
    pub fn note_done(&self, id: String) {
        let mut counts = self.counts();
        counts.failed.remove(&id);
        counts.done.insert(id);
    }

    /// Notes why the letter with this id is still there.
    pub fn note_failed(&self, id: String, reason: String) {
        let mut counts = self.counts();
        if !counts.done.contains(&id) {
            counts.failed.insert(id, reason);
        }
    }

    /// How many letters were taken away.
    #[must_use]
    pub fn done(&self) -> usize {
        self.counts().done.len()
    }

    /// The letters that could not be taken away, each with its reason, in the order of their ids.
    #[must_use]
    pub fn failed(&self) -> Vec<(String, String)> {
        self.counts().failed.clone().into_iter().collect()
    }

    /// Whether the letter with this id was found, whatever became of it.
    #[must_use]
    pub fn has_found(&self, id: &str) -> bool {
        let counts = self.counts();
        counts.done.contains(id) || counts.failed.contains_key(id)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_that_failed_and_was_done_later_counts_as_done() {
        let tally = LetterCounts::default();
        tally.note_failed("1".to_owned(), "full".to_owned());
        tally.note_failed("2".to_owned(), "full".to_owned());
        tally.note_done("1".to_owned());
        tally.note_failed("1".to_owned(), "a copy of it failed".to_owned());
        assert_eq!(tally.done(), 1);
        assert_eq!(tally.failed(), [("2".to_owned(), "full".to_owned())]);
        let found = ["1", "2", "3"].map(|id| tally.has_found(id));
        assert_eq!(found, [true, true, false]);
    }
}

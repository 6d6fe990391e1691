//! Reads the dead letters: their topic, from its beginning to its end.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaSettings;
use super::client::{SilentContext, reader_config};
use super::record;
use crate::queue::{DeadLetter, QueueError};

/// How long reading may take.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// How much of the letters is kept in memory, in bytes. What is over it is not listed before the older ones
/// have been dealt with.
const BYTES_MAX: usize = 64 << 20;

/// Between two looks at the clock.
const POLL: Duration = Duration::from_millis(100);

/// A letter that was found.
pub(super) struct ScannedLetter {
    /// As it was parked last.
    pub(super) letter: DeadLetter,
    /// The keys of all its records: it may have been parked more than once.
    pub(super) keys: Vec<String>,
}

/// What was found in one look.
pub(super) struct LetterScan {
    /// Oldest first.
    pub(super) found: Vec<ScannedLetter>,
    /// Whether there is nothing else that is wanted: no letter was left out for want of memory.
    pub(super) complete: bool,
}

/// The letters there are, among those whose ids are wanted. Blocks.
pub(super) fn read(
    settings: &KafkaSettings,
    wanted: impl Fn(&str) -> bool,
) -> Result<LetterScan, QueueError> {
    let deadline = Instant::now() + READ_LIMIT;
    let client: BaseConsumer<SilentContext> =
        reader_config(settings).create_with_context(SilentContext).map_err(QueueError::new)?;
    let mut unread = begin(&client, &settings.dead_topic())?;
    let mut kept = Kept::default();
    let mut problem = "no broker answers".to_owned();
    while !unread.is_empty() {
        match client.poll(POLL) {
            Some(Ok(record)) => {
                let (key, letter) = record::letter(&record);
                if letter.as_ref().is_none_or(|letter| wanted(&letter.message.id)) {
                    kept.note(key, letter, (record.partition(), record.offset()));
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            // A lost connection, say; librdkafka makes another.
            Some(Err(error)) => problem = error.to_string(),
            None => {}
        }
        if Instant::now() >= deadline {
            return Err(QueueError(format!("cannot read the dead letters: {problem}")));
        }
    }
    Ok(kept.look())
}

/// Goes to the beginning of each of the topic's partitions.
fn begin(client: &BaseConsumer<SilentContext>, topic: &str) -> Result<HashSet<i32>, QueueError> {
    let metadata = client.fetch_metadata(Some(topic), READ_LIMIT).map_err(QueueError::new)?;
    let found = metadata.topics().iter().filter(|found| found.name() == topic);
    let partitions = found.flat_map(|found| found.partitions());
    let partitions: HashSet<i32> = partitions.map(|partition| partition.id()).collect();
    let mut places = TopicPartitionList::new();
    for partition in &partitions {
        let added = places.add_partition_offset(topic, *partition, Offset::Beginning);
        added.map_err(QueueError::new)?;
    }
    client.assign(&places).map_err(QueueError::new)?;
    Ok(partitions)
}

/// The letters read so far, by key.
#[derive(Default)]
struct Kept {
    letters: HashMap<String, (DeadLetter, (i32, i64))>,
    bytes: usize,
    left_out: bool,
}

impl Kept {
    /// What was written last about a key counts.
    fn note(&mut self, key: String, letter: Option<DeadLetter>, place: (i32, i64)) {
        if let Some((old, _)) = self.letters.remove(&key) {
            self.bytes = self.bytes.saturating_sub(size(&old));
        }
        let Some(letter) = letter else { return };
        let bytes = self.bytes.saturating_add(size(&letter));
        if bytes <= BYTES_MAX {
            self.bytes = bytes;
            self.letters.insert(key, (letter, place));
        } else {
            self.left_out = true;
        }
    }

    /// One letter for each id, in the order in which they were parked last.
    fn look(self) -> LetterScan {
        let mut letters: Vec<_> = self.letters.into_iter().collect();
        letters.sort_by_key(|(_, (letter, place))| (letter.parked_at, *place));
        let mut by_id: HashMap<String, ScannedLetter> = HashMap::new();
        for (key, (letter, _)) in letters {
            let id = letter.message.id.clone();
            let mut keys = by_id.remove(&id).map_or_else(Vec::new, |before| before.keys);
            keys.push(key);
            by_id.insert(id, ScannedLetter { letter, keys });
        }
        let mut found: Vec<ScannedLetter> = by_id.into_values().collect();
        found.sort_by(|one, next| {
            let order =
                |found: &ScannedLetter| (found.letter.parked_at, found.letter.message.id.clone());
            order(one).cmp(&order(next))
        });
        LetterScan { found, complete: !self.left_out }
    }
}

/// About what a letter takes.
fn size(letter: &DeadLetter) -> usize {
    letter.message.body.len() + 2 * letter.message.id.len() + letter.reason.len() + 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::EpochMs;
    use crate::queue::{Message, Partition};

    fn letter(id: &str, parked_at: i64, bytes: usize) -> DeadLetter {
        DeadLetter {
            message: Message { id: id.to_owned(), body: vec![0; bytes] },
            partition: Partition(0),
            reason: String::new(),
            parked_at: EpochMs(parked_at),
        }
    }

    fn ids(kept: Kept) -> Vec<String> {
        kept.look().found.into_iter().map(|found| found.letter.message.id).collect()
    }

    #[test]
    fn what_was_written_last_under_a_key_counts() {
        let mut kept = Kept::default();
        for (offset, (key, letter)) in [
            ("a", Some(letter("a", 1, 1))),
            ("b", Some(letter("b", 2, 1))),
            ("c", Some(letter("c", 3, 1))),
            ("b", None),
            ("a", Some(letter("a", 4, 1))),
            ("absent", None),
        ]
        .into_iter()
        .enumerate()
        {
            kept.note(key.to_owned(), letter, (0, offset as i64));
        }
        assert_eq!(ids(kept), ["c", "a"]);
    }

    #[test]
    fn a_letter_that_was_parked_again_is_one_until_its_first_record_has_ended() {
        let mut kept = Kept::default();
        kept.note("a@1".to_owned(), Some(letter("a", 1, 1)), (0, 0));
        kept.note("b@2".to_owned(), Some(letter("b", 2, 1)), (0, 1));
        kept.note("a@3".to_owned(), Some(letter("a", 3, 1)), (0, 2));
        let look = kept.look();
        let keys: Vec<_> = look.found.iter().map(|found| found.keys.as_slice()).collect();
        assert_eq!(keys, [vec!["b@2".to_owned()], vec!["a@1".to_owned(), "a@3".to_owned()]]);
        assert!(look.complete);

        // What was sent back before it was parked again is ended alone.
        let mut kept = Kept::default();
        kept.note("a@1".to_owned(), Some(letter("a", 1, 1)), (0, 0));
        kept.note("a@3".to_owned(), Some(letter("a", 3, 1)), (0, 1));
        kept.note("a@1".to_owned(), None, (0, 2));
        assert_eq!(ids(kept), ["a"]);
    }

    #[test]
    fn letters_over_the_bound_wait_for_room() {
        let mut kept = Kept::default();
        kept.note("old".to_owned(), Some(letter("old", 1, BYTES_MAX - 1000)), (0, 0));
        kept.note("new".to_owned(), Some(letter("new", 2, 1000)), (0, 1));
        assert!(kept.left_out);
        assert_eq!(ids(kept), ["old"]);
        let mut kept = Kept::default();
        kept.note("old".to_owned(), Some(letter("old", 1, BYTES_MAX - 1000)), (0, 0));
        kept.note("old".to_owned(), None, (0, 1));
        kept.note("new".to_owned(), Some(letter("new", 2, 1000)), (0, 2));
        assert_eq!(ids(kept), ["new"]);
        assert_eq!(Kept::default().bytes, 0);
    }
}

//! Reads the whole topic of the dead letters.

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

/// The longest time to read the topic.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// The most bytes of dead letters in memory. Further dead letters are listed after older ones have been resolved.
const BYTES_MAX: usize = 64 << 20;

/// The time between two checks of the deadline.
const POLL: Duration = Duration::from_millis(100);

/// A dead letter that was found.
pub(super) struct ScannedLetter {
    /// Its newest record.
    pub(super) letter: DeadLetter,
    /// The keys of all its records. It has several records if it became a dead letter more than once.
    pub(super) keys: Vec<String>,
}

/// The dead letters that were found.
pub(super) struct DeadLetterScan {
    /// Oldest first.
    pub(super) found: Vec<ScannedLetter>,
    /// False if dead letters were omitted because of the memory bound.
    pub(super) complete: bool,
}

/// Reads the dead letters with the selected ids. Blocks.
pub(super) fn read(
    settings: &KafkaSettings,
    is_selected: impl Fn(&str) -> bool,
) -> Result<DeadLetterScan, QueueError> {
    let deadline = Instant::now() + READ_LIMIT;
    let client: BaseConsumer<SilentContext> =
        reader_config(settings).create_with_context(SilentContext).map_err(QueueError::new)?;
    let mut unread = seek_beginning(&client, &settings.dead_topic())?;
    let mut letters = LettersByKey::default();
    let mut problem = "no broker answers".to_owned();
    while !unread.is_empty() {
        match client.poll(POLL) {
            Some(Ok(record)) => {
                let (key, letter) = record::dead_letter(&record);
                if letter.as_ref().is_none_or(|letter| is_selected(&letter.message.id)) {
                    letters.add(key, letter, (record.partition(), record.offset()));
                }
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
            }
            // For example a lost connection, after which librdkafka reconnects.
            Some(Err(error)) => problem = error.to_string(),
            None => {}
        }
        if Instant::now() >= deadline {
            return Err(QueueError(format!("cannot read the dead letters: {problem}")));
        }
    }
    Ok(letters.into_scan())
}

/// Assigns all partitions of the topic to the client, from their beginning. Returns the partitions.
fn seek_beginning(
    client: &BaseConsumer<SilentContext>,
    topic: &str,
) -> Result<HashSet<i32>, QueueError> {
    let metadata = client.fetch_metadata(Some(topic), READ_LIMIT).map_err(QueueError::new)?;
    let found = metadata.topics().iter().filter(|found| found.name() == topic);
    let partitions = found.flat_map(|found| found.partitions());
    let partitions: HashSet<i32> = partitions.map(|partition| partition.id()).collect();
    let mut positions = TopicPartitionList::new();
    for partition in &partitions {
        let added = positions.add_partition_offset(topic, *partition, Offset::Beginning);
        added.map_err(QueueError::new)?;
    }
    client.assign(&positions).map_err(QueueError::new)?;
    Ok(partitions)
}

/// The dead letters read so far, by key, each with its partition and offset.
#[derive(Default)]
struct LettersByKey {
    letters: HashMap<String, (DeadLetter, (i32, i64))>,
    bytes: usize,
    omitted: bool,
}

impl LettersByKey {
    /// Adds a record, which replaces the earlier record of its key. `None` deletes that.
    fn add(&mut self, key: String, letter: Option<DeadLetter>, position: (i32, i64)) {
        if let Some((old, _)) = self.letters.remove(&key) {
            self.bytes = self.bytes.saturating_sub(size(&old));
        }
        let Some(letter) = letter else { return };
        let bytes = self.bytes.saturating_add(size(&letter));
        if bytes <= BYTES_MAX {
            self.bytes = bytes;
            self.letters.insert(key, (letter, position));
        } else {
            self.omitted = true;
        }
    }

    /// Merges the records of each id. The result is in the order of the newest records.
    fn into_scan(self) -> DeadLetterScan {
        let mut letters: Vec<_> = self.letters.into_iter().collect();
        letters.sort_by_key(|(_, (letter, position))| (letter.dead_lettered_at, *position));
        let mut by_id: HashMap<String, ScannedLetter> = HashMap::new();
        for (key, (letter, _)) in letters {
            let id = letter.message.id.clone();
            let mut keys = by_id.remove(&id).map_or_else(Vec::new, |before| before.keys);
            keys.push(key);
            by_id.insert(id, ScannedLetter { letter, keys });
        }
        let mut found: Vec<ScannedLetter> = by_id.into_values().collect();
        found.sort_by_cached_key(|ScannedLetter { letter, .. }| {
            (letter.dead_lettered_at, letter.message.id.clone())
        });
        DeadLetterScan { found, complete: !self.omitted }
    }
}

/// The approximate size of a dead letter in memory.
fn size(letter: &DeadLetter) -> usize {
    letter.message.body.len() + 2 * letter.message.id.len() + letter.reason.len() + 200
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::EpochMs;
    use crate::queue::{Message, Partition};

    fn letter(id: &str, at: i64, bytes: usize) -> DeadLetter {
        DeadLetter {
            message: Message { id: id.to_owned(), body: vec![0; bytes] },
            partition: Partition(0),
            reason: String::new(),
            dead_lettered_at: EpochMs(at),
        }
    }

    fn ids(letters: LettersByKey) -> Vec<String> {
        letters.into_scan().found.into_iter().map(|found| found.letter.message.id).collect()
    }

    #[test]
    fn the_last_record_of_a_key_counts() {
        let mut letters = LettersByKey::default();
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
            letters.add(key.to_owned(), letter, (0, offset as i64));
        }
        assert_eq!(ids(letters), ["c", "a"]);
    }

    #[test]
    fn records_of_one_id_are_one_dead_letter() {
        let mut letters = LettersByKey::default();
        letters.add("a@1".to_owned(), Some(letter("a", 1, 1)), (0, 0));
        letters.add("b@2".to_owned(), Some(letter("b", 2, 1)), (0, 1));
        letters.add("a@3".to_owned(), Some(letter("a", 3, 1)), (0, 2));
        let scan = letters.into_scan();
        let keys: Vec<_> = scan.found.iter().map(|found| found.keys.as_slice()).collect();
        assert_eq!(keys, [vec!["b@2".to_owned()], vec!["a@1".to_owned(), "a@3".to_owned()]]);
        assert!(scan.complete);

        // Deleting one record of an id does not delete the other.
        let mut letters = LettersByKey::default();
        letters.add("a@1".to_owned(), Some(letter("a", 1, 1)), (0, 0));
        letters.add("a@3".to_owned(), Some(letter("a", 3, 1)), (0, 1));
        letters.add("a@1".to_owned(), None, (0, 2));
        assert_eq!(ids(letters), ["a"]);
    }

    #[test]
    fn dead_letters_over_the_bound_are_omitted() {
        let mut letters = LettersByKey::default();
        letters.add("old".to_owned(), Some(letter("old", 1, BYTES_MAX - 1000)), (0, 0));
        letters.add("new".to_owned(), Some(letter("new", 2, 1000)), (0, 1));
        assert!(letters.omitted);
        assert_eq!(ids(letters), ["old"]);
        let mut letters = LettersByKey::default();
        letters.add("old".to_owned(), Some(letter("old", 1, BYTES_MAX - 1000)), (0, 0));
        letters.add("old".to_owned(), None, (0, 1));
        letters.add("new".to_owned(), Some(letter("new", 2, 1000)), (0, 2));
        assert_eq!(ids(letters), ["new"]);
        assert_eq!(LettersByKey::default().bytes, 0);
    }
}

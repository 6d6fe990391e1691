//! Reads the dead letters: their topic, from its beginning to its end.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::KafkaSettings;
use super::client::{Quiet, reader_config};
use super::record;
use crate::queue::{DeadLetter, QueueError};

/// How long reading may take.
const READ_LIMIT: Duration = Duration::from_secs(20);

/// How much of the letters is kept in memory, in bytes. What is over it is not listed before the older ones
/// have been dealt with.
const BYTES_MAX: usize = 64 << 20;

/// Between two looks at the clock.
const POLL: Duration = Duration::from_millis(100);

/// The letters there are, among those whose ids are wanted, oldest first. Blocks.
pub(super) fn read(
    settings: &KafkaSettings,
    wanted: impl Fn(&str) -> bool,
) -> Result<Vec<DeadLetter>, QueueError> {
    let deadline = Instant::now() + READ_LIMIT;
    let client: BaseConsumer<Quiet> =
        reader_config(settings).create_with_context(Quiet).map_err(QueueError::new)?;
    let mut unread = begin(&client, &settings.dead_topic())?;
    let mut kept = Kept::default();
    let mut problem = "no broker answers".to_owned();
    while !unread.is_empty() {
        match client.poll(POLL) {
            Some(Ok(record)) => {
                let (id, letter) = record::letter(&record);
                if wanted(&id) {
                    kept.note(id, letter, (record.partition(), record.offset()));
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
    Ok(kept.in_order())
}

/// Goes to the beginning of each of the topic's partitions.
fn begin(client: &BaseConsumer<Quiet>, topic: &str) -> Result<HashSet<i32>, QueueError> {
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

/// The letters read so far, by id.
#[derive(Default)]
struct Kept {
    letters: HashMap<String, (DeadLetter, (i32, i64))>,
    bytes: usize,
}

impl Kept {
    /// What was written last about an id counts.
    fn note(&mut self, id: String, letter: Option<DeadLetter>, place: (i32, i64)) {
        if let Some((old, _)) = self.letters.remove(&id) {
            self.bytes = self.bytes.saturating_sub(size(&old));
        }
        let Some(letter) = letter else { return };
        let bytes = self.bytes.saturating_add(size(&letter));
        if bytes <= BYTES_MAX {
            self.bytes = bytes;
            self.letters.insert(id, (letter, place));
        }
    }

    fn in_order(self) -> Vec<DeadLetter> {
        let mut letters: Vec<_> = self.letters.into_values().collect();
        letters.sort_by_key(|(letter, place)| (letter.parked_at, *place));
        letters.into_iter().map(|(letter, _)| letter).collect()
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
        kept.in_order().into_iter().map(|letter| letter.message.id).collect()
    }

    #[test]
    fn what_was_written_last_about_a_letter_counts() {
        let mut kept = Kept::default();
        for (offset, (id, letter)) in [
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
            kept.note(id.to_owned(), letter, (0, offset as i64));
        }
        assert_eq!(ids(kept), ["c", "a"]);
    }

    #[test]
    fn letters_over_the_bound_wait_for_room() {
        let mut kept = Kept::default();
        kept.note("old".to_owned(), Some(letter("old", 1, BYTES_MAX - 1000)), (0, 0));
        kept.note("new".to_owned(), Some(letter("new", 2, 1000)), (0, 1));
        assert_eq!(ids(kept), ["old"]);
        let mut kept = Kept::default();
        kept.note("old".to_owned(), Some(letter("old", 1, BYTES_MAX - 1000)), (0, 0));
        kept.note("old".to_owned(), None, (0, 1));
        kept.note("new".to_owned(), Some(letter("new", 2, 1000)), (0, 2));
        assert_eq!(ids(kept), ["new"]);
        assert_eq!(Kept::default().bytes, 0);
    }
}

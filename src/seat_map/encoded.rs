//! The encoded answers of a schedule: encoded on demand, compressed, and shared by all readers.
//!
//! All answers of a schedule are encoded from the same *published* states. These change at most every
//! [`PUBLISH_INTERVAL`], unless the map is small or a reader needs a newer version. So no reader gets an older version
//! after a newer one, even if it reads different representations.

use std::collections::HashMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::domain::execution_error::StoreError;
use crate::domain::ids::InHistory;

use super::states::SeatStates;
use super::times::PUBLISH_INTERVAL;

/// Every version of a map of up to this many seats is published, because such a map is encoded quickly.
const CHEAP_SEATS: usize = 5_000;

/// The content of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Representation {
    /// Every seat with its names, price and status.
    Seats,
    /// Two bits per seat, and counts.
    Availability,
}

/// A content coding (RFC 9110 §8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ContentEncoding {
    /// No compression.
    Identity,
    /// gzip (RFC 1952).
    Gzip,
    /// br (RFC 7932).
    Brotli,
    /// zstd (RFC 8878).
    Zstd,
}

impl ContentEncoding {
    /// The name of the coding in `Content-Encoding`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Gzip => "gzip",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// Compresses a body. The levels are chosen so that a map of 50,000 seats takes tens of milliseconds. Fails only
    /// for lack of memory.
    pub fn compress(self, body: Vec<u8>) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Identity => Ok(body),
            Self::Gzip => gzip(&body),
            Self::Brotli => brotli(&body),
            Self::Zstd => zstd::bulk::compress(&body, 3),
        }
    }
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn brotli(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let buffer = 64 * 1024;
    let quality = 4;
    let window = 20;
    let mut encoder = brotli::CompressorWriter::new(Vec::new(), buffer, quality, window);
    encoder.write_all(body)?;
    encoder.flush()?;
    Ok(encoder.into_inner())
}

/// An encoded answer, which is shared by all requests for it.
#[derive(Debug)]
pub struct Encoded {
    /// The version of its states, in its history.
    pub at: InHistory<i64>,
    /// Its strong entity tag, which differs by representation and encoding.
    pub tag: String,
    /// The encoded body.
    pub body: Bytes,
}

impl Encoded {
    /// Whether the answer was encoded from these states, or from newer ones of the same history.
    fn is_at_least(&self, states: &SeatStates) -> bool {
        self.at.history == states.history && self.at.at >= states.version
    }
}

/// An answer, behind a mutex that is locked by the reader that encodes the answer.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Encoded>>>>;

/// The answers of one schedule.
#[derive(Debug, Default)]
pub(super) struct EncodedMaps {
    published: Mutex<Option<Published>>,
    encoded: Mutex<HashMap<(Representation, ContentEncoding), Slot>>,
    /// The bytes of all encoded bodies.
    bytes: AtomicUsize,
}

#[derive(Debug)]
struct Published {
    states: Arc<SeatStates>,
    at: Instant,
}

impl EncodedMaps {
    /// Given the newest states, returns the published states, which readers get. They are at `at_least` or newer if the
    /// newest states are.
    pub(super) fn publish(&self, newest: &Arc<SeatStates>, at_least: i64) -> Arc<SeatStates> {
        let mut published = self.published.lock();
        let due = published.as_ref().is_none_or(|last| {
            let is_newer = newest.version > last.states.version
                || newest.version == last.states.version && newest.history != last.states.history;
            is_newer
                && (newest.codes.len() <= CHEAP_SEATS
                    || last.at.elapsed() >= PUBLISH_INTERVAL
                    || last.states.version < at_least)
        });
        if due {
            *published = Some(Published { states: Arc::clone(newest), at: Instant::now() });
        }
        Arc::clone(published.as_ref().map_or(newest, |last| &last.states))
    }

    /// The answer for these states or newer ones, if it has been encoded.
    pub(super) fn cached(
        &self,
        representation: Representation,
        encoding: ContentEncoding,
        states: &SeatStates,
    ) -> Option<Arc<Encoded>> {
        let slot = self.slot(representation, encoding);
        let slot = slot.try_lock().ok()?;
        slot.as_ref().filter(|encoded| encoded.is_at_least(states)).map(Arc::clone)
    }

    /// The bytes of all encoded bodies.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn slot(&self, representation: Representation, encoding: ContentEncoding) -> Slot {
        Arc::clone(self.encoded.lock().entry((representation, encoding)).or_default())
    }

    /// The answer for these states: the cached answer, or a new one, which `write` writes on another thread while other
    /// readers of the same answer wait.
    pub(super) async fn encode(
        &self,
        representation: Representation,
        encoding: ContentEncoding,
        states: &Arc<SeatStates>,
        write: impl FnOnce() -> Vec<u8> + Send + 'static,
    ) -> Result<Arc<Encoded>, StoreError> {
        let slot = self.slot(representation, encoding);
        let mut slot = slot.lock().await;
        if let Some(cached) = &*slot
            && cached.is_at_least(states)
        {
            return Ok(Arc::clone(cached));
        }
        let body = tokio::task::spawn_blocking(move || encoding.compress(write())).await;
        let body = body.map_err(std::io::Error::other).flatten();
        let body = body.map_err(|error| StoreError::Corrupt(format!("a map's answer: {error}")))?;
        let tag =
            format!("\"{}-{:?}-{}\"", states.at(), representation, encoding.name()).to_lowercase();
        // Copies the body to a buffer of the exact size: the capacity of the original may be twice as large.
        let body = Bytes::copy_from_slice(&body);
        let encoded = Arc::new(Encoded { at: states.at(), tag, body });
        self.bytes.fetch_add(encoded.body.len(), Ordering::Relaxed);
        if let Some(last) = slot.replace(Arc::clone(&encoded)) {
            self.bytes.fetch_sub(last.body.len(), Ordering::Relaxed);
        }
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::HistoryId;

    fn states(version: i64, seats: usize) -> Arc<SeatStates> {
        let at = InHistory { history: HistoryId::TEST, at: version };
        Arc::new(SeatStates::new(at, vec![0; seats]))
    }

    #[test]
    fn the_published_states_of_a_large_map_change_rarely_unless_a_reader_needs_newer_ones() {
        let answers = EncodedMaps::default();
        let large = |version| states(version, CHEAP_SEATS + 1);
        assert_eq!(answers.publish(&large(1), 0).version, 1);
        assert_eq!(answers.publish(&large(2), 0).version, 1);
        assert_eq!(answers.publish(&large(3), 2).version, 3, "a reader needs it");
        assert_eq!(answers.publish(&large(2), 0).version, 3, "a version never decreases");
    }

    #[test]
    fn the_published_states_of_a_small_map_are_the_newest() {
        let answers = EncodedMaps::default();
        assert_eq!(answers.publish(&states(1, 10), 0).version, 1);
        assert_eq!(answers.publish(&states(2, 10), 0).version, 2);
    }

    #[test]
    fn every_encoding_can_be_decoded() {
        let body = "seat ".repeat(1_000).into_bytes();
        let mut read = Vec::new();
        let gzip = ContentEncoding::Gzip.compress(body.clone()).unwrap();
        std::io::copy(&mut flate2::read::GzDecoder::new(gzip.as_slice()), &mut read).unwrap();
        assert_eq!(read, body);
        read.clear();
        let br = ContentEncoding::Brotli.compress(body.clone()).unwrap();
        std::io::copy(&mut brotli::Decompressor::new(br.as_slice(), 4096), &mut read).unwrap();
        assert_eq!(read, body);
        let zstd = ContentEncoding::Zstd.compress(body.clone()).unwrap();
        assert_eq!(zstd::bulk::decompress(&zstd, body.len()).unwrap(), body);
        assert_eq!(ContentEncoding::Identity.compress(body.clone()).unwrap(), body);
    }

    #[tokio::test]
    async fn an_answer_is_encoded_once_for_all_readers() {
        let answers = Arc::new(EncodedMaps::default());
        let writes = Arc::new(AtomicUsize::new(0));
        let states = states(7, 4);
        let readers = (0..20).map(|_| {
            let answers = answers.clone();
            let writes = writes.clone();
            let states = states.clone();
            async move {
                let write = move || {
                    writes.fetch_add(1, Ordering::SeqCst);
                    b"map".to_vec()
                };
                let encoded = answers
                    .encode(Representation::Seats, ContentEncoding::Gzip, &states, write)
                    .await;
                encoded.unwrap().tag.clone()
            }
        });
        let tags = futures_util::future::join_all(readers).await;
        assert_eq!(writes.load(Ordering::SeqCst), 1);
        assert!(tags.iter().all(|tag| tag == "\"5ea71ock.7-seats-gzip\""), "{tags:?}");
    }

    #[tokio::test]
    async fn the_same_version_of_another_history_is_another_answer() {
        let answers = EncodedMaps::default();
        let one = states(7, 4);
        let at = InHistory { history: "00000000".parse().unwrap(), at: 7 };
        let other = Arc::new(SeatStates::new(at, vec![2; 4]));
        let write = |body: &'static [u8]| move || body.to_vec();
        let seats = Representation::Seats;
        let coding = ContentEncoding::Identity;
        let first = answers.encode(seats, coding, &one, write(b"one")).await.unwrap();
        assert!(answers.cached(seats, coding, &one).is_some());
        assert!(answers.cached(seats, coding, &other).is_none());
        let second = answers.encode(seats, coding, &other, write(b"other")).await.unwrap();
        assert_eq!((&first.body[..], &second.body[..]), (&b"one"[..], &b"other"[..]));
        assert_eq!(answers.bytes(), 5, "the first answer was replaced");
        assert_eq!(second.tag, "\"00000000.7-seats-identity\"");
    }
}

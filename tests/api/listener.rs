//! A listener: reads a schedule's live stream and keeps a map from its events.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Method, Response};
use serde_json::Value;
use test_support::{Client, SOON};

/// An event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    /// The version in its id.
    pub(crate) id: Option<i64>,
    /// The whole id, which begins with the name of the history.
    pub(crate) whole_id: Option<String>,
    pub(crate) data: Value,
}

/// A listener with the map that results from its events.
pub(crate) struct Listener {
    response: Response,
    unread: Vec<u8>,
    /// The version of the newest id.
    pub(crate) version: i64,
    /// The newest id, with which the listener resumes.
    pub(crate) last_id: Option<String>,
    /// By number: 0 available, 1 held, 2 booked, 3 blocked.
    pub(crate) codes: Vec<u8>,
    /// The newest counts, and the version they are of.
    pub(crate) counts: Value,
    counted: i64,
}

impl Listener {
    /// Opens a new stream.
    pub(crate) async fn begin(client: &Client, schedule: &str) -> Self {
        Self::open(client, schedule, None, Vec::new()).await
    }

    /// Resumes with the map it has, perhaps at another process.
    pub(crate) async fn resume(self, client: &Client, schedule: &str) -> Self {
        let Self { last_id, codes, response, .. } = self;
        drop(response);
        Self::open(client, schedule, last_id, codes).await
    }

    /// Opens a stream after an id.
    pub(crate) async fn open(
        client: &Client,
        schedule: &str,
        last_id: Option<String>,
        codes: Vec<u8>,
    ) -> Self {
        let path = format!("/api/v1/schedules/{schedule}/stream");
        // A stream has no end, so the answer has no time limit.
        let request = client.request(Method::GET, &path).timeout(Duration::from_secs(3_600));
        let request = match &last_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        };
        let response = client.open(request).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let version = last_id.as_deref().and_then(version_of).unwrap_or(0);
        let (unread, counts, counted) = (Vec::new(), Value::Null, 0);
        Self { response, unread, version, last_id, codes, counts, counted }
    }

    /// The next event; `None` when the stream has ended. Skips comments and `retry`.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..end + 2).collect();
                if let Some(event) = parse(std::str::from_utf8(&block).unwrap()) {
                    self.take(&event);
                    return Some(event);
                }
                continue;
            }
            let chunk = tokio::time::timeout(SOON, self.response.chunk()).await;
            // A connection that was cut has ended too.
            self.unread.extend_from_slice(&chunk.unwrap().ok().flatten()?);
        }
    }

    /// Listens until the map is at this version, and the counts with it.
    pub(crate) async fn until(&mut self, version: i64) {
        while self.version < version || self.counted != self.version {
            assert!(self.next().await.is_some(), "the stream ended at {}", self.version);
        }
    }

    /// Listens until this many seats are sold, at any version.
    pub(crate) async fn until_booked(&mut self, seats: u64) {
        while self.counts["booked"] != seats {
            assert!(self.next().await.is_some(), "the stream ended at {}", self.version);
        }
    }

    /// Listens until the map is as new as a reader's, which it must equal.
    pub(crate) async fn has_the_readers_map(&mut self, client: &Client, schedule: &str) {
        let map = availability(client, schedule).await;
        self.until(map["version"].as_i64().unwrap()).await;
        assert_eq!(self.codes, unpack(&map));
        assert_eq!(self.counts, map["counts"]);
    }

    fn take(&mut self, event: &Event) {
        if let Some(id) = event.id {
            assert!(id >= self.version, "{} after {}", id, self.version);
            self.version = id;
            self.last_id.clone_from(&event.whole_id);
        }
        match event.name.as_str() {
            "snapshot" => {
                self.codes = unpack(&event.data);
                self.counts = event.data["counts"].clone();
                self.counted = self.version;
                assert_eq!(event.data["version"], self.version);
            }
            "delta" => {
                for change in event.data["c"].as_array().unwrap() {
                    let number = usize::try_from(change[0].as_u64().unwrap()).unwrap();
                    self.codes[number] = u8::try_from(change[1].as_u64().unwrap()).unwrap();
                }
            }
            "counts" => {
                self.counts = event.data.clone();
                self.counted = self.version;
            }
            "bye" => {}
            other => panic!("an event with an unknown name: {other}"),
        }
    }
}

/// The map that a reader gets, not older than the newest version that the client has seen.
pub(crate) async fn availability(client: &Client, schedule: &str) -> Value {
    client.map(schedule, "availability").await.expect(200)
}

/// The states of an availability answer, by number.
fn unpack(availability: &Value) -> Vec<u8> {
    let counts = availability["counts"].as_object().unwrap();
    let seats: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    let packed = STANDARD.decode(availability["states"].as_str().unwrap()).unwrap();
    let code = |seat: u64| packed[usize::try_from(seat / 4).unwrap()] >> (2 * (seat % 4)) & 3;
    (0..seats).map(code).collect()
}

fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        let mut lines = block.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
    };
    let name = field("event")?;
    let whole_id = field("id");
    let id = whole_id.as_deref().map(|id| version_of(id).unwrap());
    let data = serde_json::from_str(&field("data").unwrap()).unwrap();
    Some(Event { name, id, whole_id, data })
}

/// The version in an id, which follows the name of its history.
fn version_of(id: &str) -> Option<i64> {
    id.split_once('.')?.1.parse().ok()
}

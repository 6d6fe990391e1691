//! The answers to the customers of a scenario: each order has a key of its own, and is repeated until its outcome
//! is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client, taking};

/// A request whose outcome is unknown until it is repeated.
pub(crate) struct Open {
    key: String,
    path: &'static str,
    body: Value,
}

/// The requests of a scenario and their answers.
#[derive(Default)]
pub(crate) struct Ledger {
    operations: AtomicU64,
    longest: Mutex<Duration>,
    bookings: Mutex<BTreeSet<String>>,
    counts: Mutex<BTreeMap<String, u64>>,
    open: Mutex<Vec<Open>>,
}

impl Ledger {
    /// Books seats for a customer under a new key. `None` if the outcome is unknown.
    pub(crate) async fn book(
        &self,
        client: &Client,
        schedule: &str,
        seats: &[&str],
    ) -> Option<Answer> {
        let key = self.new_key();
        self.send(client, &key, "/api/v1/bookings", taking(schedule, seats, &key)).await
    }

    /// As [`Ledger::book`], by a customer who leaves when the answer takes longer than `patience`.
    pub(crate) async fn book_or_leave(
        &self,
        client: &Client,
        schedule: &str,
        seats: &[&str],
        patience: Duration,
    ) -> Option<Answer> {
        let (key, path) = (self.new_key(), "/api/v1/bookings");
        let body = taking(schedule, seats, &key);
        let order = self.send(client, &key, path, body.clone());
        match tokio::time::timeout(patience, order).await {
            Ok(answer) => answer,
            Err(_) => {
                self.note("left");
                self.open.lock().unwrap().push(Open { key, path, body });
                None
            }
        }
    }

    /// Holds seats under a new key.
    pub(crate) async fn hold(
        &self,
        client: &Client,
        schedule: &str,
        seats: &[&str],
        ttl_s: u64,
    ) -> Option<Answer> {
        let key = self.new_key();
        let mut body = taking(schedule, seats, &key);
        body["ttl_s"] = json!(ttl_s);
        self.send(client, &key, "/api/v1/holds", body).await
    }

    /// Confirms a hold under a new key.
    pub(crate) async fn confirm(&self, client: &Client, hold: &str) -> Option<Answer> {
        let key = self.new_key();
        self.send(client, &key, "/api/v1/bookings", json!({ "hold_id": hold })).await
    }

    pub(crate) fn new_key(&self) -> String {
        format!(
            "order-{}",
            self.operations.load(Ordering::Relaxed) << 16 | u64::from(fastrand::u16(..))
        )
    }

    /// Sends a request under its key and records the answer.
    pub(crate) async fn send(
        &self,
        client: &Client,
        key: &str,
        path: &'static str,
        body: Value,
    ) -> Option<Answer> {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let began = Instant::now();
        let request = client.request(Method::POST, path).header("idempotency-key", key);
        let answer = client.try_send(request.json(&body)).await.ok();
        let mut longest = self.longest.lock().unwrap();
        *longest = began.elapsed().max(*longest);
        drop(longest);
        self.record(Open { key: key.to_owned(), path, body }, answer)
    }

    /// Records answers to requests that were not sent through the ledger.
    pub(crate) fn adopt(&self, answers: &[Answer]) {
        self.operations.fetch_add(answers.len() as u64, Ordering::Relaxed);
        for answer in answers {
            self.note(&answer.status.to_string());
            if answer.status == 200 {
                self.bookings.lock().unwrap().insert(answer.id(200));
            }
        }
    }

    /// Records a booking that was acknowledged later.
    pub(crate) fn add(&self, booking: &str) {
        self.bookings.lock().unwrap().insert(booking.to_owned());
    }

    /// Records the answer to a request to the queue, and the time until it.
    pub(crate) fn queued(&self, answer: &str, waited: Duration) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        let mut longest = self.longest.lock().unwrap();
        *longest = waited.max(*longest);
        drop(longest);
        self.note(answer);
    }

    fn record(&self, order: Open, answer: Option<Answer>) -> Option<Answer> {
        let Some(answer) = answer else {
            self.note("no answer");
            self.open.lock().unwrap().push(order);
            return None;
        };
        if answer.status < 300 {
            self.note(&answer.status.to_string());
            if order.path == "/api/v1/bookings" {
                self.bookings.lock().unwrap().insert(answer.id(200));
            }
            return Some(answer);
        }
        answer.check_problem();
        let problem = answer.json();
        let code = problem["code"].as_str().unwrap();
        assert_ne!(code, "internal", "{answer:?}");
        if problem["effect"] == "unknown" {
            self.note("unknown");
            self.open.lock().unwrap().push(order);
            return None;
        }
        self.note(code);
        Some(answer)
    }

    pub(crate) fn note(&self, what: &str) {
        *self.counts.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    /// How often there was this answer: a status of success, a problem's code, `unknown`, `no answer`.
    pub(crate) fn count(&self, what: &str) -> u64 {
        self.counts.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// How many requests have been sent.
    pub(crate) fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }

    /// The longest time until an answer.
    pub(crate) fn longest(&self) -> Duration {
        *self.longest.lock().unwrap()
    }

    /// The bookings that were acknowledged.
    pub(crate) fn bookings(&self) -> BTreeSet<String> {
        self.bookings.lock().unwrap().clone()
    }

    /// How many outcomes are unknown.
    pub(crate) fn open(&self) -> usize {
        self.open.lock().unwrap().len()
    }

    /// The answers, and how often there was each.
    pub(crate) fn summary(&self) -> String {
        let counts = self.counts.lock().unwrap();
        counts.iter().map(|(what, times)| format!("{what} {times}")).collect::<Vec<_>>().join(", ")
    }

    /// Repeats every request whose outcome is unknown until there is a booking or a refusal. If the owner of a
    /// booking is refused, [`super::harness`] finds a booking that was not acknowledged.
    pub(crate) async fn resolve(&self, client: &Client, limit: Duration) {
        let end = Instant::now() + limit;
        loop {
            let open = std::mem::take(&mut *self.open.lock().unwrap());
            if open.is_empty() {
                return;
            }
            for some in open.chunks(16) {
                join_all(some.iter().map(|order| self.repeat(client, order))).await;
            }
            assert!(Instant::now() < end, "{} requests still have no outcome", self.open());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks again under the same key; what is still undecided stays open.
    async fn repeat(&self, client: &Client, Open { key, path, body }: &Open) {
        let Some(answer) = self.send(client, key, path, body.clone()).await else { return };
        if answer.status == 503 || answer.body.contains("request_in_progress") {
            let order = Open { key: key.clone(), path, body: body.clone() };
            self.open.lock().unwrap().push(order);
        }
    }
}

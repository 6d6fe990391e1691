//! Customers who buy, hold and give back at random while a scenario runs.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use test_support::{Answer, Client};
use tokio::task::JoinHandle;

use crate::harness::Scene;
use crate::ledger::Ledger;

/// The longest pause of a customer between two orders.
const PAUSE_MS: u64 = 30;

/// One in so many customers holds the seats first; one in so many of these does not confirm the hold.
const HOLDERS: u32 = 4;

/// Customers at work until they are stopped.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
    tally: Arc<Tally>,
}

/// Answers to what is not in the ledger: reads and cancellations.
#[derive(Default)]
struct Tally {
    successes: AtomicU64,
    failures: Mutex<Vec<String>>,
}

#[derive(Clone)]
struct Customer {
    client: Client,
    schedule: String,
    seats: u32,
    /// Reads maps and bookings, too, and confirms each hold.
    reads: bool,
    ledger: Arc<Ledger>,
    tally: Arc<Tally>,
}

impl Crowd {
    /// So many customers of all processes, who want one to three seats of a row of `seats`.
    pub(crate) fn of(scene: &Scene, customers: usize, schedule: &str, seats: u32) -> Self {
        let clients = (0..customers).map(|number| scene.client(number % scene.services.len()));
        Self::start(scene, clients, schedule, seats, false)
    }

    /// As [`Crowd::of`], 16 customers of one port, who also read and confirm each hold.
    pub(crate) fn through(scene: &Scene, port: u16, schedule: &str, seats: u32) -> Self {
        let client = Client::of(([127, 0, 0, 1], port).into());
        Self::start(scene, (0..16).map(|_| client.clone()), schedule, seats, true)
    }

    fn start(
        scene: &Scene,
        clients: impl Iterator<Item = Client>,
        schedule: &str,
        seats: u32,
        reads: bool,
    ) -> Self {
        let (stop, tally) = (Arc::new(AtomicBool::new(false)), Arc::<Tally>::default());
        let tasks = clients.map(|client| {
            let (schedule, ledger) = (schedule.to_owned(), Arc::clone(&scene.ledger));
            let tally = Arc::clone(&tally);
            let customer = Customer { client, schedule, seats, reads, ledger, tally };
            tokio::spawn(customer.shop(Arc::clone(&stop)))
        });
        let tasks = tasks.collect();
        Self { stop, tasks, tally }
    }

    /// Stops the customers after the orders that they have begun.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }

    /// Stops the customers; every answer must have been a success or a 409 for seats that are taken. Returns a
    /// text for the report.
    pub(crate) async fn stop_without_failures(self, ledger: &Ledger) -> String {
        let tally = Arc::clone(&self.tally);
        self.stop().await;
        let failures = tally.failures.lock().unwrap().clone();
        assert!(failures.is_empty(), "{} failures: {:#?}", failures.len(), failures.first());
        let answers = ["200", "201", "seats_unavailable"].map(|answer| ledger.count(answer));
        let expected: u64 = answers.iter().sum();
        assert_eq!(ledger.operations(), expected, "failed requests: {}", ledger.summary());
        assert!(ledger.count("200") > 100, "hardly a load: {}", ledger.summary());
        let successes = tally.successes.load(Ordering::Relaxed);
        format!("{} requests, 0 failed", ledger.operations() + successes)
    }
}

impl Tally {
    fn add(&self, what: &str, answer: Option<Answer>) -> bool {
        let is_success = answer.as_ref().is_some_and(|answer| answer.status == 200);
        match is_success {
            true => drop(self.successes.fetch_add(1, Ordering::Relaxed)),
            false => self.failures.lock().unwrap().push(format!("{what}: {answer:?}")),
        }
        is_success
    }
}

impl Customer {
    async fn shop(self, stop: Arc<AtomicBool>) {
        let mut owned = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            if self.reads {
                self.read(&format!("schedules/{}/availability", self.schedule)).await;
            }
            let booked = self.book().await;
            if let Some(booking) = booked.as_ref().filter(|_| self.reads) {
                self.read(&format!("bookings/{booking}")).await;
            }
            owned.extend(booked);
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..PAUSE_MS))).await;
            // A failed cancellation is tried again next time; the last booking is kept.
            if let Some(booking) = owned.pop()
                && !stop.load(Ordering::Relaxed)
                && !self.give_back(&booking).await
            {
                owned.push(booking);
            }
        }
    }

    async fn read(&self, path: &str) {
        let request = self.client.request(Method::GET, &format!("/api/v1/{path}"));
        self.tally.add(path, self.client.try_send(request).await.ok());
    }

    async fn book(&self) -> Option<String> {
        let mut seats: Vec<u32> = (1..=self.seats).collect();
        fastrand::shuffle(&mut seats);
        seats.truncate(fastrand::usize(1..=3));
        let labels: Vec<String> = seats.iter().map(|seat| format!("A-1-{seat}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        if fastrand::u32(..HOLDERS) == 0 {
            return self.hold_first(&labels).await;
        }
        let answer = self.ledger.book(&self.client, &self.schedule, &labels).await?;
        (answer.status == 200).then(|| answer.id(200))
    }

    /// Holds the seats and confirms the hold, unless it is left to its end.
    async fn hold_first(&self, labels: &[&str]) -> Option<String> {
        let ttl_s = if self.reads { 60 } else { 2 };
        let answer = self.ledger.hold(&self.client, &self.schedule, labels, ttl_s).await?;
        if answer.status != 201 || !self.reads && fastrand::u32(..HOLDERS) == 0 {
            return None;
        }
        let answer = self.ledger.confirm(&self.client, &answer.id(201)).await?;
        (answer.status == 200).then(|| answer.id(200))
    }

    /// Not in the ledger: the row of a booking that was given back stays.
    async fn give_back(&self, booking: &str) -> bool {
        let path = format!("/api/v1/bookings/{booking}/cancel");
        let request = self.client.request(Method::POST, &path).json(&json!({}));
        self.tally.add("cancel", self.client.try_send(request).await.ok())
    }
}

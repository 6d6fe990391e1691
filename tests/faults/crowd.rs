//! A crowd that buys, holds and gives back at random while a scenario goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::harness::Scene;
use crate::ledger::Ledger;

/// The longest that a customer thinks between two orders.
const THOUGHT_MS: u64 = 30;

/// One in so many customers holds the seats first; one in so many of these forgets them.
const HOLDERS: u32 = 4;

/// Customers at work until they are told to stop.
pub(crate) struct Crowd {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Crowd {
    /// So many customers of all processes, who want one to three seats of a row of `seats`.
    pub(crate) fn of(scene: &Scene, customers: usize, schedule: &str, seats: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let tasks = (0..customers).map(|number| {
            let client = scene.client(number % scene.services.len());
            let customer = Customer {
                client,
                schedule: schedule.to_owned(),
                seats,
                ledger: Arc::clone(&scene.ledger),
            };
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut owned = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    owned.extend(customer.book().await);
                    let thought = Duration::from_millis(fastrand::u64(0..THOUGHT_MS));
                    tokio::time::sleep(thought).await;
                    // What could not be given back is tried again next time; the last one is kept.
                    if let Some(booking) = owned.pop()
                        && !stop.load(Ordering::Relaxed)
                        && !customer.give_back(&booking).await
                    {
                        owned.push(booking);
                    }
                }
            })
        });
        let tasks = tasks.collect();
        Self { stop, tasks }
    }

    /// Lets everybody finish what they have begun.
    pub(crate) async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

struct Customer {
    client: Client,
    schedule: String,
    seats: u32,
    ledger: Arc<Ledger>,
}

impl Customer {
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

    /// Holds the seats and confirms them, unless the hold is left to its end.
    async fn hold_first(&self, labels: &[&str]) -> Option<String> {
        let answer = self.ledger.hold(&self.client, &self.schedule, labels, 2).await?;
        if answer.status != 201 || fastrand::u32(..HOLDERS) == 0 {
            return None;
        }
        let answer = self.ledger.confirm(&self.client, &answer.id(201)).await?;
        (answer.status == 200).then(|| answer.id(200))
    }

    /// Not in the ledger: a booking that was given back is still there.
    async fn give_back(&self, booking: &str) -> bool {
        let path = format!("/api/v1/bookings/{booking}/cancel");
        let request = self.client.request(reqwest::Method::POST, &path).json(&json!({}));
        let answer = self.client.try_send(request).await;
        answer.is_some_and(|answer| answer.status == 200)
    }
}

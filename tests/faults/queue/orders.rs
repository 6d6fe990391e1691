//! The orders of the queue's customers, and whether their outcomes are in the database.
//!
//! An order is one customer's wish, sent once, or several times under one key. Customers have one order
//! each, so that a booking's customer shows which order it came from.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;
use test_support::{Answer, Client, Database, labels, taking};

use crate::harness::LONG;
use crate::ledger::Ledger;

/// What a customer wants.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) customer: String,
    pub(crate) schedule: String,
    pub(crate) seats: Vec<String>,
    /// Whether it is sent under an Idempotency-Key, which is the customer's name.
    pub(crate) keyed: bool,
}

impl Order {
    pub(crate) fn of(customer: &str, schedule: &str, seats: &[String], keyed: bool) -> Self {
        let (customer, schedule) = (customer.to_owned(), schedule.to_owned());
        Self { customer, schedule, seats: seats.to_vec(), keyed }
    }
}

/// A request that was taken with 202.
#[derive(Debug, Clone)]
struct Taken {
    path: String,
    sent: Instant,
    accepted: Instant,
}

/// An order and its answers.
#[derive(Debug)]
struct Account {
    order: Order,
    taken: Vec<Taken>,
    /// A request got no definite answer: it may be in the queue.
    open: bool,
}

/// How an order has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) order: Order,
    sent: Instant,
    accepted: Instant,
    /// The outcome of each of its requests: `succeeded`, `failed` or `expired`.
    pub(crate) outcomes: Vec<String>,
    booking: Option<String>,
}

impl Ended {
    pub(crate) fn ended_as(&self, what: &str) -> bool {
        self.outcomes.iter().any(|outcome| outcome == what)
    }
}

/// The orders of a scenario.
#[derive(Default)]
pub(crate) struct Orders {
    accounts: Mutex<BTreeMap<String, Account>>,
}

impl Orders {
    /// Sends an order to the queue; the answer, if one came.
    pub(crate) async fn send(
        &self,
        client: &Client,
        ledger: &Ledger,
        order: &Order,
    ) -> Option<Answer> {
        let seats: Vec<&str> = order.seats.iter().map(String::as_str).collect();
        let body = taking(&order.schedule, &seats, &order.customer);
        let request = client.request(Method::POST, "/api/v1/bookings").json(&body);
        let mut request = request.header("prefer", "respond-async");
        if order.keyed {
            request = request.header("idempotency-key", &order.customer);
        }
        let sent = Instant::now();
        let answer = client.try_send(request).await.ok();
        let accepted = Instant::now();
        let mut accounts = self.accounts.lock().unwrap();
        let new = || Account { order: order.clone(), taken: Vec::new(), open: false };
        let account = accounts.entry(order.customer.clone()).or_insert_with(new);
        let answered = match &answer {
            None => "no answer".to_owned(),
            Some(answer) if answer.status == 202 => {
                let path = answer.header("location").unwrap().to_owned();
                account.taken.push(Taken { path, sent, accepted });
                "202".to_owned()
            }
            Some(answer) => {
                answer.check_problem();
                let problem = answer.json();
                let code = problem["code"].as_str().unwrap();
                assert_ne!(code, "internal", "{answer:?}");
                match problem["effect"] == "unknown" {
                    true => "unknown".to_owned(),
                    false => code.to_owned(),
                }
            }
        };
        account.open |= ["no answer", "unknown"].contains(&answered.as_str());
        ledger.queued(&answered, accepted - sent);
        answer
    }

    /// How many requests were taken.
    pub(crate) fn taken(&self) -> usize {
        self.accounts.lock().unwrap().values().map(|account| account.taken.len()).sum()
    }

    /// Waits until every request that was taken is over.
    pub(crate) async fn are_over(&self, client: &Client) {
        let paths = self.paths();
        for some in paths.chunks(128) {
            join_all(some.iter().map(|path| outcome_of(client, path))).await;
        }
    }

    fn paths(&self) -> Vec<String> {
        let accounts = self.accounts.lock().unwrap();
        let taken = accounts.values().flat_map(|account| &account.taken);
        taken.map(|taken| taken.path.clone()).collect()
    }

    /// Waits until every accepted request is over, and compares the outcomes, as either of two processes reports
    /// them, with the bookings: each request has one outcome and one effect, and nothing is sold late.
    pub(crate) async fn end(
        &self,
        clients: &[Client; 2],
        ledger: &Ledger,
        database: &Database,
    ) -> Vec<Ended> {
        let accounts = std::mem::take(&mut *self.accounts.lock().unwrap());
        let mut ended = Vec::new();
        let accounts: Vec<Account> = accounts.into_values().collect();
        for some in accounts.chunks(128) {
            let outcomes = some.iter().map(|account| outcomes(account, &clients[0]));
            for (account, outcomes) in some.iter().zip(join_all(outcomes).await) {
                for (taken, outcome) in account.taken.iter().zip(&outcomes) {
                    assert_eq!(
                        outcome_of(&clients[1], &taken.path).await,
                        *outcome,
                        "two outcomes"
                    );
                    ledger.note(outcome["status"].as_str().unwrap());
                }
                ended.extend(end_of(account, &outcomes));
            }
        }
        let mut bookings = stored(database).await;
        for account in &accounts {
            let bookings = bookings.remove(&account.order.customer).unwrap_or_default();
            let known = ended.iter().find(|one| one.order.customer == account.order.customer);
            let known = known.and_then(|one| one.booking.as_ref());
            let ids: Vec<&String> = bookings.iter().map(|(id, _)| id).collect();
            match known {
                Some(id) => assert_eq!(ids, [id], "{account:?}"),
                None if account.open => assert!(ids.len() <= 1, "{account:?}: {ids:?}"),
                None => assert!(ids.is_empty(), "{account:?}: {ids:?}"),
            }
            for (id, seats) in &bookings {
                assert_eq!(*seats, account.order.seats, "{account:?}");
                ledger.add(id);
            }
        }
        assert!(bookings.is_empty(), "bookings without an order: {bookings:?}");
        ended
    }
}

async fn outcomes(account: &Account, client: &Client) -> Vec<Value> {
    join_all(account.taken.iter().map(|taken| outcome_of(client, &taken.path))).await
}

/// What a request has become.
pub(crate) async fn outcome_of(client: &Client, path: &str) -> Value {
    let end = Instant::now() + LONG;
    loop {
        let request = client.request(Method::GET, path).header("prefer", "wait=5");
        if let Ok(answer) = client.try_send(request).await
            && answer.status == 200
        {
            let body = answer.json();
            if !["queued", "running"].contains(&body["status"].as_str().unwrap()) {
                return body;
            }
        }
        assert!(Instant::now() < end, "{path} has no outcome");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The end of an order by the outcomes of its requests; `None` if none of them was accepted.
fn end_of(account: &Account, outcomes: &[Value]) -> Option<Ended> {
    let order = account.order.clone();
    let mut booking: Option<String> = None;
    let mut all = Vec::new();
    for outcome in outcomes {
        let status = outcome["status"].as_str().unwrap();
        match status {
            "succeeded" => {
                let result = &outcome["result"];
                let id = result["id"].as_str().unwrap().to_owned();
                assert_eq!(labels(result), order.seats, "{outcome}");
                assert!(booking.replace(id.clone()).is_none_or(|one| one == id), "{outcomes:?}");
                let (at, until) = (&result["created_at"], &outcome["expires_at"]);
                // A key answers with its booking also to those who ask again later.
                let again = outcomes.len() > 1;
                assert!(again || at.as_str() < until.as_str(), "sold late: {outcome}");
            }
            "failed" => assert_eq!(outcome["error"]["code"], "seats_unavailable", "{outcome}"),
            "expired" => assert_eq!(outcome["error"]["code"], "request_expired", "{outcome}"),
            _ => panic!("not an end: {outcome}"),
        }
        all.push(status.to_owned());
    }
    let sent = account.taken.iter().map(|taken| taken.sent).min()?;
    let accepted = account.taken.iter().map(|taken| taken.accepted).min()?;
    Some(Ended { order, sent, accepted, outcomes: all, booking })
}

/// All bookings: customer, then id and seats of each.
async fn stored(database: &Database) -> BTreeMap<String, Vec<(String, Vec<String>)>> {
    let sql = "SELECT b.customer_id || ' ' || b.schedule_id || '-' || replace(b.id::text, '-', '')
                      || ' ' || string_agg(s.label, ' ' ORDER BY s.number)
                 FROM booking b
                 JOIN booking_seat c ON c.schedule_id = b.schedule_id AND c.booking_id = b.id
                 JOIN seat s ON s.schedule_id = c.schedule_id AND s.number = c.number
                GROUP BY b.customer_id, b.schedule_id, b.id";
    let mut found: BTreeMap<String, Vec<_>> = BTreeMap::new();
    for row in database.column::<String>(sql).await {
        let mut words = row.split(' ').map(str::to_owned);
        let (customer, id) = (words.next().unwrap(), words.next().unwrap());
        found.entry(customer).or_default().push((id, words.collect()));
    }
    found
}

/// Checks that no order that was accepted before the winner of its seat was sent has lost it. Returns the number
/// of contested seats.
pub(crate) fn first_come_first_served(ended: &[Ended]) -> usize {
    let mut contested = 0;
    for winner in ended.iter().filter(|one| one.ended_as("succeeded")) {
        let rivals = ended.iter().filter(|one| {
            one.order.schedule == winner.order.schedule
                && one.ended_as("failed")
                && one.order.seats == winner.order.seats
        });
        let mut rivalled = false;
        for rival in rivals {
            assert!(rival.accepted >= winner.sent, "{winner:?} has overtaken {rival:?}");
            rivalled = true;
        }
        contested += usize::from(rivalled);
    }
    contested
}

//! Several processes of the service on one database: together they keep every invariant.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::{Client, Database, SOON, Service, taking};

use crate::app::{Stack, TestApp};
use crate::concurrency::{exactly_one_won, send_concurrently};
use crate::hold_changes::race_for_a_seat;
use crate::service::Shared;

/// Two processes that start together on an empty database.
async fn two_of(shared: &Shared) -> (Service, Service) {
    both_ready(shared.start(), shared.start()).await
}

pub(crate) async fn both_ready(one: Service, two: Service) -> (Service, Service) {
    let (one, mut two) = (one.up().await, two.up().await);
    two.shares_customers_with(&one);
    (one, two)
}

/// Clients of both processes compete for one seat, round after round.
pub(crate) async fn compete(services: &[&Service]) {
    let clients: Vec<Client> = services.iter().map(|service| service.client().clone()).collect();
    let schedule = clients[0].row_of(10).await;
    for seat in 1..=10 {
        let seat = format!("A-1-{seat}");
        exactly_one_won(&send_concurrently(&clients, &schedule, &[&seat], 100).await);
    }
    for client in clients {
        assert_eq!(client.states(&schedule).await, "bo ".repeat(10));
        client.no_later_guard_stepped_in().await;
    }
}

/// How often PostgreSQL was asked for the holds that have seats.
async fn queries_for_holders(app: &TestApp) -> i64 {
    let sql = "SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements s
         JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = current_database()
         AND s.query LIKE 'SELECT s.schedule_id, s.number, s.held_until, t.id, t.customer_id FROM%'";
    app.database.number(sql).await
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn refusals_of_a_held_seat_share_their_queries() {
        const LOSERS: usize = 1_000;
        let app = Stack::Full.start().await;
        app.database.execute("CREATE EXTENSION pg_stat_statements").await;
        let schedule = app.row_of(1).await;
        let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
        app.states(&schedule).await;
        let before = queries_for_holders(&app).await;
        for _ in 0..10 {
            for lost in send_concurrently(&[app.client()], &schedule, &["A-1-1"], LOSERS / 10).await
            {
                let problem = lost.problem(409, "seats_unavailable");
                assert_eq!(problem["conflicts"][0]["hold_id"], json!(null), "{lost:?}");
            }
        }
        let asked = queries_for_holders(&app).await - before;
        assert!((1..=LOSERS as i64 / 10).contains(&asked), "{asked} queries for {LOSERS} refusals");
        let own = app.book(&schedule, &["A-1-1"], "anna").await.problem(409, "seats_unavailable");
        assert_eq!(own["conflicts"][0]["hold_id"], hold, "{own}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn clients_of_two_processes_for_one_seat_get_one_booking() {
        let shared = Shared::fresh();
        let (one, two) = two_of(&shared).await;
        compete(&[&one, &two]).await;
        shared.audit().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hold_of_another_process_is_named_to_its_own_customer() {
        let shared = Shared::fresh();
        let (one, two) = two_of(&shared).await;
        let (one, two) = (one.client(), two.client());
        let schedule = one.row_of(1).await;
        two.states(&schedule).await;
        let hold = one.hold(&schedule, &["A-1-1"], "anna").await.id(201);
        // The seat lock refuses at first, and memory when the map has caught up.
        for _ in 0..3 {
            let own = two.hold(&schedule, &["A-1-1"], "anna").await;
            let conflicts = own.problem(409, "seats_unavailable")["conflicts"].clone();
            assert_eq!(conflicts[0]["hold_id"], hold, "{own:?}");
            let other = two.hold(&schedule, &["A-1-1"], "ben").await;
            let conflicts = other.problem(409, "seats_unavailable")["conflicts"].clone();
            assert_eq!(conflicts[0]["hold_id"], Value::Null, "{other:?}");
            two.states(&schedule).await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_process_without_redis_sells_no_seat_that_another_has_sold() {
        let shared = Shared::fresh();
        let (one, two) = both_ready(shared.start(), shared.start_without_redis()).await;
        compete(&[&one, &two]).await;
        shared.audit().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hold_is_changed_on_any_process() {
        let shared = Shared::fresh();
        let (one, two) = two_of(&shared).await;
        let (one, two) = (one.client(), two.client());
        let schedule = one.row_of(4).await;
        let hold = one.hold(&schedule, &["A-1-1"], "anna").await.id(201);
        let changed = two.change(&hold, &json!({"add": ["A-1-2"], "remove": ["A-1-1"]})).await;
        changed.expect(200);
        one.book(&schedule, &["A-1-1"], "ben").await.expect(200);
        let lost = one.book(&schedule, &["A-1-2"], "ben").await;
        assert_eq!(lost.conflicts(), ["A-1-2 held"]);
        for _ in 0..5 {
            race_for_a_seat(&[one, two], &one.row_of(9).await).await;
        }
        shared.audit().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_key_sent_to_two_processes_books_once() {
        let shared = Shared::fresh();
        let (one, two) = two_of(&shared).await;
        let schedule = one.client().row_of(10).await;
        for round in 1..=10 {
            let body = taking(&schedule, &[&format!("A-1-{round}")], "anna");
            let key = format!("order-{round}");
            let requests = (0..20).map(|number| {
                let client = if number % 2 == 0 { one.client() } else { two.client() };
                client.post_keyed("/api/v1/bookings", &key, &body)
            });
            let mut bodies: Vec<String> = Vec::new();
            for answer in join_all(requests).await {
                match answer.status {
                    200 => bodies.push(answer.body),
                    _ => drop(answer.problem(409, "request_in_progress")),
                }
            }
            bodies.dedup();
            assert_eq!(bodies.len(), 1, "{bodies:?}");
        }
        let database = Database::postgres(&shared.url).await;
        assert_eq!(database.number("SELECT count(*) FROM booking").await, 10);
        shared.audit().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_customers_limit_holds_across_two_processes() {
        let shared = Shared::fresh();
        let (one, two) = two_of(&shared).await;
        for _ in 0..5 {
            let rules = json!({"max_seats_per_customer": 3});
            let schedule = one.client().schedule(&[("A", 1, 20)], rules).await;
            let requests = (1..=20).map(|seat| {
                let client = if seat % 2 == 0 { one.client() } else { two.client() };
                let schedule = &schedule;
                async move { client.book(schedule, &[&format!("A-1-{seat}")], "anna").await }
            });
            let answers = join_all(requests).await;
            let granted = answers.iter().filter(|answer| answer.status == 200).count();
            assert_eq!(granted, 3);
            for refused in answers.iter().filter(|answer| answer.status != 200) {
                refused.problem(409, "seat_limit_reached");
            }
        }
        shared.audit().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hold_of_one_process_is_confirmed_or_released_by_another() {
        let shared = Shared::fresh();
        let (one, two) = two_of(&shared).await;
        let (one, two) = (one.client(), two.client());
        let schedule = one.row_of(2).await;
        let confirmed = one.hold(&schedule, &["A-1-1"], "anna").await.id(201);
        let released = one.hold(&schedule, &["A-1-2"], "anna").await.id(201);
        assert_eq!(two.book(&schedule, &["A-1-1"], "ben").await.conflicts(), ["A-1-1 held"]);
        let booking = two.confirm(&confirmed).await.id(200);
        assert_eq!(one.get(&format!("/api/v1/bookings/{booking}")).await.status, 200);
        two.delete(&format!("/api/v1/holds/{released}")).await.expect(204);
        one.book(&schedule, &["A-1-2"], "carl").await.expect(200);
        assert_eq!(two.states(&schedule).await, "bo bo ");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_acknowledged_before_a_sigterm_is_in_the_database() {
        let shared = Shared::fresh();
        let service = shared.start().up().await;
        let schedule = service.client().schedule(&[("A", 10, 500)], Value::Null).await;
        let stop = Arc::new(AtomicBool::new(false));
        let buyers = (0..16).map(|buyer| {
            let client = Client::of(service.address());
            let (schedule, stop) = (schedule.clone(), Arc::clone(&stop));
            tokio::spawn(buy_until_stopped(client, schedule, buyer, stop))
        });
        let buyers: Vec<_> = buyers.collect();
        let enough = "seatlock_commands_total{kind=\"book\",outcome=\"done\"}";
        while service.client().metric(enough).await < 100.0 {
            tokio::task::yield_now().await;
        }
        service.process().terminate();
        assert_eq!(service.ended(3 * SOON), 0, "{}", service.process().output());
        stop.store(true, Ordering::SeqCst);

        let mut acknowledged = Vec::new();
        for buyer in buyers {
            acknowledged.extend(buyer.await.unwrap());
        }
        assert!(acknowledged.len() >= 100);
        let database = Database::postgres(&shared.url).await;
        let ids = "SELECT schedule_id || '-' || replace(id::text, '-', '') FROM booking";
        let stored: std::collections::HashSet<String> =
            database.column(ids).await.into_iter().collect();
        let lost: Vec<_> = acknowledged.iter().filter(|id| !stored.contains(*id)).collect();
        assert!(lost.is_empty(), "{lost:?}");
        shared.audit().await;
    }
}

/// Books one seat after the other until the service has stopped, and returns the acknowledged bookings.
async fn buy_until_stopped(
    client: Client,
    schedule: String,
    buyer: u32,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for seat in 0..300 {
        let place = buyer * 300 + seat;
        let label = format!("A-{}-{}", place / 500 + 1, place % 500 + 1);
        let request = client.request(reqwest::Method::POST, "/api/v1/bookings");
        let body = taking(&schedule, &[&label], "anna");
        match client.try_send(request.json(&body)).await {
            Ok(answer) if answer.status == 200 => acknowledged.push(answer.id(200)),
            Ok(answer) => drop(answer.problem(503, "draining")),
            Err(_) if stop.load(Ordering::SeqCst) => break,
            // New requests are refused, and those in progress are finished.
            Err(_) => tokio::task::yield_now().await,
        }
    }
    acknowledged
}

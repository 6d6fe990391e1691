//! A seat that one process has released is for sale in every other process as soon as the answer has left.

use std::time::{Duration, Instant};

use serde_json::json;
use test_support::Client;

use crate::processes::both_ready;
use crate::service::Shared;

const KNOWN: &str = "seatlock_early_refusals_total{reason=\"known\"}";

/// Takes a seat at `taker`, whose map then shows it, and releases it at `giver`, repeatedly and in each possible
/// way. Returns the shortest time that an answer of `giver` took.
async fn take_and_give_back(taker: &Client, giver: &Client, rounds: u32) -> Duration {
    let schedule = taker.row_of(3).await;
    let blocks = format!("/api/v1/schedules/{schedule}/blocks");
    let mut shortest = Duration::MAX;
    for round in 0..rounds {
        let booking = taker.book(&schedule, &["A-1-1"], "anna").await.id(200);
        let hold = taker.hold(&schedule, &["A-1-2"], "anna").await.id(201);
        let block = json!({"seats": ["A-1-3"], "reason": "stage"});
        let block = giver.post(&blocks, &block).await.id(201);
        assert_eq!(taker.states(&schedule).await, "bo he bl ", "round {round}");
        for (seat, conflict) in
            [("A-1-1", "A-1-1 booked"), ("A-1-2", "A-1-2 held"), ("A-1-3", "A-1-3 blocked")]
        {
            let refused = taker.book(&schedule, &[seat], "ben").await;
            assert_eq!(refused.conflicts(), [conflict], "round {round}");
        }
        let began = Instant::now();
        giver.cancel(&booking, None).await.expect(200);
        giver.delete(&format!("/api/v1/holds/{hold}")).await.expect(204);
        giver.delete(&format!("{blocks}/{block}")).await.expect(204);
        shortest = shortest.min(began.elapsed() / 3);
        // The next round takes the first two seats again.
        let booking = taker.book(&schedule, &["A-1-3"], "anna").await.id(200);
        giver.cancel(&booking, None).await.expect(200);
    }
    shortest
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_process_refuses_a_seat_that_another_process_has_given_back() {
        let shared = Shared::fresh();
        let (one, two) =
            both_ready(shared.start_with_long_timeouts(), shared.start_with_long_timeouts()).await;
        take_and_give_back(two.client(), one.client(), 200).await;
        assert!(two.client().metric(KNOWN).await > 0.0, "its map has refused seats, too");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_redis_no_process_refuses_a_seat_that_was_given_back() {
        let shared = Shared::fresh();
        let (one, two) =
            both_ready(shared.start_without_redis(), shared.start_without_redis()).await;
        take_and_give_back(two.client(), one.client(), 50).await;
        assert!(two.client().metric(KNOWN).await > 0.0, "its map has refused seats, too");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_process_without_redis_answers_only_when_no_map_can_be_older() {
        let shared = Shared::fresh();
        // Nothing listens on port 1.
        let unreachable = [("REDIS_HOST", "127.0.0.1"), ("REDIS_PORT", "1")];
        let (one, two) =
            both_ready(shared.start_with(&unreachable), shared.start_with_long_timeouts()).await;
        let shortest = take_and_give_back(two.client(), one.client(), 10).await;
        assert!(shortest >= Duration::from_millis(450), "{shortest:?}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_invalid_version_is_refused_and_changes_nothing() {
        let shared = Shared::fresh();
        let service = shared.start().up().await;
        let client = service.client();
        let schedule = client.row_of(2).await;
        let taking = test_support::taking(&schedule, &["A-1-1"], "anna");
        for path in ["/api/v1/bookings", "/api/v1/holds"] {
            let query = client.post(&format!("{path}?min_version=soon"), &taking).await;
            query.problem(400, "invalid_parameter");
            let request = client.request(reqwest::Method::POST, path);
            let request = request.header("x-seatlock-min-version", "soon").json(&taking);
            client.send(request).await.problem(400, "invalid_parameter");
        }
        assert_eq!(client.states(&schedule).await, "av av ");
        let request = client.request(reqwest::Method::POST, "/api/v1/bookings?min_version=1");
        let request = request.header("x-seatlock-min-version", "1").json(&taking);
        client.send(request).await.expect(200);
    }
}

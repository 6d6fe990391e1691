//! A COMMIT whose answer is lost: a lookup of the batch id finds its outcome.

use std::sync::Arc;

use seatlock::store::Store;
use seatlock::telemetry::metrics::Metrics;
use test_support::{Postgres, Relay, Strike};

use super::commands::{book, booked, is_done, keyed};
use super::stage::{SharedLane, Stage, first_lane, run, settings};

/// A stage, and a lane of a store on the same database behind a relay.
async fn wired() -> (Stage, SharedLane, Relay) {
    let stage = Stage::full().await;
    let relay = Relay::to(Postgres::shared().port());
    let name: Vec<String> = stage.database.column("SELECT current_database()::text").await;
    let url = format!("postgres://app@127.0.0.1:{}/{}", relay.port(), name[0]);
    let metrics = Arc::new(Metrics::new().unwrap());
    let store = Store::open(settings(&[("WRITE_DB_URL", &url)]), metrics).await.unwrap();
    (stage, first_lane(&store), relay)
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_whose_answer_is_lost_takes_effect_once() {
        for strike in [Strike::AnswerLost, Strike::NeverSent] {
            let (stage, lane, relay) = wired().await;
            let schedule = stage.schedule(4).await;
            for (round, unkeyed) in [(0, true), (1, false)] {
                let seats = [2 * round, 2 * round + 1];
                let command = book(schedule, &seats, "anna");
                let command = if unkeyed { command } else { keyed(command, "k") };
                relay.strike_commit(strike);
                let result = run(&lane, vec![command]).await.remove(0);
                assert!(relay.has_struck());
                assert!(is_done(&result), "{result:?}");
                let booking = booked(&result);
                assert_eq!(stage.store.booking(booking.row.id, 0).await, Ok(Some(booking)));
            }
            assert_eq!(stage.states(schedule).await, "2222");
            assert_eq!(stage.version(schedule).await, 3);
            assert_eq!(stage.database.number("SELECT count(*) FROM batch").await, 2);
            stage.audit().await;
        }
    }
}

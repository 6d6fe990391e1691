//! Requests of the queue after their deadline: their expiry is recorded once and is final.

use std::collections::BTreeMap;
use std::time::Duration;

use seatlock::domain::clock::EpochMs;
use seatlock::domain::command::{Queued, RequestKey};
use seatlock::domain::effect::{RecordedAnswer, Resource};
use seatlock::domain::ids::{RequestId, ScheduleId};
use uuid::Uuid;

use super::on_both_databases;
use super::stage::Stage;

on_both_databases![a_request_without_an_outcome_expires_and_one_with_an_outcome_keeps_it,];

fn id(number: u128) -> RequestId {
    RequestId { schedule: ScheduleId(1), uuid: Uuid::from_u128(number) }
}

fn key(number: u128) -> RequestKey {
    Queued::key(id(number))
}

fn answer(text: &str) -> RecordedAnswer {
    RecordedAnswer {
        status: 410,
        body: format!("{{\"detail\":\"{text}\"}}"),
        resource: Some(Resource::Nothing),
    }
}

async fn a_request_without_an_outcome_expires_and_one_with_an_outcome_keeps_it(stage: Stage) {
    let now = EpochMs(stage.store.clock().0 - 1_000);
    stage.store.record_answer(id(1), answer("decided")).await.unwrap();
    let ask = || {
        let late = |number, from| (id(number), (answer("expired"), from));
        let future = now.plus(Duration::from_secs(60));
        let asked = BTreeMap::from([late(1, now), late(2, now), late(3, future)]);
        stage.store.record_overdue(asked)
    };
    for _ in 0..2 {
        let found = ask().await.unwrap();
        assert_eq!(found.get(&key(1)), Some(&answer("decided")));
        assert_eq!(found.get(&key(2)), Some(&answer("expired")));
        assert_eq!(found.get(&key(3)), None, "its deadline has not passed");
    }
    stage.store.record_answer(id(2), answer("too late")).await.unwrap();
    assert_eq!(ask().await.unwrap().get(&key(2)), Some(&answer("expired")), "it is final");
}

mod waiting {
    mod full {
        use super::super::*;

        /// While a transaction records an outcome, no reader is answered that there is none.
        #[tokio::test(flavor = "multi_thread")]
        async fn an_outcome_that_is_being_recorded_is_waited_for() {
            let stage = Stage::full().await;
            let now = EpochMs(stage.store.clock().0 - 1_000);
            let RequestKey { caller, key: name } = key(1);
            // One statement string is one transaction.
            let recording = format!(
                "INSERT INTO idempotency
                     (schedule_id, caller, key, fingerprint, status, body, expires_at)
                 VALUES (1, '{caller}', '{name}', '', 200, '{{}}', {});
                 SELECT pg_sleep(0.6)",
                now.plus(Duration::from_secs(60)).0
            );
            let asking = async {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let asked = BTreeMap::from([(id(1), (answer("expired"), now))]);
                stage.store.record_overdue(asked).await
            };
            let (found, ()) = tokio::join!(asking, stage.database.execute(&recording));
            let booked = RecordedAnswer { status: 200, body: "{}".to_owned(), resource: None };
            assert_eq!(found.unwrap().get(&key(1)), Some(&booked));
        }
    }
}

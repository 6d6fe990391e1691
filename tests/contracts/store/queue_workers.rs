//! The workers of the queue: how they find each other.

use std::time::Duration;

use uuid::Uuid;

use super::on_both_databases;
use super::stage::Stage;

on_both_databases![workers_see_each_other_until_they_leave_or_their_lease_ends];

async fn workers_see_each_other_until_they_leave_or_their_lease_ends(stage: Stage) {
    let (one, other, long) = (Uuid::now_v7(), Uuid::now_v7(), Duration::from_secs(60));
    let beat =
        |queue: &str, id, life| stage.store.queue_worker_heartbeat(queue.to_owned(), id, life);
    let sorted = |mut ids: Vec<Uuid>| {
        ids.sort();
        ids
    };
    assert_eq!(beat("a", one, long).await.unwrap(), [one]);
    assert_eq!(
        sorted(beat("a", other, Duration::ZERO).await.unwrap()),
        [one],
        "its lease has ended"
    );
    assert_eq!(sorted(beat("a", other, long).await.unwrap()), [one, other]);
    assert_eq!(
        beat("b", other, long).await.unwrap(),
        [other],
        "another queue has workers of its own"
    );
    stage.store.queue_worker_remove("a".to_owned(), one).await.unwrap();
    assert_eq!(beat("a", other, long).await.unwrap(), [other]);
}

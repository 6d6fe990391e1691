//! The processes that execute what waits in the queue, as they see each other.

use std::time::Duration;

use uuid::Uuid;

use super::on_both_databases;
use super::stage::Stage;

on_both_databases![processes_that_work_see_each_other_until_they_leave_or_their_time_is_over];

async fn processes_that_work_see_each_other_until_they_leave_or_their_time_is_over(stage: Stage) {
    let (one, other, long) = (Uuid::now_v7(), Uuid::now_v7(), Duration::from_secs(60));
    let beat = |queue: &str, id, life| stage.store.queue_worker_renew(queue.to_owned(), id, life);
    let sorted = |mut ids: Vec<Uuid>| {
        ids.sort();
        ids
    };
    assert_eq!(beat("a", one, long).await.unwrap(), [one]);
    assert_eq!(sorted(beat("a", other, Duration::ZERO).await.unwrap()), [one], "its time is over");
    assert_eq!(sorted(beat("a", other, long).await.unwrap()), [one, other]);
    assert_eq!(beat("b", other, long).await.unwrap(), [other], "another queue is shared apart");
    stage.store.queue_worker_leave("a".to_owned(), one).await.unwrap();
    assert_eq!(beat("a", other, long).await.unwrap(), [other]);
}

//! The queue in the service's own database.

use std::sync::Arc;

use seatlock::queue::{DatabaseQueue, Partition, Queue};
use test_support::Postgres;

use crate::store::stage::Stage;

const MAX: u64 = 100_000;

async fn keeps_every_promise(stage: Stage) {
    let queue = DatabaseQueue::start(Arc::clone(&stage.store), MAX);
    super::every_promise(&queue).await;
    let waiting = "SELECT waiting FROM queue_counter";
    assert_eq!(stage.database.number(waiting).await, 0, "everything was settled");
}

async fn refuses_messages_when_full(stage: Stage) {
    let queue = DatabaseQueue::start(Arc::clone(&stage.store), 50);
    super::a_full_queue_refuses_messages(&queue, Partition(0), 50).await;
}

async fn loses_nothing_when_a_process_starts_again(stage: Stage) {
    let queue = DatabaseQueue::start(Arc::clone(&stage.store), MAX);
    super::a_restart_loses_nothing(&queue, async || {
        let store = stage.another_store().await;
        Box::new(DatabaseQueue::start(store, MAX)) as Box<dyn Queue>
    })
    .await;
}

/// Two processes publish to each other.
async fn receives_what_others_publish(stage: Stage) {
    let one = DatabaseQueue::start(Arc::clone(&stage.store), MAX);
    let other = DatabaseQueue::start(stage.another_store().await, MAX);
    let mut consumer = super::open(&other, Partition(1)).await;
    for number in 0..20 {
        super::publish(&one, Partition(1), number..number + 1).await;
        assert_eq!(super::take(&mut consumer, 1).await, super::numbers(number..number + 1));
    }
    consumer.settle(20).await.unwrap();
}

mod embedded {
    use crate::store::stage::Stage;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_in_sqlite_keeps_every_promise() {
        super::keeps_every_promise(Stage::embedded().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_in_sqlite_refuses_messages_when_full() {
        super::refuses_messages_when_full(Stage::embedded().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_in_sqlite_loses_nothing_when_a_process_starts_again() {
        super::loses_nothing_when_a_process_starts_again(Stage::embedded().await).await;
    }
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_in_postgresql_keeps_every_promise() {
        keeps_every_promise(Stage::full().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_in_postgresql_refuses_messages_when_full() {
        refuses_messages_when_full(Stage::full().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_in_postgresql_loses_nothing_when_a_process_starts_again() {
        loses_nothing_when_a_process_starts_again(Stage::full().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_in_postgresql_receives_what_others_publish() {
        receives_what_others_publish(Stage::full().await).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_postgresql_that_dies_loses_nothing_of_its_queue() {
        let server = Postgres::start(&[]);
        let stage = Stage::on_postgres(&server).await;
        let queue = DatabaseQueue::start(Arc::clone(&stage.store), MAX);
        crate::queue::a_broker_that_dies_loses_nothing(&queue, Partition(0), async || {
            server.kill();
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            tokio::task::block_in_place(|| server.restart());
        })
        .await;
    }
}

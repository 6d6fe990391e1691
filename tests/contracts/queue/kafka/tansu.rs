//! The same contract with a broker in its own process, tansu on SQLite: `make test-kafka`.
//!
//! It has one node, and creates topics on request.

use std::path::PathBuf;
use std::time::Duration;

use seatlock::queue::kafka::{KafkaQueue, KafkaSettings};
use seatlock::queue::{Partition, Queue};
use test_support::Tansu;

use super::{PARTITIONS, sharing};

/// The path of the program.
const PROGRAM: &str = "SEATLOCK_TEST_TANSU";

fn start() -> Tansu {
    let program = std::env::var_os(PROGRAM);
    let program = program.unwrap_or_else(|| panic!("{PROGRAM} is not set: run make test-kafka"));
    Tansu::start(&PathBuf::from(program))
}

fn settings(tansu: &Tansu, partitions: u16) -> KafkaSettings {
    let brokers = format!("127.0.0.1:{}", tansu.port());
    KafkaSettings { brokers, name: "requests".to_owned(), partitions }
}

fn queue(tansu: &Tansu) -> KafkaQueue {
    KafkaQueue::new(settings(tansu, PARTITIONS)).unwrap()
}

#[tokio::test]
#[ignore = "needs tansu: make test-kafka"]
async fn tansu_keeps_every_promise() {
    let tansu = start();
    let queue = queue(&tansu);
    crate::queue::every_promise(&queue).await;
    queue.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tansu: make test-kafka"]
async fn tansu_killed_and_restarted_loses_nothing() {
    let tansu = start();
    let queue = queue(&tansu);
    let kill_and_restart = async || {
        tansu.kill();
        tokio::time::sleep(Duration::from_secs(4)).await;
        tansu.restart();
    };
    crate::queue::a_broker_that_dies_loses_nothing(&queue, Partition(0), kill_and_restart).await;
    queue.close().await;
}

#[tokio::test]
#[ignore = "needs tansu: make test-kafka"]
async fn a_restart_of_the_process_loses_nothing_of_tansu() {
    let tansu = start();
    let after = async || Box::new(queue(&tansu)) as Box<dyn Queue>;
    crate::queue::a_restart_loses_nothing(&queue(&tansu), after).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs tansu: make test-kafka"]
async fn processes_share_the_partitions_of_tansu() {
    let tansu = start();
    sharing::come_and_go(&settings(&tansu, sharing::PARTITIONS)).await;
}

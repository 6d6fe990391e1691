//! Listening to a channel, on every form of Redis, and the end of it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use seatlock::redis::{Redis, cmd};
use test_support::{Access, RedisCluster, Sentinels};
use tokio::task::block_in_place;
use tokio::time::timeout;

use super::stand::{PATIENCE, by_sentinels, of_cluster, standalone};

/// Longer than a dead server goes unnoticed, with a busy machine's share on top.
const NOTICED: Duration = Duration::from_secs(10);

async fn publish(redis: &Redis, text: &str) {
    let mut command = cmd("PUBLISH");
    command.arg("changes").arg(text);
    for answer in redis.send(&[command]).await.unwrap() {
        answer.unwrap();
    }
}

/// Everything published is heard. In what order, a cluster does not say: its nodes pass on what each has
/// been given.
async fn is_heard(redis: &Redis, heard: &mut (impl Stream<Item = Vec<u8>> + Unpin)) {
    let texts: BTreeSet<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        publish(redis, text).await;
    }
    let mut messages = BTreeSet::new();
    for _ in &texts {
        let message = timeout(NOTICED, heard.next()).await.unwrap().unwrap();
        messages.insert(String::from_utf8(message).unwrap());
    }
    assert_eq!(messages, texts);
}

async fn ends(mut heard: impl Stream<Item = Vec<u8>> + Unpin) {
    let begin = Instant::now();
    timeout(NOTICED, async { while heard.next().await.is_some() {} }).await.unwrap();
    assert!(begin.elapsed() < NOTICED);
}

/// A new one, as soon as there is somebody to listen to.
async fn again(redis: &Redis) -> impl Stream<Item = Vec<u8>> + Unpin + use<> {
    let begin = Instant::now();
    loop {
        match redis.subscribe("changes").await {
            Ok(heard) => return heard,
            Err(error) => assert!(begin.elapsed() < Duration::from_secs(60), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscription_ends_with_its_server() {
        let access = Access::encrypted("sesame");
        let server = block_in_place(|| test_support::Redis::start_with(&[], &access));
        let redis = Redis::new(&standalone(&server, &access)).unwrap();
        let mut heard = redis.subscribe("changes").await.unwrap();
        is_heard(&redis, &mut heard).await;
        block_in_place(|| server.kill());
        ends(heard).await;
        assert!(redis.subscribe("changes").await.is_err());
        block_in_place(|| server.restart());
        let mut heard = again(&redis).await;
        is_heard(&redis, &mut heard).await;
        server.pause();
        ends(heard).await;
        server.resume();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscription_follows_the_master() {
        let all = block_in_place(|| Sentinels::start(&Access::default(), None));
        let redis = Redis::new(&by_sentinels(&all, &Access::default(), None, PATIENCE)).unwrap();
        let mut heard = redis.subscribe("changes").await.unwrap();
        is_heard(&redis, &mut heard).await;
        let old = all.master();
        block_in_place(|| {
            old.pause();
            all.wait_for_another_master(old.port());
        });
        ends(heard).await;
        let mut heard = again(&redis).await;
        is_heard(&redis, &mut heard).await;
        old.resume();
        is_heard(&redis, &mut heard).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscription_hears_all_nodes_of_a_cluster_and_needs_any() {
        let cluster = block_in_place(|| RedisCluster::start(&Access::default(), false));
        let redis = Redis::new(&of_cluster(&cluster, &Access::default(), PATIENCE)).unwrap();
        let mut heard = redis.subscribe("changes").await.unwrap();
        is_heard(&redis, &mut heard).await;
        block_in_place(|| {
            for node in cluster.nodes() {
                node.cli(&["publish", "changes", "by hand"]);
            }
        });
        for _ in cluster.nodes() {
            assert_eq!(timeout(NOTICED, heard.next()).await.unwrap().unwrap(), b"by hand");
        }
        block_in_place(|| cluster.nodes()[1].kill());
        let heard = again(&redis).await;
        block_in_place(|| {
            cluster.nodes()[0].kill();
            cluster.nodes()[2].kill();
        });
        ends(heard).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_reader_that_does_not_read_is_told_by_the_end() {
        let server = test_support::Redis::shared();
        let redis = Redis::new(&standalone(server, &Access::default())).unwrap();
        let heard = redis.subscribe("slow reader").await.unwrap();
        let commands: Vec<_> = (0..3_000)
            .map(|number| {
                let mut command = cmd("PUBLISH");
                command.arg("slow reader").arg(number);
                command
            })
            .collect();
        redis.send(&commands).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let count = timeout(NOTICED, heard.count()).await.unwrap();
        assert!((1..3_000).contains(&count), "{count} of 3000");
    }
}

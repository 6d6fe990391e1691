//! Subscriptions in every topology of Redis, and when they end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use seatlock::redis::{Redis, cmd};
use test_support::{Access, RedisCluster, Sentinels, eventually};
use tokio::task::block_in_place;
use tokio::time::timeout;

use super::fixtures::{LONG_ROUND_TRIP, by_sentinels, of_cluster, standalone};

/// Longer than the time after which a dead server ends a subscription, with a margin for a busy machine.
const DETECTION_TIME: Duration = Duration::from_secs(10);

async fn publish(redis: &Redis, text: &str) {
    let mut command = cmd("PUBLISH");
    command.arg("changes").arg(text);
    for answer in redis.send(&[command]).await.unwrap() {
        answer.unwrap();
    }
}

/// Asserts that all published messages arrive. A cluster does not keep their order: each node forwards its own.
async fn assert_all_arrive(
    redis: &Redis,
    subscription: &mut (impl Stream<Item = Vec<u8>> + Unpin),
) {
    let texts: BTreeSet<String> = (0..100).map(|number| number.to_string()).collect();
    for text in &texts {
        publish(redis, text).await;
    }
    let mut messages = BTreeSet::new();
    for _ in &texts {
        let message = timeout(DETECTION_TIME, subscription.next()).await.unwrap().unwrap();
        messages.insert(String::from_utf8(message).unwrap());
    }
    assert_eq!(messages, texts);
}

async fn assert_ends(mut subscription: impl Stream<Item = Vec<u8>> + Unpin) {
    let begin = Instant::now();
    timeout(DETECTION_TIME, async { while subscription.next().await.is_some() {} }).await.unwrap();
    assert!(begin.elapsed() < DETECTION_TIME);
}

/// A new subscription, as soon as a server accepts one and commands are answered again: a connection that was used
/// just before its server ended is not checked before it is used once more.
async fn subscribe_again(redis: &Redis) -> impl Stream<Item = Vec<u8>> + Unpin + use<> {
    let ping = [cmd("PING")];
    eventually("an answer", Duration::from_secs(60), || redis.send(&ping)).await;
    let subscribe = || redis.subscribe("changes");
    eventually("a subscription", Duration::from_secs(60), subscribe).await
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscription_ends_with_its_server() {
        let access = Access::encrypted("sesame");
        let server = block_in_place(|| test_support::Redis::start_with(&[], &access));
        let redis = Redis::new(&standalone(&server, &access)).unwrap();
        let mut subscription = redis.subscribe("changes").await.unwrap();
        assert_all_arrive(&redis, &mut subscription).await;
        block_in_place(|| server.kill());
        assert_ends(subscription).await;
        assert!(redis.subscribe("changes").await.is_err());
        block_in_place(|| server.restart());
        let mut subscription = subscribe_again(&redis).await;
        assert_all_arrive(&redis, &mut subscription).await;
        server.pause();
        assert_ends(subscription).await;
        server.resume();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscription_ends_when_the_master_is_replaced() {
        let all = block_in_place(|| Sentinels::start(&Access::default(), None));
        let redis =
            Redis::new(&by_sentinels(&all, &Access::default(), None, LONG_ROUND_TRIP)).unwrap();
        let mut subscription = redis.subscribe("changes").await.unwrap();
        assert_all_arrive(&redis, &mut subscription).await;
        let old = all.master();
        block_in_place(|| {
            old.pause();
            all.wait_for_another_master(old.port());
        });
        assert_ends(subscription).await;
        let mut subscription = subscribe_again(&redis).await;
        assert_all_arrive(&redis, &mut subscription).await;
        old.resume();
        assert_all_arrive(&redis, &mut subscription).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscription_gets_the_messages_of_all_nodes_of_a_cluster() {
        let cluster = block_in_place(|| RedisCluster::start(&Access::default(), false));
        let redis = Redis::new(&of_cluster(&cluster, &Access::default(), LONG_ROUND_TRIP)).unwrap();
        let mut subscription = redis.subscribe("changes").await.unwrap();
        assert_all_arrive(&redis, &mut subscription).await;
        block_in_place(|| {
            for node in cluster.nodes() {
                node.cli(&["publish", "changes", "by hand"]);
            }
        });
        for _ in cluster.nodes() {
            assert_eq!(
                timeout(DETECTION_TIME, subscription.next()).await.unwrap().unwrap(),
                b"by hand"
            );
        }
        block_in_place(|| cluster.nodes()[1].kill());
        let subscription = subscribe_again(&redis).await;
        block_in_place(|| {
            cluster.nodes()[0].kill();
            cluster.nodes()[2].kill();
        });
        assert_ends(subscription).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_subscription_ends_when_its_reader_is_too_far_behind() {
        let server = test_support::Redis::shared();
        let redis = Redis::new(&standalone(server, &Access::default())).unwrap();
        let subscription = redis.subscribe("slow reader").await.unwrap();
        let commands: Vec<_> = (0..3_000)
            .map(|number| {
                let mut command = cmd("PUBLISH");
                command.arg("slow reader").arg(number);
                command
            })
            .collect();
        redis.send(&commands).await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let count = timeout(DETECTION_TIME, subscription.count()).await.unwrap();
        assert!((1..3_000).contains(&count), "{count} of 3000");
    }
}

//! Redis is killed, stopped, loses locks, fills up: seats are still sold, none twice, and Redis is used again
//! without help.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::crowd::Crowd;
use crate::harness::{FAILURES, LONG, SLACK, Scene, Setup, blocking, until};

const ACQUIRED: &str = "seatlock_seat_lock_requests_total{outcome=\"acquired\"}";

/// The promise: so soon after its return Redis is used again.
const USED_AGAIN: Duration = Duration::from_secs(10);

/// How many requests had no locks, for any reason.
async fn unlocked(scene: &Scene) -> f64 {
    let mut sum = 0.0;
    for outcome in ["error", "timeout", "bypassed"] {
        let series = format!("seatlock_seat_lock_requests_total{{outcome=\"{outcome}\"}}");
        sum += scene.metric(&series).await;
    }
    sum
}

/// A crowd that buys before, during and after a fault of Redis.
struct Trial {
    scene: Scene,
    crowd: Crowd,
    hold: String,
}

impl Trial {
    async fn begin(setup: Setup) -> Self {
        let scene = setup.processes(2).start().await;
        let schedule = scene.schedule(1, 40).await;
        let hold = scene.ledger.hold(&scene.client(0), &schedule, &["A-1-40"], 600).await;
        let hold = hold.unwrap().id(201);
        let crowd = Crowd::of(&scene, 16, &schedule, 40);
        let trial = Self { scene, crowd, hold };
        trial.sells(LONG).await;
        trial
    }

    /// Waits until ten more orders have been decided, one way or the other.
    async fn sells(&self, limit: Duration) {
        let decided =
            || self.scene.ledger.count("200") + self.scene.ledger.count("seats_unavailable");
        let before = decided();
        until("orders are decided", limit, async || decided() >= before + 10).await;
    }

    /// Injects a fault again and again for so long, and checks that orders are decided meanwhile.
    async fn sells_during(&self, time: Duration, pause: Duration, mut inject: impl FnMut()) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            blocking(&mut inject);
            tokio::time::sleep(pause).await;
            self.sells(SLACK * 2).await;
        }
    }

    /// Checks that Redis is used again in time, and that no customer has noticed the fault.
    async fn end(self, injected: &str) {
        let before = self.scene.metric(ACQUIRED).await;
        let again = async || self.scene.metric(ACQUIRED).await > before;
        let took = until("Redis is used again", USED_AGAIN + SLACK, again).await;
        let unlocked = unlocked(&self.scene).await;
        self.crowd.stop().await;
        self.scene.inject(&format!(
            "{injected}; {unlocked} requests without locks, used again after {took:.1?}"
        ));
        self.scene.never(&FAILURES);
        // Losing Redis loses no hold.
        let client = self.scene.client(1);
        assert_eq!(self.scene.ledger.confirm(&client, &self.hold).await.unwrap().status, 200);
        self.scene.finish().await;
    }
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn redis_is_killed_and_comes_back_empty() {
        let trial = Trial::begin(Setup::of("Redis killed")).await;
        blocking(|| trial.scene.redis.kill());
        trial.sells_during(Duration::from_secs(4), Duration::from_millis(500), || {}).await;
        assert!(unlocked(&trial.scene).await > 0.0);
        blocking(|| trial.scene.redis.restart());
        trial.end("kill -9, 4 s, restarted empty").await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn redis_loses_locks() {
        let trial = Trial::begin(Setup::of("Redis loses locks")).await;
        let redis = &trial.scene.redis;
        let mut turn = 0;
        trial
            .sells_during(Duration::from_secs(5), Duration::from_millis(200), || {
                turn += 1;
                if turn % 2 == 0 {
                    redis.cli(&["flushall"]);
                    return;
                }
                for key in redis.cli(&["--scan"]).lines() {
                    redis.cli(&["del", key]);
                }
            })
            .await;
        let lost = trial.scene.metric("seatlock_seat_lock_lost_total").await;
        assert!(lost > 0.0, "no lock was lost");
        trial.end(&format!("FLUSHALL and DEL in turn for 5 s, {lost} locks lost")).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_stopped() {
    let trial = Trial::begin(Setup::of("Redis SIGSTOP")).await;
    blocking(|| trial.scene.redis.pause());
    trial.sells_during(Duration::from_secs(15), Duration::from_millis(500), || {}).await;
    assert!(unlocked(&trial.scene).await > 0.0);
    blocking(|| trial.scene.redis.resume());
    trial.end("SIGSTOP for 15 s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_behind_a_black_hole() {
    let trial = Trial::begin(Setup::of("Redis black hole")).await;
    trial.scene.network.redis.black_hole();
    trial.sells_during(Duration::from_secs(8), Duration::from_millis(500), || {}).await;
    assert!(unlocked(&trial.scene).await > 0.0);
    trial.scene.network.redis.heal();
    trial.end("black hole for 8 s, then all of it delivered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_resets_connections_and_answers_slowly() {
    let trial = Trial::begin(Setup::of("Redis resets, then slow")).await;
    let line = &trial.scene.network.redis;
    trial
        .sells_during(Duration::from_secs(5), Duration::from_millis(100), || {
            line.cut();
            line.heal();
        })
        .await;
    line.delay(Duration::from_millis(75));
    trial.sells_during(Duration::from_secs(5), Duration::from_millis(500), || {}).await;
    assert!(unlocked(&trial.scene).await > 0.0);
    line.heal();
    trial.end("resets several times a second for 5 s, 150 ms a round trip for 5 s").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_full() {
    let trial = Trial::begin(Setup::of("Redis full")).await;
    let redis = &trial.scene.redis;
    blocking(|| redis.cli(&["config", "set", "maxmemory", "1"]));
    trial.sells_during(Duration::from_secs(4), Duration::from_millis(500), || {}).await;
    assert!(unlocked(&trial.scene).await > 0.0, "nothing met OOM");
    blocking(|| redis.cli(&["config", "set", "maxmemory-policy", "allkeys-random"]));
    blocking(|| redis.cli(&["config", "set", "maxmemory", "2mb"]));
    let filler = "x".repeat(2_000);
    let mut number = 0;
    trial
        .sells_during(Duration::from_secs(4), Duration::from_millis(50), || {
            for _ in 0..20 {
                number += 1;
                redis.cli(&["set", &format!("filler-{number}"), &filler]);
            }
        })
        .await;
    blocking(|| redis.cli(&["config", "set", "maxmemory", "0"]));
    let evicted = blocking(|| redis.cli(&["info", "stats"]));
    let evicted = evicted.lines().find(|line| line.starts_with("evicted_keys")).unwrap();
    assert_ne!(evicted.trim(), "evicted_keys:0");
    trial.end(&format!("OOM for 4 s, eviction for 4 s ({})", evicted.trim())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_loads_its_data() {
    let setup = Setup::of("Redis LOADING").redis(&[
        ("enable-debug-command", "yes"),
        ("key-load-delay", "1000"),
        ("loading-process-events-interval-bytes", "1024"),
    ]);
    let trial = Trial::begin(setup).await;
    let redis = Arc::clone(&trial.scene.redis);
    blocking(|| redis.cli(&["debug", "populate", "4000"]));
    let reload = tokio::task::spawn_blocking(move || redis.cli(&["debug", "reload"]));
    let is_loading =
        async || blocking(|| trial.scene.redis.cli(&["get", "key:1"])).contains("LOADING");
    until("Redis is loading", LONG, is_loading).await;
    trial.sells(SLACK).await;
    assert_eq!(reload.await.unwrap(), "OK");
    assert!(unlocked(&trial.scene).await > 0.0, "nothing met LOADING");
    trial.end("LOADING for some seconds").await;
}

/// A lock with another owner's value refuses its seat, and only its owner deletes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_of_another_owner_is_left_alone() {
    let scene = Setup::of("a lock of another owner").start().await;
    let schedule = scene.schedule(1, 4).await;
    let key = format!("{{sch:{schedule}}}:seat:2");
    blocking(|| scene.redis.cli(&["set", &key, "another owner"]));
    let client = scene.client(0);
    let orders =
        (0..40).map(async |_| scene.ledger.book(&client, &schedule, &["A-1-2", "A-1-3"]).await);
    for answer in join_all(orders).await {
        let problem = answer.unwrap().problem(409, "seats_unavailable");
        assert_eq!(problem["conflicts"][0]["reason"], "contended");
        assert_eq!(problem["retryable"], true);
    }
    assert_eq!(blocking(|| scene.redis.cli(&["get", &key])), "another owner");
    blocking(|| scene.redis.cli(&["del", &key]));
    scene.inject("a key of another owner");
    scene.finish().await;
}

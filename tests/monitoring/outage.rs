//! Two processes under load lose Redis and get it back: which alerts fire, and where they are sent.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use test_support::{Alertmanager, Postgres, Redis, Service};
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::sleep;

use crate::files::{read, root, rule_files};
use crate::prometheus::Watcher;
use crate::receiver::Receiver;
use crate::scaled;
use crate::{PROCESSOR, PROGRAM};

/// The alerts on the loss of Redis; no other alert fires.
const EXPECTED: [&str; 2] = ["SeatlockBreakerOpen", "SeatlockLockFailures"];

/// Every alert that has fired within the last minutes.
const FIRED: &str = "group by (alertname) (max_over_time(ALERTS{alertstate=\"firing\"}[5m]))";

/// Long enough for alerts with `for: 15m`.
const QUARTER: Duration = Duration::from_secs(15 * 60 / scaled::FASTER);

/// Rows of 100 seats; more than are sold meanwhile.
const ROWS: u32 = 100;

/// Two processes, their servers, and their monitoring.
struct World {
    services: Arc<[Service; 2]>,
    redis: Redis,
    watcher: Watcher,
    pager: Receiver,
    _alertmanager: Alertmanager,
}

impl World {
    async fn start() -> Self {
        let redis = block_in_place(|| Redis::start(&[]));
        let database = block_in_place(|| Postgres::shared().create_database());
        let port = redis.port().to_string();
        let variables = [
            ("WRITE_DB_URL", database.as_str()),
            ("REDIS_HOST", "127.0.0.1"),
            ("REDIS_PORT", &port),
            ("REPLICAS", "2"),
            // On a busy machine a healthy Redis is slow, and this test is about a dead one.
            ("LOCK_ROUND_TRIP", "400ms"),
        ];
        let start = async || Service::start(&[PROGRAM], &variables).up().await;
        let services = Arc::new([start().await, start().await]);
        let pager = Receiver::start().await;
        let addresses = services.iter().map(|service| service.address().to_string());
        let addresses: Vec<String> = addresses.collect();
        let webhook = format!("127.0.0.1:{}/", pager.port);
        let text = scaled::configuration(&read("monitoring/alertmanager.yml"));
        let alertmanager =
            block_in_place(|| Alertmanager::start(&text.replace("127.0.0.1:9095/", &webhook)));
        let target = format!("127.0.0.1:{}", alertmanager.port());
        let text = scaled::configuration(&read("monitoring/prometheus.yml"));
        let text = text.replace("127.0.0.1:9093", &target);
        let text = text.replace("127.0.0.1:8080", &addresses.join("\", \""));
        let rules = rule_files().into_iter();
        let rules: Vec<_> = rules.map(|(name, text)| (name, scaled::rules(&text))).collect();
        let watcher = Watcher::start(&text);
        // Prometheus takes up to five seconds until its first scrape, which here would be five minutes without a
        // process of the service.
        watcher.until("sum(seatlock_ready) == 2").await;
        watcher.take_rules(&rules).await;
        Self { services, redis, watcher, pager, _alertmanager: alertmanager }
    }

    /// The names of all alerts that have fired up to now.
    async fn fired(&self) -> Vec<String> {
        self.watcher.labels(FIRED, "alertname").await
    }

    /// Waits until no alert fires or is about to.
    async fn until_no_alert(&self) {
        self.watcher.until("absent(ALERTS)").await;
    }
}

/// Buyers that request seats until they are stopped: half of them any seat, half of them the same few, so that soon
/// half of all requests are refused correctly.
struct Load {
    stop: Arc<AtomicBool>,
    /// Numbers of answers: 200, 409, any other.
    answers: Arc<[AtomicU64; 3]>,
    buyers: Vec<JoinHandle<()>>,
}

impl Load {
    async fn start(services: &Arc<[Service; 2]>) -> Self {
        let schedule = services[0].client().schedule(&[("A", ROWS, 100)], Value::Null).await;
        let (stop, answers): (Arc<AtomicBool>, Arc<[AtomicU64; 3]>) = Default::default();
        let buyer = |number: usize| {
            let (services, schedule) = (Arc::clone(services), schedule.clone());
            let (stop, answers) = (Arc::clone(&stop), Arc::clone(&answers));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let rows = if number < 2 { ROWS } else { 1 };
                    let seat = format!("A-{}-{}", fastrand::u32(1..=rows), fastrand::u32(1..=100));
                    let client = services[number % 2].client();
                    let kind = match client.book(&schedule, &[&seat], "anna").await.status {
                        200 => 0,
                        409 => 1,
                        _ => 2,
                    };
                    answers[kind].fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(60)).await;
                }
            })
        };
        Self { buyers: (0..4).map(buyer).collect(), stop, answers }
    }

    fn answered(&self) -> [u64; 3] {
        [0, 1, 2].map(|kind| self.answers[kind].load(Ordering::Relaxed))
    }

    async fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for buyer in self.buyers {
            buyer.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_redis_dies_the_right_alerts_fire_and_only_those_and_end_when_it_is_back() {
    let _processor = PROCESSOR.lock().await;
    let world = World::start().await;
    let load = Load::start(&world.services).await;

    // A healthy on-sale: half of the buyers are refused, and no alert fires.
    world.watcher.until("job:seatlock_booking_valid:rate1h > 1").await;
    sleep(QUARTER).await;
    let before = load.answered();
    assert!(before[0] > 0 && before[1] > 0 && before[2] == 0, "{before:?}");
    assert_eq!(world.fired().await, [""; 0], "healthy");
    assert_eq!(world.pager.notifications().len(), 0, "{:#?}", world.pager.notifications());

    block_in_place(|| world.redis.kill());
    let page = world.pager.until("SeatlockLockFailures", false).await;
    let ticket = world.pager.until("SeatlockBreakerOpen", false).await;
    assert_eq!((page.path.as_str(), ticket.path.as_str()), ("/pages", "/tickets"));
    for sent in [page, ticket] {
        let runbook = sent.alert["annotations"]["runbook_url"].as_str().unwrap().to_owned();
        assert!(root().join(&runbook).is_file(), "{runbook}");
    }
    sleep(QUARTER).await;
    assert_eq!(world.fired().await, EXPECTED, "without Redis");
    let during = load.answered();
    assert!(during[0] > before[0] && during[2] == 0, "seats are sold on: {before:?} {during:?}");

    block_in_place(|| world.redis.restart());
    for alert in EXPECTED {
        world.pager.until(alert, true).await;
    }
    world.until_no_alert().await;
    load.stop().await;
    assert_eq!(world.fired().await, EXPECTED, "over the whole test");
    let sent: BTreeSet<String> =
        world.pager.notifications().iter().map(|sent| sent.name().to_owned()).collect();
    assert_eq!(Vec::from_iter(sent), EXPECTED, "the alerts that were sent");
}

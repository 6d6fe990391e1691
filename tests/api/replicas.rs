//! Eight processes on one database and one Redis, all of them selling one schedule: their maps and streams converge, a
//! process that starts meanwhile is not noticed, and they open as many connections as documented.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client, Database, Redis, SOON, Service, taking};
use tokio::task::JoinHandle;

use crate::listener::Listener;
use crate::service::Shared;

const PROCESSES: usize = 8;

/// The customers of each process.
const CUSTOMERS: usize = 4;

/// The seats of the schedule, in one row.
const SEATS: u32 = 400;

/// The longest answer while a process starts, on a busy machine that runs nine of them.
const SLOWEST: Duration = Duration::from_secs(3);

/// The connections of a process that docs/operations.md allows: to PostgreSQL, and to Redis.
const POSTGRES_CONNECTIONS: i64 = 2 * 2 + 3 + 1 + 8;
const REDIS_CONNECTIONS: usize = 4 + 1;

/// What the customers got.
#[derive(Default)]
struct Answers {
    sold: usize,
    refused: usize,
    failed: Vec<String>,
    slowest: Duration,
}

/// Customers at work until they are stopped.
struct Sale {
    stop: Arc<AtomicBool>,
    customers: Vec<JoinHandle<Answers>>,
}

impl Sale {
    /// Begins a sale with customers of all these processes, who buy one to three seats and give some back.
    fn begin(services: &[Service], schedule: &str) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let customers = services.iter().flat_map(|service| {
            (0..CUSTOMERS).map(|_| {
                let client = Client::of(service.address());
                tokio::spawn(shop(client, schedule.to_owned(), Arc::clone(&stop)))
            })
        });
        let customers = customers.collect();
        Self { stop, customers }
    }

    async fn end(self) -> Answers {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Answers::default();
        for customer in join_all(self.customers).await {
            let one = customer.unwrap();
            all.sold += one.sold;
            all.refused += one.refused;
            all.failed.extend(one.failed);
            all.slowest = all.slowest.max(one.slowest);
        }
        all
    }
}

async fn shop(client: Client, schedule: String, stop: Arc<AtomicBool>) -> Answers {
    let mut answers = Answers::default();
    while !stop.load(Ordering::Relaxed) {
        let first = fastrand::u32(1..=SEATS - 2);
        let labels: Vec<String> =
            (first..=first + fastrand::u32(0..3)).map(|seat| format!("A-1-{seat}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let book = client.request(Method::POST, "/api/v1/bookings");
        let booked = answers.send(&client, book.json(&taking(&schedule, &labels, "anna"))).await;
        if let Some(booked) = booked.filter(|answer| answer.status == 200)
            && fastrand::bool()
        {
            let path = format!("/api/v1/bookings/{}/cancel", booked.id(200));
            answers.send(&client, client.request(Method::POST, &path).json(&json!({}))).await;
        }
    }
    answers
}

impl Answers {
    async fn send(&mut self, client: &Client, request: reqwest::RequestBuilder) -> Option<Answer> {
        let began = Instant::now();
        let answer = client.try_send(request).await;
        self.slowest = self.slowest.max(began.elapsed());
        match &answer {
            Ok(answer) if answer.status == 200 => self.sold += 1,
            Ok(answer) if answer.body.contains("seats_unavailable") => self.refused += 1,
            other => self.failed.push(format!("{other:?}")),
        }
        answer.ok()
    }
}

/// So many processes, started together.
async fn started(shared: &Shared, many: usize) -> Vec<Service> {
    let services: Vec<Service> = (0..many).map(|_| shared.start_with_long_timeouts()).collect();
    join_all(services.into_iter().map(Service::up)).await
}

/// Waits until the map of a process, as it is without `min_version`, has this version.
async fn converged(service: &Service, schedule: &str, version: i64) -> Value {
    let path = format!("/api/v1/schedules/{schedule}/availability");
    let newest = |answer: &Answer| answer.expect(200)["version"] == version;
    service.client().wait_until(&path, newest).await.json()
}

/// Makes a process use all its connections.
async fn use_all_connections(client: &Client, schedule: &str) {
    let reads = (0..16).map(|number| {
        let path = format!("/api/v1/bookings?schedule_id={schedule}&customer_id=ben{number}");
        async move { client.get(&path).await.expect(200) }
    });
    let writes = (0..4).map(|_| client.event("The Tempest"));
    tokio::join!(join_all(reads), join_all(writes));
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn eight_processes_that_sell_one_schedule_end_with_one_map() {
        let redis = tokio::task::block_in_place(|| Redis::start(&[]));
        let shared = Shared::on(&redis);
        let services = started(&shared, PROCESSES).await;
        let schedule = services[0].client().row_of(SEATS).await;
        let begin = services.iter().map(|service| Listener::begin(service.client(), &schedule));
        let mut listeners = join_all(begin).await;
        let sale = Sale::begin(&services, &schedule);
        for _ in 0..3 {
            for service in &services {
                use_all_connections(service.client(), &schedule).await;
            }
        }
        let database = Database::postgres(&shared.url).await;
        let connections = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                           AND application_name = 'seatlock'";
        let to_postgres = database.number(connections).await;
        let clients = tokio::task::block_in_place(|| redis.cli(&["client", "list"]));
        let to_redis = clients.lines().filter(|line| !line.contains("cmd=client")).count();
        let answers = sale.end().await;
        assert_eq!(answers.failed, [""; 0]);
        assert!(answers.sold > 100, "hardly a load: {} sold", answers.sold);

        let version =
            format!("SELECT version FROM schedule_version WHERE schedule_id = {schedule}");
        let version = database.number(&version).await;
        let maps = join_all(services.iter().map(|one| converged(one, &schedule, version))).await;
        assert!(maps.iter().all(|map| map["states"] == maps[0]["states"]), "{maps:?}");
        for listener in &mut listeners {
            tokio::time::timeout(SOON, listener.until(version)).await.unwrap();
            assert_eq!(listener.counts, maps[0]["counts"]);
        }
        assert!(listeners.iter().all(|listener| listener.codes == listeners[0].codes));
        listeners[0].has_the_readers_map(services[0].client(), &schedule).await;
        shared.audit().await;

        println!("{to_postgres} connections to PostgreSQL, {to_redis} to Redis");
        let (processes, many) = (i64::try_from(PROCESSES).unwrap(), PROCESSES);
        let most = POSTGRES_CONNECTIONS * processes;
        assert!((most / 2..=most).contains(&to_postgres), "{to_postgres} to PostgreSQL");
        let most = REDIS_CONNECTIONS * many;
        assert!((many * 2..=most).contains(&to_redis), "{to_redis} to Redis: {clients}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn customers_do_not_notice_that_another_process_starts() {
        let shared = Shared::fresh();
        let mut services = started(&shared, PROCESSES - 1).await;
        let schedule = services[0].client().row_of(SEATS).await;
        let sale = Sale::begin(&services, &schedule);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = sale.end().await;
        let sale = Sale::begin(&services, &schedule);
        let began = Instant::now();
        let another = shared.start_with_long_timeouts().up().await;
        let took = began.elapsed();
        another.client().states(&schedule).await;
        let during = sale.end().await;
        println!(
            "the slowest answer before took {:?}, and {:?} while a process started, which took {took:?}",
            before.slowest, during.slowest
        );
        assert_eq!(during.failed, [""; 0]);
        assert!(during.sold > 10, "hardly a load: {} sold", during.sold);
        assert!(during.slowest < SLOWEST.max(before.slowest * 3), "{:?}", during.slowest);
        // It sells like the others.
        services.push(another);
        let sale = Sale::begin(&services[PROCESSES - 1..], &schedule);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let own = sale.end().await;
        assert_eq!(own.failed, [""; 0]);
        assert!(own.sold > 0, "{} refused", own.refused);
        shared.audit().await;
    }
}

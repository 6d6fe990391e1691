//! One scenario: its servers and the network to them, processes of the service, and the audit at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::Value;
pub(crate) use test_support::until;
use test_support::{Answer, Client, Database, Network, Patroni, Redis, Service, eventually};
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
pub(crate) use crate::setup::{Primary, Setup};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_seatlock");

/// More than anything takes here on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// Added to a promised time for a busy machine.
pub(crate) const SLACK: Duration = Duration::from_secs(2);

/// Answers that no customer gets while the database works.
pub(crate) const FAILURES: [&str; 5] =
    ["dependency_unavailable", "overloaded", "unknown", "no answer", "read_only"];

/// Runs what blocks, such as waiting for a server.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    tokio::task::block_in_place(work)
}

/// A scenario under way. Processes end before the servers they talk to.
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) began: Instant,
    pub(crate) services: Vec<Service>,
    pub(crate) variables: Vec<(&'static str, &'static str)>,
    /// The database, without the relay.
    pub(crate) url: String,
    pub(crate) network: Network,
    pub(crate) primary: Primary,
    pub(crate) redis: Arc<Redis>,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) injected: Mutex<Vec<String>>,
    pub(crate) _turn: tokio::sync::MutexGuard<'static, ()>,
}

impl Scene {
    /// Starts the program with these arguments and more variables, and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str], more: &[(&str, &str)]) -> Service {
        Service::start(&[&[PROGRAM], arguments].concat(), &self.variables(more))
    }

    /// The variables of a process of the scenario, and more.
    pub(crate) fn variables<'a>(&self, more: &[(&'a str, &str)]) -> Vec<(&'a str, String)> {
        self.network.variables(&self.url, &[&self.variables, more].concat())
    }

    /// Starts one more process, with more variables, and waits until it is ready.
    pub(crate) async fn launch(&self, more: &[(&str, &str)]) -> Service {
        self.start(&[], more).up().await
    }

    /// Starts one more process among the others.
    pub(crate) async fn add(&mut self, more: &[(&str, &str)]) {
        let service = self.launch(more).await;
        self.services.push(service);
    }

    /// Starts a process in the place of one, which is killed if it still runs.
    pub(crate) async fn relaunch(&self, number: usize, more: &[(&str, &str)]) {
        self.start_again(number, more);
        self.services[number].ready().await;
    }

    /// Like [`Scene::relaunch`], and does not wait until it is ready.
    pub(crate) fn start_again(&self, number: usize, more: &[(&str, &str)]) {
        blocking(|| self.services[number].restart(&self.variables(more)));
    }

    /// Whether all processes are ready; those that have ended are started again.
    pub(crate) async fn are_up(&self) -> bool {
        let mut all = true;
        for (number, service) in self.services.iter().enumerate() {
            if !service.process().is_running() {
                self.start_again(number, &[]);
            }
            all &= service.is_ready().await;
        }
        all
    }

    /// A customer of the process with this number, over a connection of its own.
    pub(crate) fn client(&self, number: usize) -> Client {
        Client::of(self.services[number].address())
    }

    /// A schedule with so many rows of so many seats, `A-1-1` and so on.
    pub(crate) async fn schedule(&self, rows: u32, seats: u32) -> String {
        self.client(0).schedule(&[("A", rows, seats)], Value::Null).await
    }

    /// The cluster of the scenario, which has asked for one.
    pub(crate) fn cluster(&self) -> &Patroni {
        match &self.primary {
            Primary::Cluster(cluster) => cluster,
            _ => panic!("a scenario with a cluster says so"),
        }
    }

    /// Notes an injected fault for the report.
    pub(crate) fn inject(&self, what: &str) {
        self.injected.lock().unwrap().push(what.to_owned());
    }

    /// The sum of a metric over all processes.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let mut sum = 0.0;
        for service in &self.services {
            sum += service.client().metric(series).await;
        }
        sum
    }

    /// Waits until no seat lock stands in Redis.
    pub(crate) async fn until_no_locks(&self, limit: Duration) {
        let scan = || blocking(|| self.redis.cli(&["--scan", "--pattern", "*:seat:*"]));
        let none_left = async || match scan() {
            keys if keys.is_empty() => Ok(()),
            keys => Err(format!("seat locks are left: {keys}")),
        };
        eventually(self.name, limit, none_left).await;
    }

    /// Waits until more than so many further seats have been sold; returns how long that took.
    pub(crate) async fn sells(&self, more: u64) -> Duration {
        let before = self.ledger.count("200");
        until("selling", LONG, async || self.ledger.count("200") > before + more).await
    }

    /// Checks that no customer got any of these answers.
    pub(crate) fn never(&self, answers: &[&str]) {
        for answer in answers {
            assert_eq!(self.ledger.count(answer), 0, "{answer}");
        }
    }

    /// Starts a booking of one seat under a key of its own.
    pub(crate) fn order(
        &self,
        client: Client,
        schedule: &str,
        seat: &'static str,
    ) -> JoinHandle<Option<Answer>> {
        let (ledger, schedule) = (Arc::clone(&self.ledger), schedule.to_owned());
        tokio::spawn(async move { ledger.book(&client, &schedule, &[seat]).await })
    }

    /// Ends the scenario: every outcome is found out, the tables are audited, and every free seat is sold once.
    pub(crate) async fn finish(self) {
        let client = self.client(0);
        client.wait_until("/readyz", |answer| answer.body.contains("\"ok\"")).await;
        self.ledger.resolve(&client, LONG).await;
        let database = self.database().await;
        // A sweep in the middle of an audit would make it see two states.
        let over = "SELECT count(*) FROM hold WHERE status = 0";
        until("all holds have ended", LONG, async || database.number(over).await == 0).await;
        self.audit().await;
        self.compare(&database).await;
        self.until_no_locks(Duration::from_secs(35)).await;
        let sold = self.sell_the_rest(&database).await;
        self.audit().await;
        self.report(&format!("held; {sold} free seats sold afterwards"));
    }

    /// A connection to the database.
    pub(crate) async fn database(&self) -> Database {
        Database::postgres(&self.url).await
    }

    /// Checks every invariant.
    pub(crate) async fn audit(&self) {
        self.database().await.audit(PROGRAM).await;
    }

    /// Checks that all acknowledged bookings are stored, and no others.
    pub(crate) async fn compare(&self, database: &Database) {
        let ids = "SELECT schedule_id || '-' || replace(id::text, '-', '') FROM booking";
        let stored: BTreeSet<String> = database.column(ids).await.into_iter().collect();
        let acknowledged = self.ledger.bookings();
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        let phantoms: Vec<_> = stored.difference(&acknowledged).collect();
        assert!(lost.is_empty(), "{}: acknowledged and lost: {lost:?}", self.name);
        assert!(phantoms.is_empty(), "{}: booked and not acknowledged: {phantoms:?}", self.name);
    }

    /// Books every free seat once.
    pub(crate) async fn sell_the_rest(&self, database: &Database) -> usize {
        // What a process knows from memory may be half a second behind the others.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let free = "SELECT schedule_id || ' ' || label FROM seat WHERE state = 0 ORDER BY 1";
        let free: Vec<String> = database.column(free).await;
        let client = self.client(0);
        for some in free.chunks(32) {
            let orders = some.iter().map(|seat| {
                let (schedule, label) = seat.split_once(' ').unwrap();
                let client = client.clone();
                async move { client.book(schedule, &[label], "the last").await.expect(200) }
            });
            join_all(orders).await;
        }
        free.len()
    }

    /// Prints one line, also of a passing test.
    pub(crate) fn report(&self, verdict: &str) {
        use std::io::Write as _;
        let line = format!(
            "{} | {} | {} operations ({}), longest {:.1?} | {verdict} | {:.0?}\n",
            self.name,
            self.injected.lock().unwrap().join(", "),
            self.ledger.operations(),
            self.ledger.summary(),
            self.ledger.longest(),
            self.began.elapsed(),
        );
        // Past the capture of the test harness.
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

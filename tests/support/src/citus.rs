//! A Citus cluster that the caller provides. The tests create databases in it.

use std::env;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

use crate::postgres::psql;

/// The address of a database of the coordinator, `postgres://USER@HOST:PORT/NAME`, whose workers are known to it.
const VARIABLE: &str = "CITUS_URL";

/// Shards of each distributed table of a test: few, since each test has tables of its own.
const SHARDS: u32 = 4;

/// A coordinator and its workers. The user of the address is a superuser on all of them, and needs no password.
pub struct Citus {
    /// `postgres://USER@HOST:PORT` of the coordinator.
    coordinator: String,
    /// `HOST:PORT` of each worker.
    workers: Vec<(String, String)>,
    databases: AtomicU32,
    /// Nodes that are added to several databases at the same time update the same rows of their roles.
    adding: Mutex<()>,
}

impl Citus {
    /// The cluster at the address in `CITUS_URL`; `None` if the variable is not set.
    pub fn given() -> Option<&'static Self> {
        static GIVEN: OnceLock<Option<Citus>> = OnceLock::new();
        GIVEN.get_or_init(|| env::var(VARIABLE).ok().map(|url| Self::at(&url))).as_ref()
    }

    fn at(url: &str) -> Self {
        let (coordinator, _) =
            url.rsplit_once('/').expect("CITUS_URL ends in a name of a database");
        let sql = "SELECT nodename || '|' || nodeport FROM pg_dist_node
             WHERE groupid > 0 AND noderole = 'primary' AND isactive";
        let found = psql(url, sql).unwrap_or_else(|problem| panic!("{VARIABLE}: {problem}"));
        let workers: Vec<_> = found.lines().filter_map(|line| line.split_once('|')).collect();
        assert!(workers.len() >= 2, "{VARIABLE} names a coordinator with two workers: {found:?}");
        let workers = workers.into_iter().map(|(host, port)| (host.into(), port.into())).collect();
        Self {
            coordinator: coordinator.to_owned(),
            workers,
            databases: AtomicU32::new(0),
            adding: Mutex::default(),
        }
    }

    /// The port of the coordinator.
    pub fn port(&self) -> u16 {
        let (_, port) = self.coordinator.rsplit_once(':').expect("CITUS_URL has a port");
        port.parse().expect("a port is a number")
    }

    /// Creates a database with a new name on each node, adds the workers to it, and returns its address on the
    /// coordinator. `make test-citus` deletes the databases.
    pub fn create_database(&self) -> String {
        let url = self.create_database_without_workers();
        self.add_workers(&url);
        url
    }

    /// Adds the workers to a database of the coordinator.
    pub fn add_workers(&self, url: &str) {
        let _turn = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, place) = self.coordinator.rsplit_once('@').expect("CITUS_URL has a user");
        let (host, port) = place.rsplit_once(':').expect("CITUS_URL has a port");
        run(url, &format!("SELECT citus_set_coordinator_host('{host}', {port})"));
        for (host, port) in &self.workers {
            run(url, &format!("SELECT citus_add_node('{host}', {port})"));
        }
    }

    /// Like [`Citus::create_database`], but the coordinator has no workers in this database yet.
    pub fn create_database_without_workers(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("seatlock_test_{}_{number}", process::id());
        let (scheme, _) = self.coordinator.rsplit_once('@').expect("CITUS_URL has a user");
        let workers = self.workers.iter().map(|(host, port)| format!("{scheme}@{host}:{port}"));
        let nodes: Vec<String> = workers.chain([self.coordinator.clone()]).collect();
        thread::scope(|scope| {
            for node in &nodes {
                let name = &name;
                scope.spawn(move || {
                    run(&format!("{node}/postgres"), &format!("CREATE DATABASE {name}"));
                    run(&format!("{node}/{name}"), "CREATE EXTENSION citus");
                });
            }
        });
        let url = format!("{}/{name}", self.coordinator);
        run(&url, &format!("ALTER DATABASE {name} SET citus.shard_count = {SHARDS}"));
        url
    }

    /// Runs SQL in this database on each worker.
    pub fn on_workers(&self, url: &str, sql: &str) -> Vec<String> {
        let (_, name) = url.rsplit_once('/').expect("an address ends in a name");
        let (scheme, _) = self.coordinator.rsplit_once('@').expect("CITUS_URL has a user");
        let addresses =
            self.workers.iter().map(|(host, port)| format!("{scheme}@{host}:{port}/{name}"));
        addresses.map(|address| run(&address, sql)).collect()
    }
}

fn run(url: &str, sql: &str) -> String {
    psql(url, sql).unwrap_or_else(|problem| panic!("{url}: {problem}"))
}

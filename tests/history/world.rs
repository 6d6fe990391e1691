//! Two processes of the service on servers of the run's own, each behind relays that fail on demand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use test_support::{Citus, Network, Postgres, Redis, Service};
use tokio::task::block_in_place;

use crate::history::Pod;

/// More than anything takes here on a machine that is not busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Processes.
pub(crate) const PODS: usize = 2;

/// Seats of a schedule.
pub(crate) const SEATS: u32 = 16;

/// The most seats of one customer, where there is such a rule.
pub(crate) const CUSTOMER_LIMIT: usize = 4;

/// Variables of every process: timeouts for runs of a minute.
const VARIABLES: [(&str, &str); 9] = [
    ("REPLICAS", "2"),
    ("DB_LOCK_TIMEOUT", "800ms"),
    ("DB_STATEMENT_TIMEOUT", "1500ms"),
    ("DB_TRANSACTION_TIMEOUT", "3s"),
    ("REQUEST_TIMEOUT", "4s"),
    ("SEAT_LOCK_TIMEOUT", "6s"),
    ("SWEEP_INTERVAL", "200ms"),
    ("OUTAGE_GRACE", "1s"),
    ("AUDIT_INTERVAL", "3s"),
];

/// A place for a process, with a network of its own.
struct Place {
    /// The process, and which one in this place it is. Each has an address of its own, so that no request for one
    /// reaches the next.
    service: Mutex<(Arc<Service>, u32)>,
    network: Network,
}

/// Everything that runs.
pub(crate) struct World {
    places: Vec<Place>,
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    database: String,
    program: PathBuf,
    /// The first has a limit per customer.
    pub(crate) schedules: Vec<i64>,
    counters: Mutex<BTreeMap<String, u64>>,
}

impl World {
    /// Starts it all; `program` is the service.
    pub(crate) async fn start(program: &Path) -> Self {
        let (postgres, redis) =
            block_in_place(|| (Postgres::start(&[("max_connections", "100")]), Redis::start(&[])));
        let cluster = Citus::given();
        let database = block_in_place(|| {
            cluster.map_or_else(|| postgres.create_database(), Citus::create_database)
        });
        let port = cluster.map_or_else(|| postgres.port(), Citus::port);
        let mut places = Vec::new();
        for _ in 0..PODS {
            let network = Network::to_port(port, &redis);
            let service = start(program, &network, &database).await;
            places.push(Place { service: Mutex::new((service, 1)), network });
        }
        let counters = Mutex::default();
        let (program, schedules) = (program.to_owned(), Vec::new());
        let mut world = Self { places, postgres, redis, database, program, schedules, counters };
        world.enter_schedules().await;
        world
    }

    /// The address of the database, without a relay.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Which process is at a place now.
    pub(crate) fn pod(&self, place: usize) -> (Pod, Arc<Service>) {
        let (service, start) = self.places[place].service.lock().unwrap().clone();
        (Pod { place, start }, service)
    }

    /// The network of a process.
    pub(crate) fn network(&self, place: usize) -> &Network {
        &self.places[place].network
    }

    /// Kills a process (SIGKILL) after reading its counters.
    pub(crate) async fn kill_pod(&self, place: usize) {
        self.read_counters(place).await;
        block_in_place(|| self.pod(place).1.process().kill());
    }

    /// Starts a process and waits until it is ready.
    pub(crate) async fn start_pod(&self, place: usize) {
        let here = &self.places[place];
        let next = start(&self.program, &here.network, &self.database).await;
        let mut service = here.service.lock().unwrap();
        *service = (next, service.1 + 1);
    }

    async fn enter_schedules(&mut self) {
        let (_, service) = self.pod(0);
        for number in 0..4 {
            let rules = match number {
                0 => json!({"max_seats_per_customer": CUSTOMER_LIMIT}),
                _ => json!({}),
            };
            let id = service.client().schedule(&[("A", 1, SEATS)], rules).await;
            self.schedules.push(id.parse().unwrap());
        }
    }

    /// Adds a process' counters to those of the processes before it.
    pub(crate) async fn read_counters(&self, place: usize) {
        let (_, service) = self.pod(place);
        let client = service.client();
        let Ok(answer) = client.try_send(client.request(Method::GET, "/metrics")).await else {
            return;
        };
        let mut counters = self.counters.lock().unwrap();
        for line in answer.body.lines().filter(|line| line.starts_with("seatlock_")) {
            let Some((series, value)) = line.rsplit_once(' ') else { continue };
            if let Ok(value) = value.parse::<u64>() {
                *counters.entry(series.to_owned()).or_default() += value;
            }
        }
    }

    /// The sum of a counter over all processes whose counters were read.
    pub(crate) fn counter(&self, series: &str) -> u64 {
        self.counters.lock().unwrap().get(series).copied().unwrap_or(0)
    }

    /// What a process has printed.
    pub(crate) fn output(&self, place: usize) -> String {
        self.pod(place).1.process().output()
    }
}

async fn start(program: &Path, network: &Network, database: &str) -> Arc<Service> {
    let variables = network.variables(database, &VARIABLES);
    Arc::new(Service::start(&[program.to_str().unwrap()], &variables).up().await)
}

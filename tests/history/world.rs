//! Two processes of the service on servers of the run's own, each behind relays that fail on demand.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::json;
use test_support::{Network, Postgres, Process, Redis, until};

use crate::history::Pod;

/// More than anything takes here on a machine that is not busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// Processes.
pub(crate) const PODS: usize = 2;

/// Seats of a schedule.
pub(crate) const SEATS: u32 = 16;

/// The most seats of one customer, where there is such a rule.
pub(crate) const CUSTOMER_LIMIT: usize = 4;

/// A place for a process, with a network of its own.
struct Place {
    process: Mutex<Option<Process>>,
    at: Mutex<(SocketAddr, u32)>,
    network: Network,
}

/// Everything that runs.
pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) redis: Redis,
    places: Vec<Place>,
    database: String,
    program: PathBuf,
    pub(crate) http: reqwest::Client,
    /// The first has a limit per customer.
    pub(crate) schedules: Vec<i64>,
    counters: Mutex<BTreeMap<String, u64>>,
}

impl World {
    /// Starts it all; `program` is the service.
    pub(crate) async fn start(program: &Path) -> Self {
        let (postgres, redis) = tokio::task::block_in_place(|| {
            (Postgres::start(&[("max_connections", "100")]), Redis::start(&[]))
        });
        let database = postgres.create_database();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let place = |_| Place {
            process: Mutex::new(None),
            at: Mutex::new((nowhere, 0)),
            network: Network::to(&postgres, &redis),
        };
        let places = (0..PODS).map(place).collect();
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(64).build();
        let mut world = Self {
            postgres,
            redis,
            places,
            database,
            program: program.to_owned(),
            http: http.unwrap(),
            schedules: Vec::new(),
            counters: Mutex::default(),
        };
        for place in 0..PODS {
            world.start_pod(place).await;
        }
        world.enter_schedules().await;
        world
    }

    /// The address of the database, without a relay.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// Which process is at a place now, and where.
    pub(crate) fn pod(&self, place: usize) -> (Pod, SocketAddr) {
        let (address, start) = *self.places[place].at.lock().unwrap();
        (Pod { place, start }, address)
    }

    /// The network of a process.
    pub(crate) fn network(&self, place: usize) -> &Network {
        &self.places[place].network
    }

    /// Kills a process (SIGKILL) after reading its counters.
    pub(crate) async fn kill_pod(&self, place: usize) {
        self.read_counters(place).await;
        let process = self.places[place].process.lock().unwrap().take();
        tokio::task::block_in_place(|| drop(process));
    }

    /// Starts a process and waits until it is ready.
    pub(crate) async fn start_pod(&self, place: usize) {
        let here = &self.places[place];
        let network = here.network.variables(&self.database);
        let network: Vec<_> = network.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let settings = [
            ("BIND", "127.0.0.1:0"),
            ("LOG_FORMAT", "text"),
            ("REPLICAS", "2"),
            // Timeouts for runs of a minute.
            ("DB_LOCK_TIMEOUT", "800ms"),
            ("DB_STATEMENT_TIMEOUT", "1500ms"),
            ("DB_TRANSACTION_TIMEOUT", "3s"),
            ("REQUEST_TIMEOUT", "4s"),
            ("SEAT_LOCK_TIMEOUT", "6s"),
            ("SWEEP_INTERVAL", "200ms"),
            ("OUTAGE_GRACE", "1s"),
            ("AUDIT_INTERVAL", "3s"),
        ];
        let said = "listening on http://";
        let (process, line) = tokio::task::block_in_place(|| {
            let process = Process::spawn(&self.program, &[&network, &settings[..]].concat());
            let line = process.wait_for_line(|line| line.contains(said), SOON);
            (process, line)
        });
        let address = line.split_once(said).unwrap().1.trim().parse().unwrap();
        *here.process.lock().unwrap() = Some(process);
        until("the process is ready", SOON, async || self.is_ready(address).await).await;
        let mut at = here.at.lock().unwrap();
        *at = (address, at.1 + 1);
    }

    async fn is_ready(&self, address: SocketAddr) -> bool {
        let answer = self.http.get(format!("http://{address}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    async fn enter_schedules(&mut self) {
        let (_, address) = self.pod(0);
        let post = async |path: &str, body| {
            let url = format!("http://{address}/api/v1/{path}");
            let answer = self.http.post(url).json(&body).send().await.unwrap();
            let body: serde_json::Value =
                serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            body["id"].as_str().unwrap().to_owned()
        };
        let event = post("events", json!({"name": "The Tempest"})).await;
        let mut schedules = Vec::new();
        for number in 0..4 {
            let section = json!({"name": "A", "rows": 1, "seats_per_row": SEATS, "price": 1_000});
            let mut body = json!({"starts_at": "2999-01-01T20:00:00Z",
                "seat_plan": {"sections": [section]}});
            if number == 0 {
                body["max_seats_per_customer"] = CUSTOMER_LIMIT.into();
            }
            let id = post(&format!("events/{event}/schedules"), body).await;
            schedules.push(id.parse().unwrap());
        }
        self.schedules = schedules;
    }

    /// Adds a process' counters to those of the processes before it.
    pub(crate) async fn read_counters(&self, place: usize) {
        let (_, address) = self.pod(place);
        let Ok(answer) = self.http.get(format!("http://{address}/metrics")).send().await else {
            return;
        };
        let text = answer.text().await.unwrap_or_default();
        let mut counters = self.counters.lock().unwrap();
        for line in text.lines().filter(|line| line.starts_with("seatlock_")) {
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
        let process = self.places[place].process.lock().unwrap();
        process.as_ref().map(Process::output).unwrap_or_default()
    }
}

//! The load generator of `seatlock bench`. It measures the confirmed bookings per second of a running service. Each
//! request books seats that no other request books.
//!
//! By default it runs a closed loop of connections, each with one request at a time: the result is the throughput of
//! that many connections. With `--phases`, requests are sent at given rates ([`open_loop`]). The reference
//! implementation (`--target reference`) is measured by the same client.

mod http;
mod open_loop;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use http::{Api, Connection};

/// The command line of the measurement.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The address of the service.
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: String,
    /// The number of connections, each with one request at a time; with `--phases`, the largest number.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// The duration of the measurement, in seconds.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// The number of seats of one booking.
    #[arg(long, default_value_t = 2)]
    seats: usize,
    /// The number of schedules over which the bookings are spread, each with 50,000 seats; created for the run.
    #[arg(long, default_value_t = 20)]
    schedules: usize,
    /// Send an Idempotency-Key with every request.
    #[arg(long)]
    keyed: bool,
    /// Send all requests through the queue; measures until the last of them is confirmed.
    #[arg(long, conflicts_with = "target")]
    queued: bool,
    /// Bookings to skip in each schedule, for another run on the same seats.
    #[arg(long, default_value_t = 0)]
    offset: usize,
    /// Instead of a closed loop, phases of requests per second and seconds, one after the other, such as
    /// `3000x10,15000x20,3000x10`.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["keyed", "queued", "seconds"])]
    phases: Vec<open_loop::Phase>,
    /// The kind of service at the address.
    #[arg(long, value_enum, default_value_t = Target::Seatlock)]
    target: Target,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    Seatlock,
    Reference,
}

const ROWS: usize = 500;
const SEATS_PER_ROW: usize = 100;
const SEATS_PER_SCHEDULE: usize = ROWS * SEATS_PER_ROW;

const BOOKINGS: &str = "/api/v1/bookings";

/// How long to wait until the requests that remain in the queue are confirmed.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(120);

/// The time between two checks whether all requests of the queue are confirmed.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Runs the measurement. The result is one JSON document.
///
/// # Errors
/// The first connection or request that failed.
pub fn run(arguments: Arguments) -> io::Result<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let key = std::env::var("ADMIN_API_KEY").ok();
        let api = Api { address: arguments.address.clone(), key };
        let schedules = prepare(&arguments, &api).await?;
        let run = Rc::new(Run::new(arguments, api, schedules));
        match run.arguments.phases.is_empty() {
            true => closed_loop(&run).await,
            false => open_loop::measure(&run).await,
        }
    })
}

/// Creates the schedules, and returns their ids.
async fn prepare(arguments: &Arguments, api: &Api) -> io::Result<Vec<String>> {
    if arguments.target == Target::Reference {
        return Ok((1..=arguments.schedules).map(|id| id.to_string()).collect());
    }
    let mut connection = Connection::open(&api.address).await?;
    let event = api.request("/api/v1/events", Some(r#"{"name":"bench"}"#), "");
    let event = id_of(connection.send(&event).await?)?;
    let schedule = json!({
        "starts_at": "2030-01-01T20:00:00Z",
        "seat_plan": {"sections": [
            {"name": "A", "rows": ROWS, "seats_per_row": SEATS_PER_ROW, "price": 1000},
        ]},
    })
    .to_string();
    let mut schedules = Vec::new();
    for _ in 0..arguments.schedules {
        let path = format!("/api/v1/events/{event}/schedules");
        let request = api.request(&path, Some(&schedule), "");
        schedules.push(id_of(connection.send(&request).await?)?);
    }
    // The layouts are loaded before the measurement, as in a sale that has been announced.
    for id in &schedules {
        let path = format!("/api/v1/schedules/{id}/availability");
        connection.send(&api.request(&path, None, "")).await?;
    }
    Ok(schedules)
}

fn id_of((status, body): (u16, &[u8])) -> io::Result<String> {
    let body: Value = serde_json::from_slice(body)?;
    let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| io::Error::other(format!("status {status}: {body}")))
}

/// The state of a measurement.
struct Run {
    arguments: Arguments,
    api: Api,
    schedules: Vec<String>,
    /// The number of the next booking.
    next: Cell<usize>,
    /// The responses of the closed loop.
    tally: RefCell<Tally>,
}

impl Run {
    fn new(arguments: Arguments, api: Api, schedules: Vec<String>) -> Self {
        Self { arguments, api, schedules, next: Cell::new(0), tally: RefCell::default() }
    }

    /// The body of the next booking; `None` if all seats are used.
    fn next_booking(&self) -> Option<String> {
        self.booking(self.next.replace(self.next.get() + 1))
    }

    /// The body of a booking by its number, for seats that no other booking of the run has.
    fn booking(&self, number: usize) -> Option<String> {
        let Arguments { seats, offset, target, .. } = &self.arguments;
        let count = self.schedules.len().max(1);
        let schedule = self.schedules.get(number % count)?;
        let first = (offset + number / count) * seats;
        if first + seats > SEATS_PER_SCHEDULE {
            return None;
        }
        let positions = first..first + seats;
        Some(match target {
            Target::Seatlock => {
                let label = |at: usize| {
                    format!("\"A-{}-{}\"", at / SEATS_PER_ROW + 1, at % SEATS_PER_ROW + 1)
                };
                let seats = positions.map(label).collect::<Vec<_>>().join(",");
                // A separate customer for each booking, because the queue limits the waiting requests of one customer.
                format!(
                    r#"{{"schedule_id":"{schedule}","seats":[{seats}],"customer_id":"bench-{number}"}}"#
                )
            }
            Target::Reference => {
                let id: usize = schedule.parse().unwrap_or(1);
                let seats: Vec<usize> =
                    positions.map(|at| (id - 1) * SEATS_PER_SCHEDULE + at + 1).collect();
                format!(r#"{{"schedule_id":{id},"seat_ids":{seats:?},"customer_id":"bench"}}"#)
            }
        })
    }

    /// Books on one connection, one request after the other.
    async fn book_until(&self, end: Instant) -> io::Result<()> {
        let mut connection = Connection::open(&self.api.address).await?;
        while Instant::now() < end {
            let number = self.next.get();
            let Some(body) = self.next_booking() else { break };
            let mut headers = String::new();
            if self.arguments.keyed {
                let process = std::process::id();
                headers = format!("idempotency-key: bench-{process:x}-{number}\r\n");
            }
            if self.arguments.queued {
                headers.push_str("prefer: respond-async\r\n");
            }
            let request = self.api.request(BOOKINGS, Some(&body), &headers);
            let sent = Instant::now();
            let (status, _) = connection.send(&request).await?;
            self.tally.borrow_mut().answered(status, sent.elapsed());
        }
        Ok(())
    }

    /// Waits until `accepted` queued bookings are confirmed, at most for [`QUEUE_TIMEOUT`]; returns how many are
    /// confirmed.
    async fn confirmed_in_queue(&self, accepted: u64) -> io::Result<u64> {
        let mut connection = Connection::open(&self.api.address).await?;
        let began = Instant::now();
        loop {
            let mut seats = 0;
            for id in &self.schedules {
                let request = self.api.request(&format!("/api/v1/schedules/{id}"), None, "");
                let (_, body) = connection.send(&request).await?;
                let body: Value = serde_json::from_slice(body)?;
                seats += body.pointer("/counts/booked").and_then(Value::as_u64).unwrap_or(0);
            }
            let confirmed = seats / (self.arguments.seats as u64).max(1);
            if confirmed >= accepted || began.elapsed() > QUEUE_TIMEOUT {
                return Ok(confirmed);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}

/// Each connection sends its next request when the last one is answered.
async fn closed_loop(run: &Rc<Run>) -> io::Result<Value> {
    let arguments = &run.arguments;
    let began = Instant::now();
    let end = began + Duration::from_secs(arguments.seconds);
    let mut connections = JoinSet::new();
    for _ in 0..arguments.connections {
        let run = Rc::clone(run);
        connections.spawn_local(async move { run.book_until(end).await });
    }
    while let Some(ended) = connections.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    let mut tally = run.tally.take();
    let sent_for = began.elapsed();
    let confirmed = match arguments.queued {
        true => run.confirmed_in_queue(tally.count(202)).await?,
        false => tally.count(200),
    };
    let took = began.elapsed();
    let rounded = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
    Ok(json!({
        "target": format!("{:?}", arguments.target).to_lowercase(),
        "connections": arguments.connections,
        "seats_per_booking": arguments.seats,
        "schedules": arguments.schedules,
        "keyed": arguments.keyed,
        "queued": arguments.queued,
        "sent_for_seconds": rounded(sent_for),
        "seconds": rounded(took),
        "confirmed": confirmed,
        "confirmed_per_second": (confirmed as f64 / took.as_secs_f64()).round(),
        "statuses": tally.statuses,
        "latency_ms": tally.latency_ms(),
    }))
}

/// The responses that were received.
#[derive(Debug, Default)]
struct Tally {
    statuses: BTreeMap<u16, u64>,
    latencies_us: Vec<u32>,
}

impl Tally {
    fn answered(&mut self, status: u16, took: Duration) {
        *self.statuses.entry(status).or_default() += 1;
        self.latencies_us.push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
    }

    fn count(&self, status: u16) -> u64 {
        self.statuses.get(&status).copied().unwrap_or(0)
    }

    fn latency_ms(&mut self) -> Value {
        self.latencies_us.sort_unstable();
        let last = self.latencies_us.len().max(1) - 1;
        let percentile = |percent: usize| {
            let at = (self.latencies_us.len() * percent / 100).min(last);
            f64::from(self.latencies_us.get(at).copied().unwrap_or(0)) / 1_000.0
        };
        json!({"p50": percentile(50), "p90": percentile(90), "p99": percentile(99)})
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn no_two_bookings_of_a_run_ask_for_the_same_seat() {
        for target in ["seatlock", "reference"] {
            let Command { arguments } =
                Command::parse_from(["bench", "--schedules", "3", "--target", target]);
            let api = Api { address: String::new(), key: None };
            let schedules = (1..=3).map(|id: u32| id.to_string()).collect();
            let run = Run::new(arguments, api, schedules);
            let mut bodies = HashSet::new();
            while let Some(body) = run.next_booking() {
                assert!(bodies.insert(body));
            }
            assert_eq!(bodies.len(), 3 * SEATS_PER_SCHEDULE / 2);
        }
    }
}

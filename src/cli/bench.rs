//! `seatlock bench`: confirmed bookings per second of a running service, fresh seats for every request.
//!
//! A closed loop of connections, each with one request at a time, so the figure is throughput at that
//! concurrency, not latency under a given load; for that there are rates (`--phases`, [`open_loop`]). The
//! same loop drives the reference implementation (`--target reference`), so that both are measured by the
//! same client.

mod open_loop;
mod queued;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::http_client::{Answer, HttpClient, get, post_json};
use super::{Failed, print};

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct BenchArguments {
    /// Where the service listens.
    #[arg(long, default_value = "127.0.0.1:8080")]
    address: String,
    /// Connections, each with one request at a time; with `--phases` the most there may be.
    #[arg(long, default_value_t = 256)]
    connections: usize,
    /// How long to measure.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Seats of one booking.
    #[arg(long, default_value_t = 2)]
    seats: usize,
    /// Schedules to spread the bookings over, each with 50,000 seats; made for the run.
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
    /// Instead of a closed loop: requests per second and how long, one after the other, such as
    /// `3000x10,15000x20,3000x10`.
    #[arg(long, value_delimiter = ',', conflicts_with_all = ["keyed", "queued", "seconds"])]
    phases: Vec<open_loop::Phase>,
    /// What answers there.
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

/// Counts of one run.
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

pub(crate) fn run(args: BenchArguments) -> Result<(), Failed> {
    let measured = actix_web::rt::System::new().block_on(measure(args));
    print(&format!("{}\n", measured.map_err(|error| Failed::Work(error.to_string()))?))
}

/// Runs the measurement; the result is one JSON object.
async fn measure(args: BenchArguments) -> std::io::Result<Value> {
    let schedules = prepare(&args).await?;
    if !args.phases.is_empty() {
        return open_loop::measure(&args, &schedules).await;
    }
    let args = Arc::new(args);
    let schedules = Arc::new(schedules);
    let next = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let end = began + Duration::from_secs(args.seconds);
    let mut loops = JoinSet::new();
    for _ in 0..args.connections {
        let (args, schedules, next) =
            (Arc::clone(&args), Arc::clone(&schedules), Arc::clone(&next));
        loops.spawn(async move { connection(&args, &schedules, &next, end).await });
    }
    let mut total = Tally::default();
    while let Some(tally) = loops.join_next().await {
        let tally = tally.map_err(std::io::Error::other)??;
        for (status, count) in tally.statuses {
            *total.statuses.entry(status).or_default() += count;
        }
        total.latencies_us.extend(tally.latencies_us);
    }
    let sent_for = began.elapsed();
    let confirmed = match args.queued {
        true => queued::executed(&args, &schedules, total.count(202)).await?,
        false => total.count(200),
    };
    Ok(report(&args, total, confirmed, (sent_for, began.elapsed())))
}

async fn prepare(args: &BenchArguments) -> std::io::Result<Vec<String>> {
    if args.target == Target::Reference {
        return Ok((1..=args.schedules).map(|id| id.to_string()).collect());
    }
    let mut client = HttpClient::connect(&args.address).await?;
    let event =
        made(client.send(&request(args, "/api/v1/events", &json!({"name": "bench"}))).await?)?;
    let body = json!({
        "starts_at": "2030-01-01T20:00:00Z",
        "seat_plan": {"sections": [
            {"name": "A", "rows": ROWS, "seats_per_row": SEATS_PER_ROW, "price": 1000},
        ]},
    });
    let mut schedules = Vec::new();
    for _ in 0..args.schedules {
        let path = format!("/api/v1/events/{event}/schedules");
        schedules.push(made(client.send(&request(args, &path, &body)).await?)?);
    }
    // The layouts are loaded before the measurement, as in a sale that has been announced.
    for id in &schedules {
        let path = format!("/api/v1/schedules/{id}/availability");
        client.send(&get(&args.address, &path, &headers())).await?;
    }
    Ok(schedules)
}

fn made(answer: Answer) -> std::io::Result<String> {
    let body: Value = serde_json::from_slice(&answer.body)?;
    let id = body.get("id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| std::io::Error::other(format!("status {}: {body}", answer.status)))
}

/// The key of the installation, if the environment has one.
fn headers() -> String {
    match std::env::var("ADMIN_API_KEY") {
        Ok(key) => format!("Authorization: Bearer {key}\r\n"),
        Err(_) => String::new(),
    }
}

fn request(args: &BenchArguments, path: &str, body: &Value) -> Vec<u8> {
    post_json(&args.address, path, &headers(), &body.to_string())
}

async fn connection(
    args: &BenchArguments,
    schedules: &[String],
    next: &AtomicU64,
    end: Instant,
) -> std::io::Result<Tally> {
    let mut client = HttpClient::connect(&args.address).await?;
    let headers = headers();
    let mut tally = Tally::default();
    while Instant::now() < end {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(body) = booking(args, schedules, usize::try_from(number).unwrap_or(usize::MAX))
        else {
            break;
        };
        let mut headers = headers.clone();
        if args.keyed {
            headers += &format!("Idempotency-Key: bench-{:x}-{number}\r\n", std::process::id());
        }
        if args.queued {
            headers += "Prefer: respond-async\r\n";
        }
        let request = post_json(&args.address, "/api/v1/bookings", &headers, &body);
        let sent = Instant::now();
        let answer = client.send(&request).await?;
        tally.answered(answer.status, sent.elapsed());
    }
    Ok(tally)
}

/// The body of the n-th booking: seats that no other booking of the run asks for.
fn booking(args: &BenchArguments, schedules: &[String], number: usize) -> Option<String> {
    let count = schedules.len().max(1);
    let schedule = schedules.get(number % count)?;
    let first = (args.offset + number / count) * args.seats;
    if first + args.seats > SEATS_PER_SCHEDULE {
        return None;
    }
    let places = first..first + args.seats;
    Some(match args.target {
        Target::Seatlock => {
            let label =
                |at: usize| format!("A-{}-{}", at / SEATS_PER_ROW + 1, at % SEATS_PER_ROW + 1);
            let seats: Vec<String> = places.map(label).collect();
            // A queue lets only so many requests of one customer wait.
            let customer = format!("bench-{number}");
            json!({"schedule_id": schedule, "seats": seats, "customer_id": customer}).to_string()
        }
        Target::Reference => {
            let id: usize = schedule.parse().unwrap_or(1);
            let seats: Vec<usize> =
                places.map(|at| (id - 1) * SEATS_PER_SCHEDULE + at + 1).collect();
            json!({"schedule_id": id, "seat_ids": seats, "customer_id": "bench"}).to_string()
        }
    })
}

/// `took` is the time until the last request was sent, and until the last was confirmed.
fn report(
    args: &BenchArguments,
    mut tally: Tally,
    confirmed: u64,
    (sent_for, took): (Duration, Duration),
) -> Value {
    let rounded = |time: Duration| (time.as_secs_f64() * 100.0).round() / 100.0;
    let per_second = confirmed as f64 / took.as_secs_f64();
    json!({
        "target": format!("{:?}", args.target).to_lowercase(),
        "connections": args.connections,
        "seats_per_booking": args.seats,
        "schedules": args.schedules,
        "keyed": args.keyed,
        "queued": args.queued,
        "sent_for_seconds": rounded(sent_for),
        "seconds": rounded(took),
        "confirmed": confirmed,
        "confirmed_per_second": per_second.round(),
        "statuses": tally.statuses,
        "latency_ms": tally.latency_ms(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn args(target: Target) -> BenchArguments {
        BenchArguments {
            address: String::new(),
            connections: 1,
            seconds: 1,
            seats: 2,
            schedules: 3,
            keyed: false,
            queued: false,
            offset: 0,
            phases: Vec::new(),
            target,
        }
    }

    #[test]
    fn no_two_bookings_of_a_run_ask_for_the_same_seat() {
        for target in [Target::Seatlock, Target::Reference] {
            let schedules: Vec<String> = (1..=3).map(|id: u32| id.to_string()).collect();
            let mut bodies = HashSet::new();
            let mut number = 0;
            while let Some(body) = booking(&args(target), &schedules, number) {
                assert!(bodies.insert(body));
                number += 1;
            }
            assert_eq!(number, 3 * SEATS_PER_SCHEDULE / 2);
        }
    }
}

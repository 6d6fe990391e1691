//! Bookings that are sent at a given rate, whether or not earlier ones are answered, as customers send them. A closed
//! loop cannot show overload, because it slows down with the service.
//!
//! Each rate is kept for some seconds; then the next rate follows. Latency counts from the time at which a request was
//! due.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::http::{ApiRequest, Connection};
use super::{BOOKINGS, Run, Tally};

/// The time between two checks for requests that are due.
const TICK: Duration = Duration::from_millis(2);

/// How long to wait for the last answers; later ones count as not answered.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(20);

/// A rate and its duration: `5000x20` is 5,000 requests per second for 20 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase {
    per_second: u32,
    seconds: u32,
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('x').and_then(|(rate, seconds)| {
            Some(Self { per_second: rate.parse().ok()?, seconds: seconds.parse().ok()? })
        });
        let sensible = numbers.filter(|phase| phase.per_second > 0 && phase.seconds > 0);
        sensible.ok_or_else(|| "give requests per second x seconds, such as 5000x20".to_owned())
    }
}

/// Why a request was not answered.
enum Failure {
    BrokenConnection,
    NoConnectionFree,
}

/// The results of the requests of one phase.
#[derive(Debug, Default)]
struct Outcome {
    tally: Tally,
    broken_connections: u64,
    no_connection_free: u64,
    /// Confirmed bookings by the second of the phase in which the request was due.
    confirmed: Vec<u64>,
}

impl Outcome {
    fn add(&mut self, result: Result<u16, Failure>, due: Instant, second: usize) {
        match result {
            Err(Failure::BrokenConnection) => self.broken_connections += 1,
            Err(Failure::NoConnectionFree) => self.no_connection_free += 1,
            Ok(status) => {
                self.tally.answered(status, due.elapsed());
                if status == 200 {
                    self.confirmed.resize(self.confirmed.len().max(second + 1), 0);
                    if let Some(count) = self.confirmed.get_mut(second) {
                        *count += 1;
                    }
                }
            }
        }
    }
}

/// Connections that are not in use, and how many are open in all.
#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

/// Runs the phases one after the other; returns one JSON object for each.
pub(crate) async fn measure(run: &Rc<Run>) -> io::Result<Value> {
    let pool = Rc::new(RefCell::new(Pool::default()));
    let mut requests = JoinSet::new();
    let mut outcomes = Vec::new();
    for phase in &run.arguments.phases {
        let outcome = Rc::new(RefCell::new(Outcome::default()));
        outcomes.push(Rc::clone(&outcome));
        let began = Instant::now();
        let end = began + Duration::from_secs(phase.seconds.into());
        let gap = Duration::from_secs(1) / phase.per_second;
        let mut due = began;
        while due < end {
            while due <= Instant::now() && due < end {
                let Some(body) = run.next_booking() else { return Ok(report(run, &outcomes)) };
                let request = run.api.request(BOOKINGS, Some(&body), "");
                let second = usize::try_from((due - began).as_secs()).unwrap_or(0);
                let (run, pool, outcome) = (Rc::clone(run), Rc::clone(&pool), Rc::clone(&outcome));
                requests.spawn_local(async move {
                    let result = book(&run, &pool, request).await;
                    outcome.borrow_mut().add(result, due, second);
                });
                due += gap;
            }
            while requests.try_join_next().is_some() {}
            tokio::time::sleep(TICK).await;
        }
    }
    let last = async { while requests.join_next().await.is_some() {} };
    drop(tokio::time::timeout(LAST_ANSWERS_TIMEOUT, last).await);
    Ok(report(run, &outcomes))
}

/// Books on an idle connection, or on a new one if the limit of connections permits; returns the status.
async fn book(run: &Run, pool: &RefCell<Pool>, request: ApiRequest) -> Result<u16, Failure> {
    let idle = pool.borrow_mut().idle.pop();
    if idle.is_none() {
        if pool.borrow().open >= run.arguments.connections {
            return Err(Failure::NoConnectionFree);
        }
        pool.borrow_mut().open += 1;
    }
    let sent = send(&run.api.address, idle, request).await;
    let mut pool = pool.borrow_mut();
    match sent {
        Ok((connection, status)) => {
            pool.idle.push(connection);
            Ok(status)
        }
        Err(_) => {
            pool.open -= 1;
            Err(Failure::BrokenConnection)
        }
    }
}

/// Sends on an idle connection or on a new one; returns the connection and the status.
async fn send(
    address: &str,
    idle: Option<Connection>,
    request: ApiRequest,
) -> io::Result<(Connection, u16)> {
    if let Some(mut connection) = idle
        && let Ok((status, _)) = connection.send(&request).await
    {
        return Ok((connection, status));
    }
    // The server may have closed the idle connection.
    let mut connection = Connection::open(address).await?;
    let (status, _) = connection.send(&request).await?;
    Ok((connection, status))
}

fn report(run: &Run, outcomes: &[Rc<RefCell<Outcome>>]) -> Value {
    let phases = run.arguments.phases.iter().zip(outcomes);
    phases
        .map(|(phase, outcome)| {
            let mut outcome = outcome.borrow_mut();
            let confirmed: u64 = outcome.confirmed.iter().sum();
            json!({
                "offered_per_second": phase.per_second,
                "seconds": phase.seconds,
                "confirmed_per_second": confirmed / u64::from(phase.seconds),
                "confirmed_by_second": outcome.confirmed,
                "statuses": outcome.tally.statuses,
                "broken_connections": outcome.broken_connections,
                "no_connection_free": outcome.no_connection_free,
                "latency_ms": outcome.tally.latency_ms(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_a_rate_and_how_long_it_is_kept() {
        assert_eq!("5000x20".parse(), Ok(Phase { per_second: 5_000, seconds: 20 }));
        for wrong in ["", "5000", "x", "0x5", "5x0", "5x5x5", "-1x5"] {
            assert!(wrong.parse::<Phase>().is_err(), "{wrong}");
        }
    }
}

//! Bookings that arrive at a given rate whether or not earlier ones are answered, as customers do: what a
//! closed loop cannot show, since it slows down with the service.
//!
//! A rate is kept for some seconds, then the next one. Latency counts from when a request was due, not from
//! when a connection was free for it.

use std::cell::RefCell;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};

use super::{BenchArguments, Tally, booking, headers};
use crate::cli::http_client::{HttpClient, post_json};

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(2);

/// How long the last answers are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(20);

/// A rate and how long to keep it: `5000x20` is 5,000 requests a second for 20 seconds.
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

/// What the requests of one phase came to.
#[derive(Debug, Default)]
struct Outcome {
    tally: Tally,
    /// Connections that failed, and requests for which none was free.
    broken: u64,
    crowded: u64,
    /// Confirmed by the second of the phase in which the request was due.
    confirmed: Vec<u64>,
}

/// The connections that are not in use, and what has come of the requests.
struct Field {
    idle: Vec<HttpClient>,
    open: usize,
    outcomes: Vec<Outcome>,
}

/// Runs the phases one after the other; one JSON object for each.
pub(super) async fn measure(args: &BenchArguments, schedules: &[String]) -> std::io::Result<Value> {
    let outcomes = args.phases.iter().map(|_| Outcome::default()).collect();
    let field = Rc::new(RefCell::new(Field { idle: Vec::new(), open: 0, outcomes }));
    LocalSet::new().run_until(arrivals(args, schedules, &field)).await;
    let mut field = field.borrow_mut();
    let reports = args.phases.iter().zip(&mut field.outcomes);
    Ok(reports.map(|(phase, outcome)| report(*phase, outcome)).collect())
}

async fn arrivals(args: &BenchArguments, schedules: &[String], field: &Rc<RefCell<Field>>) {
    let mut requests = JoinSet::new();
    let mut number = 0;
    for (place, phase) in args.phases.iter().enumerate() {
        let began = Instant::now();
        let length = Duration::from_secs(phase.seconds.into());
        let gap = Duration::from_secs(1) / phase.per_second;
        let mut due = began;
        while due < began + length {
            while due <= Instant::now() && due < began + length {
                let Some(body) = booking(args, schedules, number) else { return };
                number += 1;
                let request = post_json(&args.address, "/api/v1/bookings", &headers(), &body);
                let second = usize::try_from((due - began).as_secs()).unwrap_or(0);
                let (field, address) = (Rc::clone(field), args.address.clone());
                let limit = args.connections;
                requests.spawn_local(async move {
                    one(&field, &address, &request, limit, (place, second, due)).await;
                });
                due += gap;
            }
            while requests.try_join_next().is_some() {}
            tokio::time::sleep(TICK).await;
        }
    }
    let last = async { while requests.join_next().await.is_some() {} };
    // Who is not answered by then counts as not answered.
    drop(tokio::time::timeout(LAST_ANSWERS, last).await);
}

async fn one(
    field: &RefCell<Field>,
    address: &str,
    request: &[u8],
    limit: usize,
    (place, second, due): (usize, usize, Instant),
) {
    let idle = field.borrow_mut().idle.pop();
    let reused = idle.is_some();
    let client = match idle {
        Some(client) => Ok(client),
        None if field.borrow().open >= limit => {
            note(field, place, |outcome| outcome.crowded += 1);
            return;
        }
        None => {
            field.borrow_mut().open += 1;
            HttpClient::connect(address).await
        }
    };
    let answered = match client {
        Ok(client) => match exchange(client, request).await {
            // The server may have closed it for having been idle.
            Err(_) if reused => match HttpClient::connect(address).await {
                Ok(client) => exchange(client, request).await,
                Err(error) => Err(error),
            },
            answered => answered,
        },
        Err(error) => Err(error),
    };
    match answered {
        Ok((client, status)) => {
            field.borrow_mut().idle.push(client);
            note(field, place, |outcome| {
                outcome.tally.answered(status, due.elapsed());
                if status == 200 {
                    if outcome.confirmed.len() <= second {
                        outcome.confirmed.resize(second + 1, 0);
                    }
                    if let Some(count) = outcome.confirmed.get_mut(second) {
                        *count += 1;
                    }
                }
            });
        }
        Err(_) => {
            field.borrow_mut().open -= 1;
            note(field, place, |outcome| outcome.broken += 1);
        }
    }
}

async fn exchange(mut client: HttpClient, request: &[u8]) -> std::io::Result<(HttpClient, u16)> {
    let answer = client.send(request).await?;
    Ok((client, answer.status))
}

fn note(field: &RefCell<Field>, place: usize, change: impl FnOnce(&mut Outcome)) {
    if let Some(outcome) = field.borrow_mut().outcomes.get_mut(place) {
        change(outcome);
    }
}

fn report(phase: Phase, outcome: &mut Outcome) -> Value {
    let confirmed: u64 = outcome.confirmed.iter().sum();
    json!({
        "offered_per_second": phase.per_second,
        "seconds": phase.seconds,
        "confirmed_per_second": confirmed / u64::from(phase.seconds),
        "confirmed_by_second": outcome.confirmed,
        "statuses": outcome.tally.statuses,
        "broken_connections": outcome.broken,
        "no_connection_free": outcome.crowded,
        "latency_ms": outcome.tally.latency_ms(),
    })
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

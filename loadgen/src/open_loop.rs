//! Customers who come at a given rate, whether or not earlier ones are answered. A closed loop cannot show overload,
//! because it slows down with the service.
//!
//! Each rate is kept for some seconds; then the next rate follows. Latency counts from the time at which a customer was
//! due, so that a request that is sent late counts as late.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::str::FromStr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::http::Connection;
use crate::on_sale;
use crate::report::{Measured, Row};
use crate::sale::Order;
use crate::tally::{Kind, Kinds, Recorder};
use crate::{Run, Scenario};

/// The time between two checks for customers that are due.
const TICK: Duration = Duration::from_millis(2);

/// How long to wait for the last answers; later ones count as not answered.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(20);

/// A rate and its duration: `5000x20` is 5,000 customers per second for 20 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phase {
    per_second: u32,
    seconds: u32,
}

impl Phase {
    pub(crate) const fn new(per_second: u32, seconds: u32) -> Self {
        Self { per_second, seconds }
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text
            .split_once('x')
            .and_then(|(rate, seconds)| Some(Self::new(rate.parse().ok()?, seconds.parse().ok()?)));
        let sensible = numbers.filter(|phase| phase.per_second > 0 && phase.seconds > 0);
        sensible.ok_or_else(|| "give requests per second x seconds, such as 5000x20".to_owned())
    }
}

/// Why a customer got no answer.
enum Failure {
    BrokenConnection,
    NoConnectionFree,
}

/// What happened to the customers of one phase.
struct Outcome {
    recorder: Recorder,
    counts: RefCell<Counts>,
}

#[derive(Default)]
struct Counts {
    broken_connections: u64,
    no_connection_free: u64,
    /// Confirmed bookings by the second of the phase in which the customer was due.
    confirmed: Vec<u64>,
}

impl Outcome {
    fn add(&self, result: Result<u16, Failure>, second: usize) {
        let mut counts = self.counts.borrow_mut();
        match result {
            Err(failure) => {
                self.recorder.unanswered();
                match failure {
                    Failure::BrokenConnection => counts.broken_connections += 1,
                    Failure::NoConnectionFree => counts.no_connection_free += 1,
                }
            }
            Ok(200) => {
                let seconds = counts.confirmed.len().max(second + 1);
                counts.confirmed.resize(seconds, 0);
                if let Some(count) = counts.confirmed.get_mut(second) {
                    *count += 1;
                }
            }
            Ok(_) => {}
        }
    }
}

/// What a customer wants.
enum Wish {
    /// The seats of an order.
    Order(Order),
    /// Some of the seats that are free on the map.
    FreeSeats { customer: usize },
}

/// Connections that are not in use, and how many are open in all.
#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    open: usize,
}

/// Runs the phases one after the other.
pub(crate) async fn measure(run: &Rc<Run>) -> io::Result<Measured> {
    let pool = Rc::new(RefCell::new(Pool::default()));
    let mut customers = JoinSet::new();
    let mut number = 0;
    let mut outcomes = Vec::new();
    'phases: for phase in &run.settings.phases {
        let counts = RefCell::default();
        let outcome = Rc::new(Outcome { recorder: Recorder::new(&run.progress), counts });
        outcomes.push((*phase, Rc::clone(&outcome)));
        let began = Instant::now();
        let end = began + Duration::from_secs(phase.seconds.into());
        let gap = Duration::from_secs(1) / phase.per_second;
        let mut due = began;
        while due < end {
            while due <= Instant::now() && due < end {
                let Some(wish) = wish(run, number) else { break 'phases };
                number += 1;
                let second = usize::try_from((due - began).as_secs()).unwrap_or(0);
                let (run, pool, outcome) = (Rc::clone(run), Rc::clone(&pool), Rc::clone(&outcome));
                customers.spawn_local(async move {
                    let result = serve(&run, &pool, &outcome.recorder, &wish, due).await;
                    outcome.add(result, second);
                });
                due += gap;
            }
            while customers.try_join_next().is_some() {}
            tokio::time::sleep(TICK).await;
        }
    }
    let last = async { while customers.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(LAST_ANSWERS_TIMEOUT, last).await;
    // The outcome of a request without an answer is not known; its task enters that when it is dropped.
    customers.shutdown().await;
    Ok(measured(run, &outcomes))
}

/// The wish of the next customer; `None` if all seats are used.
fn wish(run: &Run, number: usize) -> Option<Wish> {
    match run.settings.scenario {
        Scenario::OnSale => Some(Wish::FreeSeats { customer: number }),
        _ => run.sale.next_order().map(Wish::Order),
    }
}

/// Serves a customer on an idle connection, or on a new one if the limit of connections permits; returns the status.
async fn serve(
    run: &Run,
    pool: &RefCell<Pool>,
    recorder: &Recorder,
    wish: &Wish,
    due: Instant,
) -> Result<u16, Failure> {
    let idle = pool.borrow_mut().idle.pop();
    if let Some(mut connection) = idle {
        if let Ok(status) = fulfil(run, &mut connection, recorder, wish, due).await {
            pool.borrow_mut().idle.push(connection);
            return Ok(status);
        }
        // The server may have closed the idle connection.
        pool.borrow_mut().open -= 1;
    }
    if pool.borrow().open >= run.settings.connections {
        return Err(Failure::NoConnectionFree);
    }
    pool.borrow_mut().open += 1;
    let served = async {
        let mut connection = run.api.connect().await?;
        let status = fulfil(run, &mut connection, recorder, wish, due).await?;
        Ok::<_, io::Error>((connection, status))
    };
    match served.await {
        Ok((connection, status)) => {
            pool.borrow_mut().idle.push(connection);
            Ok(status)
        }
        Err(_) => {
            pool.borrow_mut().open -= 1;
            Err(Failure::BrokenConnection)
        }
    }
}

async fn fulfil(
    run: &Run,
    connection: &mut Connection,
    recorder: &Recorder,
    wish: &Wish,
    due: Instant,
) -> io::Result<u16> {
    match wish {
        Wish::Order(order) => run.buy(connection, order, due, recorder).await,
        Wish::FreeSeats { customer } => {
            on_sale::buy_free_seats(run, connection, *customer, due, recorder).await
        }
    }
}

fn measured(run: &Run, outcomes: &[(Phase, Rc<Outcome>)]) -> Measured {
    let mut measured = Measured::new(&run.settings);
    let mut kinds = Kinds::new();
    let mut documents = Vec::new();
    let mut seconds = 0.0;
    for (phase, outcome) in outcomes {
        seconds += f64::from(phase.seconds);
        let mut by_kind = outcome.recorder.by_kind();
        for (kind, tally) in &by_kind {
            kinds.entry(*kind).or_default().add(tally);
        }
        let total = outcome.recorder.total();
        // A customer of an on-sale sends several requests; the phase is about customers.
        let mut tally = by_kind.remove(&Kind::Customer).unwrap_or_else(|| total.clone());
        tally.unanswered = total.unanswered;
        let counts = outcome.counts.borrow();
        let confirmed: u64 = counts.confirmed.iter().sum();
        let name = format!("{} a second, {} s", phase.per_second, phase.seconds);
        let took = f64::from(phase.seconds);
        let row = Row::new(name, &tally, took);
        measured.rows.push(row.with_bookings(confirmed as f64 / took));
        documents.push(json!({
            "offered_per_second": phase.per_second,
            "seconds": phase.seconds,
            "confirmed_per_second": confirmed / u64::from(phase.seconds),
            "confirmed_by_second": counts.confirmed,
            "statuses": tally.statuses,
            "broken_connections": counts.broken_connections,
            "no_connection_free": counts.no_connection_free,
            "latency_ms": tally.latency_ms(),
        }));
    }
    measured.document.insert("phases".to_owned(), Value::Array(documents));
    measured.add_kinds(&kinds, seconds);
    measured.notes.push(
        "open loop: customers come when they are due, whether or not earlier ones are answered; \
         latency counts from the time at which a customer was due"
            .to_owned(),
    );
    measured
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phase_is_a_rate_and_how_long_it_is_kept() {
        assert_eq!("5000x20".parse(), Ok(Phase::new(5_000, 20)));
        for wrong in ["", "5000", "x", "0x5", "5x0", "5x5x5", "-1x5"] {
            assert!(wrong.parse::<Phase>().is_err(), "{wrong}");
        }
    }
}

//! A stampede: all customers ask for the same seat at the same moment. Exactly one of them must get it, and all must get
//! a whole answer. With `--sold` the seat is sold before, and none of them may get it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::bodies::ProblemBody;
use crate::buying::BOOKINGS;
use crate::http::Connection;
use crate::report::{Measured, Row, counted, number};
use crate::sale::{Order, label};
use crate::tally::Tally;
use crate::{Run, Settings};

/// The seats that are rushed for, one after the other.
const SEATS: usize = 5;

/// The most connections that are being opened: a server has a bound on those that it has not accepted.
const OPENED_AT_A_TIME: usize = 256;

/// The longest time to wait for the answers about one seat.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The answers about all seats.
#[derive(Default)]
struct Answers {
    winners: Tally,
    losers: Tally,
    /// The refusals by their code.
    codes: BTreeMap<String, u64>,
}

/// One seat and the customers who want it.
struct Rush {
    seat: usize,
    due: Instant,
    /// Customers who have not asked yet.
    waiting: Cell<usize>,
    answers: RefCell<Answers>,
}

/// Opens the connections, and rushes for one seat after the other.
pub(crate) async fn measure(run: &Rc<Run>) -> io::Result<Measured> {
    let Settings { name, customers, .. } = &run.settings;
    let mut all = Answers::default();
    let mut seconds = 0.0;
    for seat in 0..SEATS {
        if run.settings.sold {
            sell(run, seat).await?;
        }
        run.progress.say(format!("{name}: opening connections"));
        // New ones for each seat: a server closes connections that are idle.
        let connections = open(run).await?;
        let rush = Rc::new(Rush {
            seat,
            due: Instant::now(),
            waiting: Cell::new(*customers),
            answers: RefCell::default(),
        });
        let name = format!("{name}, seat {} of {SEATS}", seat + 1);
        let asking = ask_on_all(run, &rush, connections);
        run.progress.during(&name, asking).await;
        seconds += rush.due.elapsed().as_secs_f64();
        let answers = rush.answers.take();
        check(run, seat, &answers);
        all.winners.add(&answers.winners);
        all.losers.add(&answers.losers);
        for (code, count) in answers.codes {
            *all.codes.entry(code).or_default() += count;
        }
    }
    Ok(measured(run, &all, seconds))
}

/// Sells a seat before the rush.
async fn sell(run: &Run, seat: usize) -> io::Result<()> {
    let seats = seat..seat + 1;
    let order = Order { number: 0, schedule: 0, seats, customer: "bench-first".to_owned() };
    let mut connection = run.api.connect().await?;
    let request = run.api.request(BOOKINGS, Some(&run.sale.body(&order)), "");
    let answer = connection.send(&request).await?;
    run.ledger.borrow_mut().answered(&order, answer);
    match answer.status {
        200 => Ok(()),
        status => {
            Err(io::Error::other(format!("seat {} could not be sold: {status}", label(seat))))
        }
    }
}

/// Opens a connection for each customer, unless the settings have fewer.
async fn open(run: &Rc<Run>) -> io::Result<Vec<Connection>> {
    let mut open = Vec::new();
    let wanted = run.settings.connections.min(run.settings.customers);
    while open.len() < wanted {
        let mut opening = JoinSet::new();
        for _ in 0..OPENED_AT_A_TIME.min(wanted - open.len()) {
            let run = Rc::clone(run);
            opening.spawn_local(async move { run.api.connect().await });
        }
        while let Some(opened) = opening.join_next().await {
            open.push(opened.map_err(io::Error::other)??);
        }
    }
    Ok(open)
}

/// Lets all customers ask. A customer is unanswered after [`TIMEOUT`].
async fn ask_on_all(run: &Rc<Run>, rush: &Rc<Rush>, connections: Vec<Connection>) {
    let mut asking = JoinSet::new();
    for connection in connections {
        let (run, rush) = (Rc::clone(run), Rc::clone(rush));
        asking.spawn_local(async move { ask(&run, &rush, connection).await });
    }
    let all = async { while asking.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(TIMEOUT, all).await;
    let mut answers = rush.answers.borrow_mut();
    let Answers { winners, losers, .. } = &mut *answers;
    let answered = [&*winners, losers].map(|tally| tally.statuses.values().sum::<u64>());
    losers.unanswered = run.settings.customers as u64 - answered.iter().sum::<u64>();
}

/// Asks for the seat for one waiting customer after the other.
async fn ask(run: &Run, rush: &Rush, mut connection: Connection) -> io::Result<()> {
    while let Some(number) = rush.waiting.get().checked_sub(1) {
        rush.waiting.set(number);
        let seats = rush.seat..rush.seat + 1;
        let order = Order { number, schedule: 0, seats, customer: format!("bench-{number}") };
        let request = run.api.request(BOOKINGS, Some(&run.sale.body(&order)), "");
        // The server closes a connection that has sent nothing for some seconds, perhaps while others were being opened.
        if connection.is_closed() {
            connection = run.api.connect().await?;
        }
        let answer = connection.send(&request).await?;
        let took = rush.due.elapsed();
        run.progress.answered(answer.status, took);
        run.ledger.borrow_mut().answered(&order, answer);
        let mut answers = rush.answers.borrow_mut();
        if answer.status == 200 {
            answers.winners.answered(answer.status, took);
        } else {
            answers.losers.answered(answer.status, took);
            let code = answer.json::<ProblemBody<'_>>().map_or("not a problem", |body| body.code);
            *answers.codes.entry(code.to_owned()).or_default() += 1;
        }
    }
    Ok(())
}

/// Adds a violation if no customer got a seat that was free, or if a customer got no answer. The ledger finds a second
/// winner.
fn check(run: &Run, seat: usize, answers: &Answers) {
    let mut ledger = run.ledger.borrow_mut();
    let (seat, unanswered) = (label(seat), answers.losers.unanswered);
    if answers.winners.succeeded() == 0 && !run.settings.sold {
        ledger.violations.add(|| format!("no customer got seat {seat}"));
    }
    if unanswered > 0 {
        let customers = run.settings.customers;
        ledger.violations.add(|| {
            format!("{unanswered} of {customers} customers for seat {seat} got no whole answer")
        });
    }
}

fn measured(run: &Run, all: &Answers, seconds: f64) -> Measured {
    let Answers { winners, losers, codes } = all;
    let customers = run.settings.customers;
    let refused_per_second = losers.refused() as f64 / seconds;
    let mut measured = Measured::new(&run.settings);
    measured.rows.extend([
        Row::new(format!("{} winners", number(winners.succeeded() as f64)), winners, seconds),
        Row::new(format!("{} losers", number(losers.refused() as f64)), losers, seconds)
            .with_refusals(refused_per_second),
    ]);
    measured.notes.push(format!(
        "{} for each of {SEATS} {}seats, due at the same moment, from which latency counts",
        counted(customers, "customer"),
        if run.settings.sold { "sold " } else { "" },
    ));
    let document = json!({
        "customers": customers,
        "seats": SEATS,
        "sold": run.settings.sold,
        "seconds": seconds,
        "winners": winners.succeeded(),
        "losers": losers.refused(),
        "losers_per_second": refused_per_second.round(),
        "unanswered": losers.unanswered,
        "statuses": losers.statuses,
        "codes": codes,
        "latency_ms": losers.latency_ms(),
    });
    measured.document.extend(document.as_object().cloned().unwrap_or_default());
    measured
}

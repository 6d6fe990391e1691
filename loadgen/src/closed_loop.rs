//! Bookings by a fixed number of connections, each of which sends its next request when the last one is answered.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::report::{Measured, Row};
use crate::sale::Order;
use crate::tally::Recorder;
use crate::{Run, Settings};

/// How long to wait until the requests that remain in the queue are confirmed.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(120);

/// The time between two checks whether all requests of the queue are confirmed.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Sells until the time is over or all seats are used.
pub(crate) async fn measure(run: &Rc<Run>) -> io::Result<Measured> {
    let Settings { name, seconds, queued, .. } = &run.settings;
    let recorder = Rc::new(Recorder::new(&run.progress));
    let began = Instant::now();
    let duration = Duration::from_secs(*seconds);
    let seller = Rc::clone(run);
    let orders = std::iter::from_fn(move || seller.sale.next_order());
    buy_all(run, orders, Some(began + duration), &recorder).await?;
    let total = recorder.total();
    let sent_for = began.elapsed();
    let confirmed = match queued {
        true => confirmed_in_queue(run, total.count(202)).await?,
        false => total.count(200),
    };
    let took = began.elapsed().as_secs_f64();
    let mut measured = Measured::new(&run.settings);
    let row = Row::new(name.clone(), &total, took);
    measured.rows.push(row.with_bookings(confirmed as f64 / took));
    measured.add_kinds(&recorder.by_kind(), took);
    if sent_for < duration {
        measured.notes.push(format!("{name}: all seats were sold before the end"));
    }
    measured.notes.push(CLOSED_LOOP.to_owned());
    let document = &mut measured.document;
    document.insert("sent_for_seconds".to_owned(), rounded(sent_for.as_secs_f64()));
    document.insert("seconds".to_owned(), rounded(took));
    document.insert("confirmed".to_owned(), confirmed.into());
    let per_second = json!((confirmed as f64 / took).round());
    document.insert("confirmed_per_second".to_owned(), per_second);
    measured.add_total(&total, took);
    Ok(measured)
}

/// The meaning of the latencies of a closed loop.
pub(crate) const CLOSED_LOOP: &str = "closed loop: each connection waits for an answer before its next request, so the \
    latencies do not contain the time for which more customers would have waited";

fn rounded(seconds: f64) -> Value {
    json!((seconds * 100.0).round() / 100.0)
}

/// Buys orders by all connections, until `end` or until there are no more orders.
pub(crate) async fn buy_all(
    run: &Rc<Run>,
    orders: impl Iterator<Item = Order> + 'static,
    end: Option<Instant>,
    recorder: &Rc<Recorder>,
) -> io::Result<()> {
    let orders = Rc::new(RefCell::new(orders));
    let mut connections = JoinSet::new();
    for _ in 0..run.settings.connections {
        let (run, orders, recorder) = (Rc::clone(run), Rc::clone(&orders), Rc::clone(recorder));
        connections.spawn_local(async move {
            let mut connection = run.api.connect().await?;
            while end.is_none_or(|end| Instant::now() < end) {
                let Some(order) = orders.borrow_mut().next() else { break };
                let due = Instant::now();
                if run.buy(&mut connection, &order, due, &recorder).await.is_err() {
                    recorder.unanswered();
                    connection = run.api.connect().await?;
                }
            }
            Ok::<_, io::Error>(())
        });
    }
    while let Some(ended) = connections.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    Ok(())
}

/// Waits until `accepted` queued bookings are confirmed, at most for [`QUEUE_TIMEOUT`]; returns how many are
/// confirmed.
async fn confirmed_in_queue(run: &Run, accepted: u64) -> io::Result<u64> {
    let mut connection = run.api.connect().await?;
    let stored = run.settings.stored as u64;
    let began = Instant::now();
    loop {
        let mut seats = 0;
        for id in &run.sale.schedules {
            let request = run.api.request(&format!("/api/v1/schedules/{id}"), None, "");
            let body: Value = connection.send(&request).await?.json()?;
            seats += body.pointer("/counts/booked").and_then(Value::as_u64).unwrap_or(0);
        }
        let confirmed = seats.saturating_sub(stored) / run.settings.seats as u64;
        if confirmed >= accepted || began.elapsed() > QUEUE_TIMEOUT {
            return Ok(confirmed);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

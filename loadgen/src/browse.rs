//! Readers of maps: each connection asks for the maps of one schedule again and again, with the tag of its last answer,
//! while one more connection sells some seats, so that the maps change.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::closed_loop::CLOSED_LOOP;
use crate::report::{Measured, Row};
use crate::tally::{Kind, Recorder};
use crate::{Run, Settings};

/// What a reader asks for, and the kind of the request.
const MAPS: [(&str, Kind); 2] = [("seats", Kind::Map), ("availability", Kind::States)];

/// The time between two bookings.
const SALE_INTERVAL: Duration = Duration::from_millis(50);

/// Reads until the time is over.
pub(crate) async fn measure(run: &Rc<Run>) -> io::Result<Measured> {
    let Settings { connections, seconds, schedules, name, .. } = &run.settings;
    let recorder = Rc::new(Recorder::new(&run.progress));
    let began = Instant::now();
    let end = began + Duration::from_secs(*seconds);
    let mut tasks = JoinSet::new();
    for reader in 0..*connections {
        let (run, recorder) = (Rc::clone(run), Rc::clone(&recorder));
        let schedule = reader % schedules;
        tasks.spawn_local(async move { read(&run, schedule, end, &recorder).await });
    }
    let (seller, sales) = (Rc::clone(run), Rc::clone(&recorder));
    tasks.spawn_local(async move { sell(&seller, end, &sales).await });
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(io::Error::other)??;
    }
    let took = began.elapsed().as_secs_f64();
    let total = recorder.total();
    let mut measured = Measured::new(&run.settings);
    measured.rows.push(Row::new(name.clone(), &total, took));
    measured.add_kinds(&recorder.by_kind(), took);
    measured.notes.push(CLOSED_LOOP.to_owned());
    measured.document.insert("seconds".to_owned(), json!(took));
    measured.add_total(&total, took);
    Ok(measured)
}

async fn read(run: &Run, schedule: usize, end: Instant, recorder: &Recorder) -> io::Result<()> {
    let mut connection = run.api.connect().await?;
    let id = run.sale.id(schedule);
    let mut tags = MAPS.map(|_| String::new());
    while Instant::now() < end {
        for ((map, kind), tag) in MAPS.iter().zip(&mut tags) {
            let headers = format!("accept-encoding: gzip\r\nif-none-match: {tag}\r\n");
            let headers = if tag.is_empty() { "accept-encoding: gzip\r\n" } else { &headers };
            let path = format!("/api/v1/schedules/{id}/{map}");
            let request = run.api.request(&path, None, headers);
            let sent = Instant::now();
            let answer = connection.send(&request).await?;
            recorder.answered(*kind, answer.status, sent.elapsed());
            if let Some(found) = answer.header("etag").filter(|_| answer.status == 200) {
                found.clone_into(tag);
            }
        }
    }
    Ok(())
}

/// Books an order now and then.
async fn sell(run: &Run, end: Instant, recorder: &Recorder) -> io::Result<()> {
    let mut connection = run.api.connect().await?;
    while Instant::now() < end
        && let Some(order) = run.sale.next_order()
    {
        run.buy(&mut connection, &order, Instant::now(), recorder).await?;
        tokio::time::sleep(SALE_INTERVAL).await;
    }
    Ok(())
}

//! The customers of an on-sale: each reads the map, holds some of the best seats that are free on it, and mostly confirms.

use std::io;
use std::ops::Range;
use std::time::Instant;

use fastrand::Rng;

use crate::Run;
use crate::audit::AvailabilityBody;
use crate::http::Connection;
use crate::sale::Order;
use crate::tally::{Kind, REFUSED, Recorder};

/// A customer takes one of the first groups of adjacent free seats: the best ones of the map.
const BEST_GROUPS: usize = 200;

/// How often a customer chooses seats before giving up.
const ATTEMPTS: usize = 3;

/// The share of customers who confirm their hold.
const CONFIRMING: f64 = 0.85;

/// Serves a customer; returns 200 for a booking, 201 for a hold that is given up, 409 without seats. The latency of the first request, and of the whole visit,
/// counts from `due`.
pub(crate) async fn buy_free_seats(
    run: &Run,
    connection: &mut Connection,
    number: usize,
    due: Instant,
    recorder: &Recorder,
) -> io::Result<u16> {
    // The same customers do the same in each run.
    let mut random = Rng::with_seed(number as u64);
    let schedule = random.usize(..run.settings.schedules);
    let mut status = REFUSED;
    for attempt in 0..ATTEMPTS {
        let sent = if attempt == 0 { due } else { Instant::now() };
        let groups = free_groups(run, connection, schedule, sent, recorder).await?;
        let Some(seats) = random.choice(groups) else { break };
        let order = Order { number, schedule, seats, customer: format!("bench-{number}") };
        match run.hold(connection, &order, Instant::now(), recorder).await? {
            Ok(hold) if random.f64() < CONFIRMING => {
                status = run.confirm(connection, &order, &hold, recorder).await?;
                break;
            }
            Ok(_) => {
                status = 201;
                break;
            }
            Err(refused) => status = refused,
        }
    }
    recorder.finished(Kind::Customer, status, due.elapsed());
    Ok(status)
}

/// Reads a map; returns the first groups of adjacent free seats.
async fn free_groups(
    run: &Run,
    connection: &mut Connection,
    schedule: usize,
    sent: Instant,
    recorder: &Recorder,
) -> io::Result<Vec<Range<usize>>> {
    let path = format!("/api/v1/schedules/{}/availability", run.sale.id(schedule));
    let answer = connection.send(&run.api.request(&path, None, "")).await?;
    recorder.answered(Kind::States, answer.status, sent.elapsed());
    if answer.status != 200 {
        return Ok(Vec::new());
    }
    let mut states = answer.json::<AvailabilityBody<'_>>()?.states()?;
    states.truncate(run.settings.schedule_seats);
    Ok(adjacent(&states, run.settings.seats))
}

/// The first groups of `count` free seats side by side.
fn adjacent(states: &[u8], count: usize) -> Vec<Range<usize>> {
    let groups = states.chunks_exact(count).enumerate();
    let free = groups.filter(|(_, group)| group.iter().all(|state| *state == 0));
    free.map(|(at, _)| at * count..(at + 1) * count).take(BEST_GROUPS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_choose_free_seats_side_by_side() {
        assert_eq!(adjacent(&[0, 0, 1, 0, 0, 2, 0, 0, 0], 2), [0..2, 6..8]);
        assert_eq!(adjacent(&[0; 1_000], 2).len(), BEST_GROUPS);
        assert!(adjacent(&[2; 10], 1).is_empty());
    }
}

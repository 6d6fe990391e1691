//! How many round trips to PostgreSQL a batch takes, counted on the wire.

use seatlock::domain::command::Command;
use seatlock::domain::rules::ScheduleRules;

use super::commands::{book, booked, cancel, confirm, held, hold, is_done, keyed};
use super::stage::{CommandResult, Wired, default_rules, run};

/// A round trip each: BEGIN, the locks of all rows, what is read after them, all writes, COMMIT, and the check of the
/// connection when the pool takes it back. No answer and no other batch waits for that check.
const PLAIN: u64 = 6;

/// Batches whose round trips are counted together. The pool checks the connection of the last one later, so a count
/// may have one check more or less than it has batches.
const BATCHES: u64 = 20;

/// The first batches of both connections of a lane also prepare their statements, twice each: PostgreSQL's plans come
/// later.
const WARM_UP: u64 = 10;

impl Wired {
    /// Runs these batches one after the other; returns the round trips per batch, and all results.
    async fn round_trips(
        &self,
        mut batch: impl FnMut() -> Vec<Command>,
    ) -> (u64, Vec<CommandResult>) {
        let mut results = Vec::new();
        for _ in 0..WARM_UP {
            results.extend(run(&self.lane, batch()).await);
        }
        let (before, sent) = (self.relay.round_trips(), self.metrics.batch.statements_total.get());
        for _ in 0..BATCHES {
            results.extend(run(&self.lane, batch()).await);
        }
        assert!(results.iter().all(is_done), "{results:?}");
        let taken = self.relay.round_trips() - before;
        let counted = self.metrics.batch.statements_total.get() - sent;
        let per_batch = (taken + BATCHES / 2) / BATCHES;
        assert_eq!(counted, (per_batch - 1) * BATCHES, "{taken} round trips, {counted} statements");
        (per_batch, results)
    }
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_takes_six_round_trips_and_one_more_for_a_limit() {
        let wired = Wired::start().await;
        for (limit, has_key, more) in
            [(None, false, 0), (None, true, 0), (Some(10), false, 1), (Some(10), true, 1)]
        {
            let rules = ScheduleRules { max_seats_per_customer: limit, ..default_rules() };
            let schedule = wired.stage.schedule_with(1_000, rules).await.id;
            let mut next = 0;
            for size in [1, 30] {
                let batch = || {
                    let seats = next..next + size;
                    next += size;
                    let one = |n: u32| {
                        let command = book(schedule, &[n], &format!("customer {n}"));
                        if has_key { keyed(command, &format!("{limit:?} {n}")) } else { command }
                    };
                    seats.map(one).collect()
                };
                let (taken, _) = wired.round_trips(batch).await;
                assert_eq!(taken, PLAIN + more, "limit {limit:?}, keys {has_key}, {size} bookings");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hold_costs_as_much_as_a_booking_and_what_refers_to_a_claim_one_more() {
        let wired = Wired::start().await;
        let schedule = wired.stage.schedule(100).await;
        let mut seats = 0..;
        let one = || vec![hold(schedule, &[seats.next().unwrap()], "anna")];
        let (taken, holds) = wired.round_trips(one).await;
        assert_eq!(taken, PLAIN);
        let mut holds = holds.iter().map(held);
        let (taken, bookings) =
            wired.round_trips(|| vec![confirm(holds.next().unwrap().row.id)]).await;
        assert_eq!(taken, PLAIN + 1);
        let mut bookings = bookings.iter().map(booked);
        let (taken, _) =
            wired.round_trips(|| vec![cancel(bookings.next().unwrap().row.id, None)]).await;
        assert_eq!(taken, PLAIN + 1);
    }
}

//! How many round trips to PostgreSQL a batch takes, counted on the wire.

use std::time::Duration;

use seatlock::domain::command::Command;
use seatlock::domain::rules::ScheduleRules;

use test_support::until;

use super::commands::{book, booked, cancel, confirm, held, hold, is_done, keyed};
use super::stage::{CommandResult, Wired, default_rules, run};

/// A round trip each: BEGIN, the locks of all rows, what is read after them, all writes, COMMIT, and the check of the
/// connection when the pool takes it back, which no answer waits for.
const PLAIN: u64 = 6;

const SOON: Duration = Duration::from_secs(10);

/// The first batches of a connection also prepare their statements, twice each: PostgreSQL's plans come later.
const WARM_UP: u32 = 3;

impl Wired {
    /// Runs the commands as one batch; returns the results and the round trips.
    async fn measured(&self, commands: Vec<Command>) -> (Vec<CommandResult>, u64) {
        let (before, sent) = (self.relay.round_trips(), self.metrics.batch.statements_total.get());
        let results = run(&self.lane, commands).await;
        // The pool checks the connection after the answer.
        let checked = async || {
            self.relay.round_trips() - before > self.metrics.batch.statements_total.get() - sent
        };
        until("the pool has checked the connection", SOON, checked).await;
        assert!(results.iter().all(is_done), "{results:?}");
        let taken = self.relay.round_trips() - before;
        let counted = self.metrics.batch.statements_total.get() - sent;
        assert!(taken > counted, "{taken} round trips, {counted} statements");
        (results, taken)
    }
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_takes_six_round_trips_and_one_more_for_each_rule() {
        let wired = Wired::start().await;
        for (limit, has_key, more) in
            [(None, false, 0), (None, true, 1), (Some(10), false, 1), (Some(10), true, 2)]
        {
            let rules = ScheduleRules { max_seats_per_customer: limit, ..default_rules() };
            let schedule = wired.stage.schedule_with(1_000, rules).await.id;
            let mut next = 0;
            let mut batch = |size: u32| -> Vec<Command> {
                let seats = next..next + size;
                next += size;
                let one = |n: u32| {
                    let command = book(schedule, &[n], &format!("customer {n}"));
                    if has_key { keyed(command, &format!("{limit:?} {n}")) } else { command }
                };
                seats.map(one).collect()
            };
            for _ in 0..WARM_UP {
                wired.measured(batch(1)).await;
            }
            for size in [1, 200] {
                let (_, taken) = wired.measured(batch(size)).await;
                assert_eq!(taken, PLAIN + more, "limit {limit:?}, keys {has_key}, {size} bookings");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hold_costs_as_much_as_a_booking_and_what_refers_to_a_claim_one_more() {
        let wired = Wired::start().await;
        let schedule = wired.stage.schedule(100).await;
        let mut trips = Vec::new();
        for n in 0..=WARM_UP {
            let (results, hold) = wired.measured(vec![hold(schedule, &[n], "anna")]).await;
            let (results, confirm) = wired.measured(vec![confirm(held(&results[0]).row.id)]).await;
            let booking = booked(&results[0]).row.id;
            let (_, cancel) = wired.measured(vec![cancel(booking, None)]).await;
            trips = vec![hold, confirm, cancel];
        }
        assert_eq!(trips, [PLAIN, PLAIN + 1, PLAIN + 1]);
    }
}

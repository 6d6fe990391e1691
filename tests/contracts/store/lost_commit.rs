//! A COMMIT whose answer is lost: a lookup of the batch id finds its outcome.

use test_support::Strike;

use super::commands::{book, booked, is_done, keyed};
use super::stage::{Wired, run};

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_whose_answer_is_lost_takes_effect_once() {
        for strike in [Strike::AnswerLost, Strike::NeverSent] {
            let Wired { stage, lane, relay, .. } = Wired::start().await;
            let schedule = stage.schedule(4).await;
            for (round, unkeyed) in [(0, true), (1, false)] {
                let seats = [2 * round, 2 * round + 1];
                let command = book(schedule, &seats, "anna");
                let command = if unkeyed { command } else { keyed(command, "k") };
                relay.strike_commit(strike);
                let result = run(&lane, vec![command]).await.remove(0);
                assert!(relay.has_struck());
                assert!(is_done(&result), "{result:?}");
                let booking = booked(&result);
                assert_eq!(stage.store.booking(booking.row.id, 0).await, Ok(Some(booking)));
            }
            assert_eq!(stage.states(schedule).await, "2222");
            assert_eq!(stage.version(schedule).await, 3);
            assert_eq!(stage.database.number("SELECT count(*) FROM batch").await, 2);
            stage.audit().await;
        }
    }
}

//! The long run.

use std::time::Duration;

use crate::nemesis::FAULTS;
use crate::run::{PROGRAM, Plan, run, seed};
use crate::smoke::expected;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minutes_of_chaos_break_no_promise() {
    let rounds = std::env::var("HISTORY_ROUNDS").ok().and_then(|text| text.parse().ok());
    let plan = Plan {
        seed: seed(),
        program: PROGRAM.into(),
        test: "minutes_of_chaos".to_owned(),
        buyers: 20,
        warm: Duration::from_secs(5),
        expected: expected(&FAULTS),
        faults: FAULTS.to_vec(),
        rounds: rounds.unwrap_or(5),
    };
    let finished = run(&plan).await;
    assert!(finished.violations.is_empty(), "{}", finished.verdict);
}

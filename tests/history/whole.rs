//! What takes long: more chaos.

use std::time::Duration;

use crate::nemesis::FAULTS;
use crate::run::{Plan, run, seed};
use crate::smoke::wanted;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn minutes_of_chaos_break_no_promise() {
    let rounds = std::env::var("HISTORY_ROUNDS").ok().and_then(|text| text.parse().ok());
    let plan = Plan {
        seed: seed(),
        mutant: "",
        buyers: 20,
        warm: Duration::from_secs(5),
        wanted: wanted(&FAULTS),
        faults: FAULTS.to_vec(),
        rounds: rounds.unwrap_or(5),
    };
    let replay = "cargo test --features faults --test history -- minutes_of_chaos --nocapture";
    let finished = run(&plan, replay).await;
    assert!(finished.violations.is_empty(), "{}", finished.verdict);
}

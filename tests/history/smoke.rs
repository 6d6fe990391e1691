//! The short run that every change has to pass, of about a minute.

use std::time::Duration;

use test_support::Citus;

use crate::checks::Expected;
use crate::run::{PROGRAM, Plan, run, seed};

/// Enough of each for a run of half a minute on two busy cores.
pub(crate) fn expected(faults: &[&'static str]) -> Expected {
    let opened = faults.contains(&"redis_pause") || faults.contains(&"redis_kill");
    Expected {
        ops: 1_000,
        conflicts: 100,
        multi_seat_conflicts: 50,
        unknowns: 20,
        replays: 20,
        expiries: 20,
        audits: 5,
        faults: faults.to_vec(),
        breaker_opened: u64::from(opened),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_minute_of_chaos_breaks_no_promise() {
    // The servers of a cluster are not ours to kill.
    let last = if Citus::given().is_some() { "worker_terminate" } else { "postgres_kill" };
    let faults = vec![
        "redis_pause",
        "redis_lost_locks",
        "redis_flush",
        "postgres_terminate",
        "postgres_relay_cut",
        "pod_kill",
        last,
    ];
    let plan = Plan {
        seed: seed(),
        program: PROGRAM.into(),
        test: "half_a_minute".to_owned(),
        buyers: 16,
        warm: Duration::from_secs(4),
        expected: expected(&faults),
        faults,
        rounds: 1,
    };
    let finished = run(&plan).await;
    assert!(finished.violations.is_empty(), "{}", finished.verdict);
    for (guard, saves) in &finished.evidence.guard_saves {
        let expected = guard == "row_lock" || *saves == 0;
        assert!(expected, "{guard} acted {saves} times\n{}", finished.verdict);
    }
}

//! Every guard switched off once: a checker that is named here must notice, or the checks are worth
//! nothing. Where another guard stands behind it, that one's count is the witness.

use std::time::Duration;

use crate::checks::{C1, C2, C4, C5, C6, C7, C8, C10};
use crate::run::{Plan, run, seed};
use crate::smoke::wanted;

/// Faults that leave the database alone to decide.
const NO_REDIS: [&str; 2] = ["redis_kill", "redis_pause"];

/// Runs with guards off, and checks that one of the checkers, or the guard behind, has noticed.
async fn caught(mutant: &'static str, faults: &[&'static str], by: &[&str], guard: Option<&str>) {
    let plan = Plan {
        seed: seed(),
        mutant,
        buyers: 16,
        warm: Duration::from_secs(6),
        wanted: wanted(faults),
        faults: faults.to_vec(),
        // Seat locks hide what is behind them: while Redis is away they do not.
        rounds: if faults.contains(&"redis_kill") { 4 } else { 1 },
    };
    let replay =
        format!("cargo test --features faults --test history -- mutants::{mutant} --nocapture");
    let finished = run(&plan, &replay).await;
    let mut caught: Vec<&str> = finished.violations.iter().map(|found| found.checker).collect();
    caught.sort_unstable();
    caught.dedup();
    eprintln!("{mutant} is caught by {caught:?}, guards {:?}", finished.evidence.guard_saves);
    let saved = guard.is_some_and(|guard| finished.evidence.guard_saves[guard] > 0);
    let noticed = by.iter().any(|checker| caught.contains(checker));
    assert!(saved || noticed, "{mutant} lives: wanted {by:?} or {guard:?}\n{}", finished.verdict);
    assert!(
        guard.is_none() || saved,
        "{guard:?} stands behind, and never acted\n{}",
        finished.verdict
    );
}

/// One test for each mutant.
macro_rules! mutants {
    ($($name:ident: $mutant:literal, $faults:expr, $by:expr, $guard:expr;)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                caught($mutant, &$faults, &$by, $guard).await;
            }
        )+
    };
}

mutants! {
    // The unique index refuses a second sale; a second hold of a seat it does not know.
    no_row_lock: "no_row_lock", NO_REDIS, [C6, C7, C10], Some("unique_index");
    stale_rows: "stale_rows", NO_REDIS, [C6, C7, C10], Some("unique_index");
    no_row_lock_and_no_index: "no_row_lock,no_index", NO_REDIS, [C1], None;
    no_token_compare: "no_token_compare", [], [C8], None;
    answer_before_commit: "answer_before_commit", ["postgres_terminate", "pod_kill"], [C2], None;
    no_record: "no_record", [], [C5], None;
    partial_seats: "partial_seats", [], [C4], None;
    clock_at_begin: "clock_at_begin", [], [C10], None;
    hasty_sweeper: "hasty_sweeper", [], [C6], None;
    unversioned_map: "unversioned_map", [], [C10], None;
    confirm_after_end: "confirm_after_end", [], [C6], None;
    extend_after_end: "extend_after_end", [], [C6], None;
}

#[test]
fn every_mutant_has_its_test() {
    use seatlock::faults::mutants::Mutant;
    let tests = include_str!("mutants.rs");
    for (name, _) in Mutant::ALL {
        let named = [format!(": \"{name}\""), format!(",{name}\"")];
        assert!(named.iter().any(|named| tests.contains(named)), "nothing switches {name} off");
    }
}

//! Every guard switched off once, by a patch of `tests/mutants/`: the checker that is named here must fail. Where
//! another guard stands behind the one that is off, the test reads the count of that one.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::task::block_in_place;

use crate::checks::{C1, C2, C4, C5, C6, C7, C8, C10};
use crate::patches::program;
use crate::run::{Plan, run, seed};
use crate::smoke::expected;

/// Faults of Redis alone: seat locks hide what is behind them, and without Redis they do not.
const NO_REDIS: [&str; 2] = ["redis_kill", "redis_pause"];

/// How many runs may pass until one shows that the guard is off.
const ATTEMPTS: u32 = 3;

/// Runs with guards off, and checks that the guard behind has acted, or that one of the checkers has failed.
async fn is_caught(
    patches: &'static [&'static str],
    faults: &[&'static str],
    by: &[&str],
    guard: Option<&str>,
) {
    let name = patches.join("_and_");
    let mut plan = Plan {
        seed: seed(),
        program: block_in_place(|| program(patches)),
        test: format!("mutants::{name}"),
        buyers: 16,
        warm: Duration::from_secs(6),
        expected: expected(faults),
        faults: faults.to_vec(),
        rounds: if faults.contains(&"redis_kill") { 4 } else { 1 },
    };
    for attempt in 1.. {
        let finished = run(&plan).await;
        let caught: BTreeSet<&str> =
            finished.violations.iter().map(|found| found.checker).collect();
        let saves = &finished.evidence.guard_saves;
        eprintln!("{name} is caught by {caught:?}, guards {saves:?}");
        let is_caught = match guard {
            Some(guard) => saves[guard] > 0,
            None => by.iter().any(|checker| caught.contains(checker)),
        };
        if is_caught {
            return;
        }
        // On a busy machine a run may have too few conflicts to show anything.
        assert!(
            attempt < ATTEMPTS,
            "{name} is not caught by {by:?} or {guard:?}\n{}",
            finished.verdict
        );
        plan.seed = plan.seed.wrapping_add(1);
    }
}

/// One test for each mutant.
macro_rules! mutants {
    ($($name:ident: $patches:expr, $faults:expr, $by:expr, $guard:expr;)+) => {
        /// The patches of each test.
        pub(crate) const TESTED: &[&[&str]] = &[$(&$patches),+];

        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                is_caught(&$patches, &$faults, &$by, $guard).await;
            }
        )+
    };
}

mutants! {
    // The unique index refuses a second sale; it does not see a second hold.
    no_row_lock: ["no_row_lock"], NO_REDIS, [C6, C7, C10], Some("unique_index");
    stale_rows: ["stale_rows"], NO_REDIS, [C6, C7, C10], Some("unique_index");
    no_row_lock_and_no_index: ["no_row_lock", "no_index"], NO_REDIS, [C1], None;
    no_token_compare: ["no_token_compare"], [], [C8], None;
    answer_before_commit: ["answer_before_commit"], ["postgres_terminate", "pod_kill"], [C2], None;
    no_record: ["no_record"], [], [C5], None;
    partial_seats: ["partial_seats"], [], [C4], None;
    clock_at_begin: ["clock_at_begin"], [], [C10], None;
    hasty_sweeper: ["hasty_sweeper"], [], [C6], None;
    unversioned_map: ["unversioned_map"], [], [C10], None;
    confirm_after_end: ["confirm_after_end"], [], [C6], None;
    extend_after_end: ["extend_after_end"], [], [C6], None;
}

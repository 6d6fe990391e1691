//! C12: a run without enough conflicts, faults and retries proves nothing, and fails.

use crate::history::{Action, End, Evidence, History, Op, Phase, Violation};

use super::C12;

/// The least that a run must contain.
#[derive(Debug, Clone)]
pub(crate) struct Expected {
    pub(crate) ops: usize,
    pub(crate) conflicts: usize,
    pub(crate) multi_seat_conflicts: usize,
    pub(crate) unknowns: usize,
    pub(crate) replays: usize,
    pub(crate) expiries: usize,
    pub(crate) audits: usize,
    /// Each of these faults at least once.
    pub(crate) faults: Vec<&'static str>,
    pub(crate) breaker_opened: u64,
}

/// Reports what happened less often than expected.
pub(crate) fn coverage(
    history: &History,
    evidence: &Evidence,
    expected: &Expected,
) -> Vec<Violation> {
    let ran = || history.ops.iter().filter(|op| op.phase <= Phase::Heal);
    let count = |what: &dyn Fn(&Op) -> bool| ran().filter(|op| what(op)).count();
    let conflict = |op: &Op| op.refused_as(&["seats_unavailable"]);
    let many = |op: &Op| {
        matches!(&op.action, Action::Book { seats, .. } | Action::Hold { seats, .. }
            if seats.len() > 1)
    };
    let ok = count(&Op::is_ok);
    let expiries = evidence.holds.values().filter(|row| row.status == 3).count();
    let mut found = Vec::new();
    let mut at_least = |what: &str, found_count: usize, least: usize| {
        if found_count < least {
            let text = format!("{what}: {found_count}, and {least} are expected");
            found.push(Violation::new(C12, text, Vec::new()));
        }
    };
    at_least("operations", ran().count(), expected.ops);
    at_least("operations with an effect, of 100", ok * 100 / ran().count().max(1), 30);
    at_least("conflicts", count(&conflict), expected.conflicts);
    at_least(
        "conflicts of several seats",
        count(&|op| conflict(op) && many(op)),
        expected.multi_seat_conflicts,
    );
    at_least("unknown ends", count(&|op| matches!(op.end, End::Info { .. })), expected.unknowns);
    at_least("keys answered again", replays(history), expected.replays);
    at_least("expired holds", expiries, expected.expiries);
    at_least("audits", history.audits.len(), expected.audits);
    at_least("seats asked for in the end", final_probes(history), 1);
    for fault in &expected.faults {
        let times = history.faults.iter().filter(|(name, ..)| name == fault).count();
        at_least(fault, times, 1);
    }
    let opened = usize::try_from(evidence.breaker_opened).unwrap_or(usize::MAX);
    let least_opened = usize::try_from(expected.breaker_opened).unwrap_or(usize::MAX);
    at_least("openings of the circuit breaker", opened, least_opened);
    found
}

fn final_probes(history: &History) -> usize {
    history.ops.iter().filter(|op| op.phase == Phase::Final).count()
}

/// Answers beyond the first under a key.
fn replays(history: &History) -> usize {
    let mut keys: Vec<&String> =
        history.ops.iter().filter(|op| op.is_ok()).filter_map(|op| op.key.as_ref()).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    all - keys.len()
}

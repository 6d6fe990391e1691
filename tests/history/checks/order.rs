//! C10: there is one order of all that happened, it is the journal's, and it agrees with real time.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Action, Answer, Evidence, History, Op, Pod, Violation};
use crate::model::{Step, illegal_at};

use super::{C10, booked, schedule_of};

/// Added to a version when PostgreSQL begins a new history.
const JUMP: i64 = 1_000_000;

/// The journal is gapless and follows time, each seat's claims are a run of the model, reads show one
/// version each and no process goes back, and what was acknowledged first was done first.
pub(super) fn linearizable(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = journal(evidence);
    found.extend(seats(history, evidence));
    found.extend(reads(history, evidence));
    found.extend(real_time(history, evidence));
    found
}

fn journal(evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (schedule, row) in &evidence.schedules {
        let (mut version, mut at) = (1, i64::MIN);
        for ((_, next), entry) in evidence.journal.range((*schedule, 0)..=(*schedule, i64::MAX)) {
            if (next - version - 1) % JUMP != 0 {
                let what = format!("version {next} of {schedule} follows on {version}");
                found.push(Violation::new(C10, what, Vec::new()));
            }
            if entry.at < at {
                let what = format!("version {next} of {schedule} is of {}, after {at}", entry.at);
                found.push(Violation::new(C10, what, Vec::new()));
            }
            (version, at) = (*next, entry.at.max(at));
        }
        if (row.version - version) % JUMP != 0 {
            let what = format!("{schedule} is at {}, and its journal at {version}", row.version);
            found.push(Violation::new(C10, what, Vec::new()));
        }
    }
    found
}

/// The claims of each seat as steps of the model.
fn seats(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut steps: BTreeMap<(i64, u32), Vec<(i64, Step)>> = BTreeMap::new();
    let mut ended: HashMap<&str, i64> = HashMap::new();
    for op in &history.ops {
        if let Action::Release { hold } = &op.action
            && op.may_have_acted()
        {
            // Not before its request; a hold that is over keeps no seat.
            let at = ended.entry(hold).or_insert(i64::MAX);
            *at = (*at).min(op.invoked / 1_000);
        }
    }
    for (id, row) in &evidence.holds {
        // An outage can only move the end to a later time.
        let until = ended.get(id.as_str()).map_or(row.until, |at| row.until.min(*at));
        for seat in &row.seats {
            let step = Step::Hold { claim: id.clone(), until };
            steps.entry((row.schedule, *seat)).or_default().push((row.created, step));
        }
    }
    for sale in &evidence.sales {
        let Some(row) = evidence.bookings.get(&sale.booking) else { continue };
        let steps = steps.entry((sale.schedule, sale.number)).or_default();
        let (claim, from) = (sale.booking.clone(), row.hold.clone());
        steps.push((row.created, Step::Sell { claim: claim.clone(), from }));
        steps.extend(sale.released.map(|at| (at, Step::GiveBack { claim })));
    }
    let mut found = Vec::new();
    for ((schedule, seat), steps) in steps {
        if let Some(at) = illegal_at(&steps) {
            let near: Vec<_> = steps.iter().filter(|step| (step.0 - at).abs() < 5_000).collect();
            let what =
                format!("seat {seat} of {schedule} is not a run of the model at {at}: {near:?}");
            found.push(Violation::new(C10, what, Vec::new()));
        }
    }
    found
}

/// The states of a schedule at every version.
fn replay(evidence: &Evidence, schedule: i64) -> BTreeMap<i64, Vec<u8>> {
    let seats = evidence.schedules.get(&schedule).map_or(0, |row| row.seats.len());
    let mut states = vec![0; seats];
    let mut versions = BTreeMap::from([(1, states.clone())]);
    for ((_, version), entry) in evidence.journal.range((schedule, 0)..=(schedule, i64::MAX)) {
        for (number, state, _) in &entry.changes {
            states[*number as usize] = *state;
        }
        versions.insert(*version, states.clone());
    }
    versions
}

fn reads(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let replays: BTreeMap<i64, BTreeMap<i64, Vec<u8>>> =
        evidence.schedules.keys().map(|id| (*id, replay(evidence, *id))).collect();
    let mut by_pod: BTreeMap<(Pod, i64), Vec<(&Op, i64)>> = BTreeMap::new();
    for op in &history.ops {
        let (Action::Map { schedule, min_version }, Some(Answer::Map { version, states, .. })) =
            (&op.action, op.answer())
        else {
            continue;
        };
        by_pod.entry((op.pod, *schedule)).or_default().push((op, *version));
        if version < min_version {
            let what = format!("version {version} was read, and at least {min_version} asked for");
            found.push(Violation::new(C10, what, vec![op.id]));
        }
        let expected = replays.get(schedule).and_then(|versions| versions.get(version));
        if expected != Some(states) {
            let what =
                format!("version {version} of {schedule} was read as {states:?}, {expected:?}");
            found.push(Violation::new(C10, what, vec![op.id]));
        }
    }
    for reads in by_pod.values_mut() {
        reads.sort_by_key(|(op, _)| op.invoked);
        // The newest version that had been answered by a time, for reads that begin after it.
        let mut ends: Vec<(i64, i64, u64)> =
            reads.iter().map(|(op, version)| (op.done, *version, op.id)).collect();
        ends.sort_unstable();
        let (mut next, mut newest) = (0, (0, 0));
        for (op, version) in reads.iter() {
            while next < ends.len() && ends[next].0 < op.invoked {
                newest = newest.max((ends[next].1, ends[next].2));
                next += 1;
            }
            if *version < newest.0 {
                let what = format!("{:?} answered {} and then {version}", op.pod, newest.0);
                found.push(Violation::new(C10, what, vec![newest.1, op.id]));
            }
        }
    }
    found
}

/// Of two claims of one schedule, the one that was acknowledged before the other was asked for is older.
fn real_time(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut writes: BTreeMap<i64, Vec<(&Op, i64)>> = BTreeMap::new();
    let mut seen: std::collections::HashSet<&str> = std::collections::HashSet::new();
    for op in &history.ops {
        let made = match (&op.action, op.answer()) {
            (Action::Hold { .. }, Some(Answer::Hold { id, .. })) => {
                evidence.holds.get(id).map(|row| (id, row.created))
            }
            _ => booked(op).and_then(|(id, _)| Some((id, evidence.bookings.get(id)?.created))),
        };
        // A repeated answer is older than its question, and so is that to a second confirmation.
        if let Some((id, created)) = made.filter(|(id, _)| seen.insert(id)) {
            let first = history.ops.iter().all(|other| {
                let same = other.key == op.key || other.action == op.action;
                other.id == op.id || !same || other.invoked > op.invoked
            });
            if first {
                writes.entry(schedule_of(id)).or_default().push((op, created));
            }
        }
    }
    let mut found = Vec::new();
    for writes in writes.values_mut() {
        writes.sort_by_key(|(op, _)| op.invoked);
        let mut ends: Vec<(i64, i64, u64)> =
            writes.iter().map(|(op, created)| (op.done, *created, op.id)).collect();
        ends.sort_unstable();
        let (mut next, mut latest) = (0, (i64::MIN, 0));
        for (op, created) in writes.iter() {
            while next < ends.len() && ends[next].0 < op.invoked {
                latest = latest.max((ends[next].1, ends[next].2));
                next += 1;
            }
            if *created < latest.0 {
                let what =
                    format!("done at {created}, after what was done at {} had ended", latest.0);
                found.push(Violation::new(C10, what, vec![latest.1, op.id]));
            }
        }
    }
    found
}

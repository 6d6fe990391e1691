//! C7, C8 and C9: states add up, everything is free in the end, and maps can be read in an outage.

use std::collections::BTreeMap;

use crate::history::{Action, Answer, End, Evidence, History, Op, Phase, Violation};

use super::claims::kept_until;
use super::{C7, C8, C9, schedule_of};

/// Seats in each state add up in every map, every audit was clean, and no customer had too much.
pub(super) fn accounting(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for op in &history.ops {
        let (Action::Map { schedule, .. }, Some(Answer::Map { states, counts, .. })) =
            (&op.action, op.answer())
        else {
            continue;
        };
        let capacity = evidence.schedules.get(schedule).map_or(0, |row| row.seats.len());
        let counted = [0, 1, 2, 3].map(|code| states.iter().filter(|s| **s == code).count());
        if counted != *counts || counts.iter().sum::<usize>() != capacity {
            let what = format!("{counts:?} of {capacity} seats, and {counted:?} of the states");
            found.push(Violation::new(C7, what, vec![op.id]));
        }
    }
    for violation in history.audits.iter().flatten() {
        found.push(Violation::new(C7, format!("an audit found: {violation}"), Vec::new()));
    }
    for (schedule, row) in &evidence.schedules {
        if let Some(limit) = row.customer_limit {
            found.extend(above_limit(history, evidence, *schedule, limit));
        }
    }
    found
}

fn above_limit(
    history: &History,
    evidence: &Evidence,
    schedule: i64,
    limit: usize,
) -> Vec<Violation> {
    // Changes of what a customer owns, by time, what ends first.
    let mut changes: BTreeMap<&str, Vec<(i64, i64)>> = BTreeMap::new();
    let touched = |from: i64, until: i64| {
        evidence.outages.iter().any(|(began, ended)| *began <= until && from < *ended)
    };
    for (id, row) in evidence.holds.iter().filter(|(_, row)| row.schedule == schedule) {
        let until = kept_until(history, evidence, id, row);
        // An outage may give a hold back to its owner, who has taken other seats meanwhile.
        if !touched(row.created, row.until) && until > row.created {
            let seats = i64::try_from(row.seats.len()).unwrap();
            let changes = changes.entry(&row.customer).or_default();
            changes.extend([(row.created, seats), (until, -seats)]);
        }
    }
    for sale in evidence.sales.iter().filter(|sale| sale.schedule == schedule) {
        let Some(booking) = evidence.bookings.get(&sale.booking) else { continue };
        let hold = booking.hold.as_ref().and_then(|id| evidence.holds.get(id));
        if hold.is_none_or(|hold| !touched(hold.created, hold.until)) {
            let changes = changes.entry(&booking.customer).or_default();
            changes.push((booking.created, 1));
            changes.extend(sale.released.map(|at| (at, -1)));
        }
    }
    let mut found = Vec::new();
    for (customer, mut changes) in changes {
        changes.sort_unstable();
        let mut owned = 0;
        for (at, change) in changes {
            owned += change;
            if owned > i64::try_from(limit).unwrap() {
                let what =
                    format!("{customer} owned {owned} seats at {at}, and {limit} are allowed");
                found.push(Violation::new(C7, what, Vec::new()));
            }
        }
    }
    found
}

/// In the end no lock, hold or open transaction is left; every free seat can be booked, and no other.
pub(super) fn liveness(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut leak = |what: String, ops: Vec<u64>| found.push(Violation::new(C8, what, ops));
    if !evidence.locks.is_empty() {
        leak(format!("locks without an owner: {:?}", evidence.locks), Vec::new());
    }
    if evidence.idle_in_transaction > 0 {
        let count = evidence.idle_in_transaction;
        leak(format!("{count} connections are idle in a transaction"), Vec::new());
    }
    for (schedule, row) in &evidence.schedules {
        let held = row.seats.iter().filter(|(state, _)| *state == 1).count();
        if held > 0 {
            leak(format!("{held} seats of {schedule} are still held"), Vec::new());
        }
    }
    for op in history.ops.iter().filter(|op| matches!(op.end, End::Info { .. })) {
        let resolves = |other: &&Op| other.key == op.key && is_definite(other);
        if op.key.is_some() && history.ops.iter().find(resolves).is_none() {
            let what = "its outcome is still unknown after all faults have ended";
            leak(what.to_owned(), vec![op.id]);
        }
    }
    for (op, expected) in history.ops.iter().filter_map(|op| Some((op, expected_in_the_end(op)?))) {
        let as_expected = match expected {
            true => op.is_ok(),
            false => op.refused_as(&["seats_unavailable"]),
        };
        if !as_expected {
            let due = if expected { "granted" } else { "refused as unavailable" };
            leak(format!("in the end this must be {due}: {:?}", op.end), vec![op.id]);
        }
    }
    if history.strangers.contains(&false) {
        leak("a lock of a stranger was released or rewritten".to_owned(), Vec::new());
    }
    found
}

/// Whether an answer is the final outcome of a key.
fn is_definite(op: &Op) -> bool {
    match &op.end {
        End::Ok { .. } => true,
        End::Fail { status, code } => *status < 500 && code != "request_in_progress",
        End::Info { .. } => false,
    }
}

/// In the last phase each free seat is asked for once, then each again by another customer.
fn expected_in_the_end(op: &Op) -> Option<bool> {
    match (&op.action, op.phase) {
        (Action::Book { customer, .. }, Phase::Final) => Some(!customer.starts_with("too-late")),
        _ => None,
    }
}

/// Faults of the database, not of a process.
fn is_of_the_database(fault: &str) -> bool {
    fault.starts_with("postgres")
}

/// Whether a process may refuse a read: there is a version that it has never answered. If it made that
/// one itself, without the one before it, it has nothing to answer with.
fn may_refuse(history: &History, evidence: &Evidence, read: &Op) -> bool {
    let Action::Map { schedule, .. } = &read.action else { return false };
    let entries = evidence.journal.range((*schedule, 0)..=(*schedule, i64::MAX));
    let made = entries.filter(|(_, entry)| entry.at <= read.done / 1_000).map(|((_, v), _)| *v);
    let before = history.ops.iter().filter(|op| op.pod == read.pod && op.done < read.done);
    let answered = before.filter_map(|op| match (&op.action, op.answer()) {
        (Action::Map { schedule: of, .. }, Some(Answer::Map { version, .. })) if of == schedule => {
            Some(*version)
        }
        _ => None,
    });
    made.max() > answered.max()
}

/// While the database is unavailable, maps can still be read.
pub(super) fn mode_honesty(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    for (fault, began, ended) in history.faults.iter().filter(|fault| is_of_the_database(&fault.0))
    {
        let inside = |op: &&Op| {
            matches!(op.action, Action::Map { min_version: 0, .. })
                && *began < op.invoked
                && op.invoked < *ended
        };
        let reads: Vec<&Op> = history.ops.iter().filter(inside).collect();
        let failed: Vec<u64> = reads
            .iter()
            .filter(|op| !op.is_ok() && !may_refuse(history, evidence, op))
            .map(|op| op.id)
            .collect();
        if failed.len() * 100 > reads.len() {
            let count = (failed.len(), reads.len());
            let what = format!("{} of {} reads failed during {fault}", count.0, count.1);
            found.push(Violation::new(C9, what, failed.into_iter().take(6).collect()));
        }
    }
    // `read_only` promises that nothing was done, as every refusal does; C3 checks it.
    for op in history.ops.iter().filter(|op| op.refused_as(&["read_only"])) {
        if let Action::Map { schedule, .. } = &op.action {
            let what = format!("reading a map of {schedule} was refused as a write");
            found.push(Violation::new(C9, what, vec![op.id]));
        }
        if let Action::Find { booking } = &op.action {
            let what = format!("reading {booking} of {} as a write", schedule_of(booking));
            found.push(Violation::new(C9, what, vec![op.id]));
        }
    }
    found
}

//! C1, C2, C4 and C6: who owns what, and for how long.

use std::collections::{BTreeMap, HashMap};

use crate::history::{Action, Answer, Evidence, History, HoldRow, Micros, Op, Violation};

use super::{C1, C2, C4, C6, booked, gives_back, schedule_of};

/// What the two clocks of one machine may differ by, in milliseconds, and the rounding of both.
const CLOCKS_MS: i64 = 20;

/// What there is of each seat: schedule and number.
type BySeat<T> = BTreeMap<(i64, u32), Vec<T>>;

/// Sales of a seat never overlap, neither by the rows nor by the answers.
pub(super) fn no_double_sale(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut by_rows: BySeat<(i64, i64, &str)> = BTreeMap::new();
    for sale in &evidence.sales {
        let Some(booking) = evidence.bookings.get(&sale.booking) else { continue };
        let interval = (booking.created, sale.released.unwrap_or(i64::MAX), sale.booking.as_str());
        by_rows.entry((sale.schedule, sale.number)).or_default().push(interval);
    }
    let mut by_word: BySeat<(Micros, Micros, &str)> = BTreeMap::new();
    let mut witness: HashMap<&str, u64> = HashMap::new();
    for op in &history.ops {
        let Some((id, seats)) = booked(op) else { continue };
        // Later answers under a key have the time of the first.
        if witness.contains_key(id.as_str()) {
            continue;
        }
        witness.insert(id, op.id);
        for seat in seats {
            let given_back = history.ops.iter().filter(|other| gives_back(other, id, *seat));
            let end = given_back.map(|other| other.invoked).min().unwrap_or(Micros::MAX);
            by_word.entry((schedule_of(id), *seat)).or_default().push((op.done, end, id));
        }
    }
    for (kind, sales) in [("by the rows", by_rows), ("by the answers", by_word)] {
        for ((schedule, seat), mut intervals) in sales {
            intervals.sort_unstable();
            for pair in intervals.windows(2) {
                if pair[1].0.max(pair[0].0) < pair[0].1.min(pair[1].1) {
                    let (one, other) = (pair[0].2, pair[1].2);
                    let what = format!("seat {seat} of {schedule} is {one}'s and {other}'s {kind}");
                    let ops =
                        [one, other].iter().filter_map(|id| witness.get(*id)).copied().collect();
                    found.push(Violation::new(C1, what, ops));
                }
            }
        }
    }
    found
}

/// What was acknowledged is there in the end, unless its owner undid it, and was there whenever asked for.
pub(super) fn no_lost_acknowledgement(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut live: HashMap<(&str, u32), bool> = HashMap::new();
    for sale in &evidence.sales {
        live.insert((&sale.booking, sale.number), sale.released.is_none());
    }
    let mut acknowledged: HashMap<&str, Micros> = HashMap::new();
    for op in &history.ops {
        let mut lost = |what: String| found.push(Violation::new(C2, what, vec![op.id]));
        if let Some((id, seats)) = booked(op) {
            let since = acknowledged.entry(id).or_insert(op.done);
            *since = op.done.min(*since);
            if !evidence.bookings.contains_key(id) {
                lost(format!("booking {id} was acknowledged and does not exist"));
                continue;
            }
            for seat in seats {
                let undone = history.ops.iter().any(|other| gives_back(other, id, *seat));
                if live.get(&(id.as_str(), *seat)) != Some(&true) && !undone {
                    lost(format!("booking {id} has lost seat {seat}, which no request gave back"));
                }
            }
        }
        match (&op.action, op.answer()) {
            (Action::Hold { .. }, Some(Answer::Hold { id, .. }))
                if !evidence.holds.contains_key(id) =>
            {
                lost(format!("hold {id} was acknowledged and does not exist"));
            }
            (Action::Cancel { booking, seats }, Some(_)) => {
                let all = evidence.bookings.get(booking).map(|row| row.seats.clone());
                for seat in seats.clone().or(all).unwrap_or_default() {
                    if live.get(&(booking.as_str(), seat)) == Some(&true) {
                        lost(format!("seat {seat} of {booking} was given back and is still sold"));
                    }
                }
            }
            (Action::Release { hold }, Some(_))
                if evidence.holds.get(hold).is_some_and(|row| row.status != 2) =>
            {
                lost(format!("hold {hold} was released and has ended otherwise or lives"));
            }
            _ => {}
        }
    }
    for op in &history.ops {
        if let Action::Find { booking } = &op.action
            && op.refused_as(&["not_found"])
            && acknowledged.get(booking.as_str()).is_some_and(|since| *since < op.invoked)
        {
            let what = format!("booking {booking} was acknowledged, and then not found");
            found.push(Violation::new(C2, what, vec![op.id]));
        }
    }
    found
}

/// A claim has exactly the seats that were asked for, and took them all in one version.
pub(super) fn all_or_nothing(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut sales: HashMap<&str, usize> = HashMap::new();
    for sale in &evidence.sales {
        *sales.entry(&sale.booking).or_default() += 1;
    }
    let mut entries: HashMap<(i64, i64), Vec<Vec<u32>>> = HashMap::new();
    for ((schedule, _), entry) in &evidence.journal {
        let seats = entry.changes.iter().map(|change| change.0).collect();
        entries.entry((*schedule, entry.at)).or_default().push(seats);
    }
    let at_once = |schedule: i64, at: i64, seats: &[u32]| {
        let together = entries.get(&(schedule, at));
        together.is_some_and(|all| all.iter().any(|one| seats.iter().all(|s| one.contains(s))))
    };
    for op in &history.ops {
        let (asked, answer) = match (&op.action, op.answer()) {
            (Action::Book { seats, .. }, Some(Answer::Booking { seats: answer, .. }))
            | (Action::Hold { seats, .. }, Some(Answer::Hold { seats: answer, .. })) => {
                (seats, answer)
            }
            _ => continue,
        };
        let mut asked = asked.clone();
        asked.sort_unstable();
        if asked != *answer {
            let what = format!("seats {asked:?} were asked for, and {answer:?} granted");
            found.push(Violation::new(C4, what, vec![op.id]));
        }
    }
    for (id, row) in &evidence.bookings {
        if sales.get(id.as_str()).copied().unwrap_or(0) != row.seats.len() {
            let what = format!("booking {id} of {:?} has another number of sales", row.seats);
            found.push(Violation::new(C4, what, Vec::new()));
        }
        if !at_once(row.schedule, row.created, &row.seats) {
            let what = format!("no version has all of booking {id}'s seats {:?}", row.seats);
            found.push(Violation::new(C4, what, Vec::new()));
        }
    }
    for (id, row) in &evidence.holds {
        if !at_once(row.schedule, row.created, &row.seats) {
            let what = format!("no version has all of hold {id}'s seats {:?}", row.seats);
            found.push(Violation::new(C4, what, Vec::new()));
        }
    }
    found
}

/// Whether an outage may have moved an end.
fn forgiven(evidence: &Evidence, until: i64) -> bool {
    evidence.outages.iter().any(|(began, ended)| *began <= until + CLOCKS_MS && until < *ended)
}

/// Until when a hold kept its seats for its owner alone, by the rows and its owner's own word.
pub(super) fn kept_until(history: &History, evidence: &Evidence, id: &str, row: &HoldRow) -> i64 {
    let released = history.ops.iter().filter(|op| {
        op.may_have_acted() && matches!(&op.action, Action::Release { hold } if hold == id)
    });
    let released = released.map(|op| op.invoked / 1_000).min().unwrap_or(i64::MAX);
    let booking = row.booking.as_ref().and_then(|id| evidence.bookings.get(id));
    let confirmed = booking.map_or(i64::MAX, |booking| booking.created);
    row.until.min(released).min(confirmed)
}

/// From its grant to its end a hold's seats belong to no other customer, and its owner is not refused.
pub(super) fn no_lost_hold(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut begun: BySeat<(i64, &str, Option<&str>)> = BTreeMap::new();
    for (id, row) in &evidence.holds {
        for seat in &row.seats {
            begun.entry((row.schedule, *seat)).or_default().push((row.created, id, None));
        }
    }
    for (id, row) in &evidence.bookings {
        for seat in &row.seats {
            let claim = (row.created, id.as_str(), row.hold.as_deref());
            begun.entry((row.schedule, *seat)).or_default().push(claim);
        }
    }
    for (id, row) in &evidence.holds {
        let end = kept_until(history, evidence, id, row);
        for seat in &row.seats {
            for (at, claim, from) in &begun[&(row.schedule, *seat)] {
                let inside = row.created < *at && *at < end;
                if inside && claim != id && *from != Some(id.as_str()) {
                    let what = format!("seat {seat} was {id}'s until {end}, and at {at} {claim}'s");
                    found.push(Violation::new(C6, what, granted(history, id)));
                }
            }
        }
        if let Some((answer, op)) = promised(history, id)
            && row.until < answer
            && !forgiven(evidence, row.until)
        {
            let what = format!("hold {id} was promised until {answer}, and ends at {}", row.until);
            found.push(Violation::new(C6, what, vec![op]));
        }
        if row.status == 3
            && let Some(at) = freed(evidence, row)
            && at < row.until
        {
            let what = format!("hold {id} was ended by time at {at}, before its end {}", row.until);
            found.push(Violation::new(C6, what, granted(history, id)));
        }
    }
    found.extend(turned_away(history, evidence));
    found
}

/// The latest end of a hold in an answer; nothing may make it earlier.
fn promised(history: &History, id: &str) -> Option<(i64, u64)> {
    let answer = history.ops.iter().filter_map(|op| match op.answer() {
        Some(Answer::Hold { id: of, until_ms, .. }) if of == id => Some((*until_ms, op.id)),
        _ => None,
    });
    answer.max()
}

fn granted(history: &History, id: &str) -> Vec<u64> {
    let grants = history
        .ops
        .iter()
        .filter(|op| matches!(op.answer(), Some(Answer::Hold { id: answer, .. }) if answer == id));
    grants.map(|op| op.id).take(1).collect()
}

/// When the first of a hold's seats became free.
fn freed(evidence: &Evidence, row: &HoldRow) -> Option<i64> {
    let entries = evidence.journal.range((row.schedule, 0)..=(row.schedule, i64::MAX));
    let later = entries.map(|(_, entry)| entry).filter(|entry| entry.at > row.created);
    let frees = |change: &(u32, u8, Option<i64>)| row.seats.contains(&change.0) && change.1 == 0;
    let mut freeing = later.filter(|entry| entry.changes.iter().any(frees));
    freeing.next().map(|entry| entry.at)
}

/// Owners who came in time and were refused as late, and dead holds that were extended.
fn turned_away(history: &History, evidence: &Evidence) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut ends: HashMap<&str, (i64, u64)> = HashMap::new();
    let mut by_end: Vec<&Op> = history.ops.iter().collect();
    by_end.sort_by_key(|op| op.done);
    for op in by_end {
        let (Action::Hold { .. } | Action::Extend { .. } | Action::Confirm { .. }) = &op.action
        else {
            continue;
        };
        if let (Action::Extend { hold, .. }, Some(_)) = (&op.action, op.answer())
            && let Some((until, grant)) = ends.get(hold.as_str())
            && op.invoked / 1_000 > until + CLOCKS_MS
            && !forgiven(evidence, *until)
            // A repeated key has its first answer, and a request with an unknown end may have extended the hold.
            && !history.ops.iter().any(|other| other.id != op.id && other.invoked < op.invoked
                && matches!(&other.action, Action::Extend { hold: same, .. } if same == hold))
        {
            let what = format!("hold {hold} had ended at {until} and was extended");
            found.push(Violation::new(C6, what, vec![*grant, op.id]));
        }
        if let Action::Confirm { hold } = &op.action
            && op.refused_as(&["hold_expired", "hold_released", "not_found"])
            && let Some((until, grant)) = ends.get(hold.as_str())
            && op.done / 1_000 + CLOCKS_MS < *until
        {
            let released = history.ops.iter().any(|other| {
                other.may_have_acted()
                    && other.invoked < op.done
                    && matches!(&other.action, Action::Release { hold: same } if same == hold)
            });
            if !released {
                let what =
                    format!("hold {hold} lived until {until}, and its owner was turned away");
                found.push(Violation::new(C6, what, vec![*grant, op.id]));
            }
        }
        if let Some(Answer::Hold { id, until_ms, .. }) = op.answer() {
            let known = ends.entry(id).or_insert((*until_ms, op.id));
            known.0 = known.0.max(*until_ms);
        }
    }
    found
}

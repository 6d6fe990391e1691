//! The text of a failed run: its violations, the fewest operations that show each, and how to repeat the run.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::history::{End, History, Op, Violation};
use crate::workload::Fixture;
use crate::world::PODS;

/// Violations of one checker that are shown.
const SHOWN: usize = 3;

/// Lines of a process that are shown.
const LINES: usize = 15;

/// The verdict as a text.
pub(crate) fn verdict(
    fixture: &Fixture,
    history: &History,
    violations: &[Violation],
    replay: &str,
) -> String {
    let mut text = format!("{} violations; run again: {replay}\n", violations.len());
    let _ = writeln!(text, "record: {}", fixture.recorder.path().display());
    let mut by_checker: BTreeMap<&str, Vec<&Violation>> = BTreeMap::new();
    for violation in violations {
        by_checker.entry(violation.checker).or_default().push(violation);
    }
    for (checker, found) in by_checker {
        let _ = writeln!(text, "{checker}: {} times", found.len());
        // The fewest operations show it best.
        let mut found = found;
        found.sort_by_key(|violation| (violation.witness.is_empty(), violation.witness.len()));
        for violation in found.into_iter().take(SHOWN) {
            let _ = writeln!(text, "  {}", violation.what);
            for id in violation.witness.iter().take(6) {
                let op = history.ops.iter().find(|op| op.id == *id);
                text.push_str(&op.map(|op| line(history, op)).unwrap_or_default());
            }
        }
    }
    for place in 0..PODS {
        let output = fixture.world.output(place);
        let lines: Vec<&str> = output.lines().rev().take(LINES).collect();
        let _ = writeln!(text, "process {place} printed last:");
        for line in lines.into_iter().rev() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn line(history: &History, op: &Op) -> String {
    let first = history.ops.first().map_or(0, |op| op.invoked);
    let ms = |t: i64| (t.saturating_sub(first)) / 1_000;
    let end = match &op.end {
        End::Ok { answer, .. } => format!("ok {answer:?}"),
        other => format!("{other:?}"),
    };
    let during: Vec<&str> = history
        .faults
        .iter()
        .filter(|(_, began, ended)| {
            *began < op.done.min(op.invoked + 10_000_000) && op.invoked < *ended
        })
        .map(|(name, ..)| name.as_str())
        .collect();
    let done = if op.done == i64::MAX { "?".to_owned() } else { ms(op.done).to_string() };
    format!(
        "    #{} at {}..{done} ms on {}.{} {} {:?}: {end} {during:?}\n",
        op.id,
        ms(op.invoked),
        op.pod.place,
        op.pod.start,
        op.key.as_deref().unwrap_or("-"),
        op.action
    )
}

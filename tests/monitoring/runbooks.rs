//! The runbooks: one complete runbook for each alert.

use std::collections::BTreeSet;

use crate::files::{read, runbooks};
use crate::prometheus::Watcher;

/// The sections of every runbook, in this order.
const PARTS: [&str; 4] = ["## Meaning", "## Impact", "## Diagnosis", "## Mitigation"];

/// The queries of a runbook: the lines of its blocks marked `promql`.
pub(crate) fn queries(text: &str) -> Vec<&str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in text.lines() {
        match line {
            "```promql" => inside = true,
            "```" => inside = false,
            _ if inside => found.push(line),
            _ => {}
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let alerts = Watcher::start_idle().await.alerts().await;
    let alerts: BTreeSet<String> = alerts.into_iter().map(|alert| alert.name).collect();
    let books: BTreeSet<String> = runbooks().into_iter().map(|(name, _)| name).collect();
    let missing: Vec<_> = alerts.difference(&books).collect();
    let stale: Vec<_> = books.difference(&alerts).collect();
    assert!(missing.is_empty(), "write docs/runbooks/ for {missing:?}");
    assert!(stale.is_empty(), "no alert has this name, delete from docs/runbooks/: {stale:?}");
    let index = read("docs/runbooks/README.md");
    for alert in alerts {
        assert!(index.contains(&format!("[{alert}]({alert}.md)")), "{alert} is not in the index");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_runbook_states_the_severity_of_its_alert() {
    let (alerts, books) = (Watcher::start_idle().await.alerts().await, runbooks());
    let index = read("docs/runbooks/README.md");
    for alert in alerts {
        let severity = alert.labels["severity"].as_str().unwrap();
        let (name, text) = books.iter().find(|(name, _)| *name == alert.name).unwrap();
        assert!(text.contains(&format!("\nSeverity: {severity}.\n")), "{name} is a {severity}");
        let row = format!("| [{name}]({name}.md) | {severity} |");
        assert!(index.contains(&row), "the index lacks this row: {row}");
    }
}

#[test]
fn every_runbook_has_its_sections_in_order_and_a_query() {
    for (name, text) in runbooks() {
        assert!(text.starts_with(&format!("# {name}\n")), "{name}");
        let mut rest = text.as_str();
        for part in PARTS {
            let (_, after) = rest
                .split_once(&format!("\n{part}\n"))
                .unwrap_or_else(|| panic!("{name}: {part} is missing, or not in its place"));
            rest = after;
            let body = rest.split("\n## ").next().unwrap_or_default();
            assert!(body.trim().len() > 40, "{name}: {part} is too short");
        }
        assert!(!queries(&text).is_empty(), "{name}: no query to begin with");
    }
}

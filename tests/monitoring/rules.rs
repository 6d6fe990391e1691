//! The rules: valid, tested, and with complete annotations.

use std::collections::BTreeSet;

use test_support::{Folder, monitoring_tool};

use crate::PROCESSOR;
use crate::files::{files, folder, read, rule_files};
use crate::prometheus::Watcher;

/// The severities of alerts.
const SEVERITIES: [&str; 2] = ["page", "ticket"];

/// The alerts of a rule file, without a server.
fn alerts_in(text: &str) -> Vec<&str> {
    let lines = text.lines().map(|line| line.trim().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix("alert: ")).collect()
}

/// What the unit tests expect of alerts: `(alert, fires)`, an entry for each expectation.
fn expectations(text: &str) -> Vec<(String, bool)> {
    let mut found: Vec<(String, bool)> = Vec::new();
    for line in text.lines().map(|line| line.trim().trim_start_matches("- ")) {
        if let Some(name) = line.strip_prefix("alertname: ") {
            found.push((name.to_owned(), false));
        } else if let Some(alerts) = line.strip_prefix("exp_alerts:") {
            found.last_mut().unwrap().1 = alerts.trim() != "[]";
        }
    }
    found
}

#[test]
fn the_rules_are_valid() {
    for (name, _) in rule_files() {
        monitoring_tool(&folder(), "promtool", &["check", "rules", &format!("rules/{name}")]);
    }
}

#[test]
fn the_rules_pass_their_promtool_tests() {
    let _processor = PROCESSOR.blocking_lock();
    for (name, _) in files("monitoring/tests", "_test.yml") {
        monitoring_tool(&folder(), "promtool", &["test", "rules", &format!("tests/{name}")]);
    }
}

#[test]
fn the_example_configurations_are_valid() {
    monitoring_tool(&folder(), "promtool", &["check", "config", "prometheus.yml"]);
    monitoring_tool(&folder(), "amtool", &["check-config", "alertmanager.yml"]);
}

#[test]
fn a_wrong_rule_is_noticed() {
    let elsewhere = Folder::new();
    let broken = read("monitoring/rules/selling.yml").replace("sum by (job) (", "sum by job (");
    std::fs::write(elsewhere.path().join("broken.yml"), broken).unwrap();
    let checked = std::panic::catch_unwind(|| {
        monitoring_tool(elsewhere.path(), "promtool", &["check", "rules", "broken.yml"])
    });
    assert!(checked.is_err());
}

#[test]
fn every_alert_is_tested_to_fire_and_not_to() {
    let rules = rule_files();
    let alerts: BTreeSet<&str> = rules.iter().flat_map(|(_, text)| alerts_in(text)).collect();
    let tests = files("monitoring/tests", "_test.yml");
    let expected: BTreeSet<(String, bool)> =
        tests.iter().flat_map(|(_, text)| expectations(text)).collect();
    let mut missing = Vec::new();
    for alert in &alerts {
        for fires in [true, false] {
            if !expected.contains(&((*alert).to_owned(), fires)) {
                missing.push(format!("{alert}: {}", if fires { "firing" } else { "not firing" }));
            }
        }
    }
    assert!(alerts.len() > 20, "{alerts:?}");
    assert!(missing.is_empty(), "add these cases to monitoring/tests: {missing:#?}");
    let unknown: Vec<_> =
        expected.iter().filter(|(name, _)| !alerts.contains(name.as_str())).collect();
    assert!(unknown.is_empty(), "no such alerts: {unknown:?}");
}

#[test]
fn expectations_are_read_with_their_alerts() {
    let text =
        "- alertname: A\n  exp_alerts: []\n- eval_time: 1m\n  alertname: B\n  exp_alerts:\n    - x";
    assert_eq!(expectations(text), [("A".to_owned(), false), ("B".to_owned(), true)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_alert_has_a_severity_a_description_and_a_runbook() {
    for alert in Watcher::start_idle().await.alerts().await {
        let name = &alert.name;
        let severity = alert.labels["severity"].as_str().unwrap_or_default();
        assert!(SEVERITIES.contains(&severity), "{name}: severity {severity:?}");
        for annotation in ["summary", "description"] {
            let text = alert.annotations[annotation].as_str().unwrap_or_default();
            assert!(text.len() > 20, "{name}: {annotation} {text:?}");
        }
        let expected = format!("{{{{ $externalLabels.runbooks }}}}docs/runbooks/{name}.md");
        assert_eq!(alert.annotations["runbook_url"], expected, "{name}");
        assert!(
            name.starts_with("Seatlock"),
            "{name}: the prefix keeps it apart from alerts of other services"
        );
    }
}

//! The rules for the Prometheus operator: the same as those in monitoring/rules.

use serde_json::Value;

use crate::files::{all, below, manifest, yaml};

const RULE: &str = "k8s/components/prometheus-rules/prometheus-rule.yaml";

/// The groups of the rule files, in the order of their names.
fn groups() -> Vec<Value> {
    let files = below("monitoring/rules", ".yml").into_iter().map(|path| yaml(&path));
    files.flat_map(|file| file["groups"].as_array().unwrap().clone()).collect()
}

#[test]
fn the_operator_gets_the_rules_that_are_tested() {
    let made = manifest(RULE, "PrometheusRule");
    let (groups, made) = (groups(), made["spec"]["groups"].as_array().unwrap().clone());
    assert!(groups.iter().flat_map(|group| all(group, "rules")).count() > 20);
    assert!(groups == made, "the rules have changed: run k8s/checks/rules.py");
}

#[test]
fn every_dashboard_goes_to_the_cluster() {
    let kustomization = yaml("monitoring/dashboards/kustomization.yaml");
    let mut listed: Vec<String> = all(&kustomization, "files")
        .iter()
        .map(|name| format!("monitoring/dashboards/{}", crate::files::text(name)))
        .collect();
    listed.sort();
    assert_eq!(listed, below("monitoring/dashboards", ".json"));
}

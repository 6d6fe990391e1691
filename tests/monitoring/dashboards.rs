//! The dashboards: complete, and independent of one installation.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::files::dashboards;

/// Every panel of a dashboard without the rows, which are only headings.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Every expression of a dashboard, its variables and annotations included, with Grafana's variables
/// replaced as it does for a user who has chosen nothing.
pub(crate) fn expressions(dashboard: &Value) -> Vec<String> {
    let targets =
        panels(dashboard).into_iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let notes = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let notes = notes.map(|note| &note["target"]["expr"]);
    let variables = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = variables.filter_map(|variable| variable["query"]["query"].as_str());
    // `label_values(series, label)` is a function of Grafana, on a series.
    let series = queries.map(|query| {
        let inside = query.trim_start_matches("label_values(");
        inside.rsplit_once(',').unwrap().0.to_owned()
    });
    let written = targets.map(|target| &target["expr"]).chain(notes);
    let written = written.map(|expression| expression.as_str().unwrap().to_owned());
    written.chain(series).map(|expression| chosen(&expression)).collect()
}

fn chosen(expression: &str) -> String {
    let filled = expression.replace("$__rate_interval", "1m");
    let filled = filled.replace("\"$job\"", "\".*\"").replace("\"$instance\"", "\".*\"");
    assert!(!filled.contains('$'), "a variable without a value: {expression}");
    filled
}

#[test]
fn every_panel_has_a_title_a_description_and_a_unit() {
    for (name, dashboard) in dashboards() {
        assert!(panels(&dashboard).len() >= 10, "{name}");
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().unwrap_or_default();
            assert!(!title.is_empty(), "{name}: {panel}");
            let description = panel["description"].as_str().unwrap_or_default();
            assert!(description.len() > 10, "{name}, {title}: no description");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap_or_default();
            assert!(!unit.is_empty(), "{name}, {title}: no unit");
            assert!(!panel["targets"].as_array().unwrap().is_empty(), "{name}, {title}: no query");
        }
    }
}

#[test]
fn a_dashboard_can_be_imported_anywhere() {
    let mut ids = BTreeSet::new();
    for (name, dashboard) in dashboards() {
        assert!(dashboard["id"].is_null(), "{name}: an id belongs to one Grafana");
        assert!(ids.insert(dashboard["uid"].as_str().unwrap().to_owned()), "{name}: uid");
        assert!(dashboard["schemaVersion"].as_u64() >= Some(36), "{name}");
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        assert_eq!(variables[0]["name"], "datasource", "{name}: the other variables use it");
        assert_eq!(variables[0]["type"], "datasource", "{name}");
        let mut numbers = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            assert!(numbers.insert(panel["id"].as_u64().unwrap()), "{name}: {}", panel["title"]);
        }
        for panel in panels(&dashboard) {
            let targets = panel["targets"].as_array().unwrap().iter();
            for source in targets.map(|target| &target["datasource"]).chain([&panel["datasource"]])
            {
                assert_eq!(source["uid"], "${datasource}", "{name}: {}", panel["title"]);
            }
        }
    }
}

#[test]
fn panels_do_not_overlap() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
            assert!(place("x") + place("w") <= 24, "{name}: {}", panel["title"]);
            for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
                let free = taken.insert((place("x") + x, place("y") + y));
                assert!(free, "{name}: {} overlaps another", panel["title"]);
            }
        }
    }
}

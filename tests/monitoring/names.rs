//! Every series in rules, dashboards and runbooks is exported by a running service.

use std::collections::BTreeSet;

use serde_json::Value;
use test_support::{Client, Service};

use crate::PROGRAM;
use crate::dashboards::expressions;
use crate::files::{dashboards, rule_files, runbooks};
use crate::prometheus::Watcher;
use crate::promql::selectors;
use crate::runbooks::queries;

/// Labels whose values appear only after the first such answer. A service without failures has none of them.
const BY_CHANCE: [&str; 1] = ["status"];

/// Every expression, each with the file that it is in.
async fn all_expressions(watcher: &Watcher) -> Vec<(String, String)> {
    let mut found = watcher.expressions().await;
    for (name, dashboard) in dashboards() {
        let of_dashboard = expressions(&dashboard).into_iter();
        found.extend(of_dashboard.map(|expression| (name.clone(), expression)));
    }
    for (name, text) in runbooks() {
        found.extend(queries(&text).into_iter().map(|query| (name.clone(), query.to_owned())));
    }
    assert!(found.len() > 150, "only {} expressions", found.len());
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_expression_can_be_evaluated() {
    let watcher = Watcher::start_idle().await;
    let mut wrong = Vec::new();
    for (place, expression) in all_expressions(&watcher).await {
        if let Err(error) = watcher.evaluate(&expression).await {
            wrong.push(format!("{place}: {expression}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(watcher.evaluate("sum by job (up)").await.is_err(), "a wrong expression is an error");
}

/// Requests every route that the expressions name: a booking, a refusal, the map and the stream.
async fn use_every_route(client: &Client) {
    let schedule = client.schedule(&[("A", 1, 100)], Value::Null).await;
    client.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    client.book(&schedule, &["A-1-1"], "anna").await.expect(409);
    for part in ["", "/seats", "/availability"] {
        client.get(&format!("/api/v1/schedules/{schedule}{part}")).await;
    }
    // Without a listener: the answer for a missing schedule is counted under the route, too.
    client.get("/api/v1/schedules/999999/stream").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_series_that_rules_dashboards_and_runbooks_name_is_exported_by_a_running_service() {
    let service = Service::start(&[PROGRAM], &[("HTTP_WORKERS", "2")]).up().await;
    use_every_route(service.client()).await;
    let configuration = format!(
        "global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}\n\
         rule_files: [rules/*.yml]\n\
         scrape_configs:\n\
         - job_name: seatlock\n  static_configs: [{{targets: ['{}']}}]\n",
        service.address()
    );
    let watcher = Watcher::start(&configuration);
    watcher.take_rules(&rule_files()).await;
    watcher.until("count_over_time(seatlock_ready[5m]) > 4").await;
    // The last of the recorded series.
    watcher.until("count_over_time(job:seatlock_batch_wait_slow:ratio_rate5m[5m]) > 2").await;
    let exported = service.client().get("/metrics").await.body;
    let recorded = watcher.recorded().await;
    let mut asked = BTreeSet::new();
    let mut missing = Vec::new();
    for (place, expression) in all_expressions(&watcher).await {
        for selector in selectors(&expression) {
            let narrowed = selector.without(&BY_CHANCE);
            if !asked.insert(narrowed.clone()) {
                continue;
            }
            if watcher.evaluate(&format!("count({narrowed})")).await.unwrap().is_empty() {
                let known = recorded.contains(&selector.name) || exported.contains(&selector.name);
                let what = if known { "no series has these labels" } else { "no such metric" };
                missing.push(format!("{place}: {narrowed}: {what}"));
            }
        }
    }
    assert!(asked.len() > 80, "only {} selectors", asked.len());
    assert!(
        missing.is_empty(),
        "correct these names, or add these metrics:\n{}",
        missing.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_series_is_used() {
    let watcher = Watcher::start_idle().await;
    let all = all_expressions(&watcher).await;
    let used: BTreeSet<String> =
        all.iter().flat_map(|(_, text)| selectors(text)).map(|found| found.name).collect();
    let recorded = watcher.recorded().await;
    let unused: Vec<_> = recorded.iter().filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "no expression uses {unused:?}: delete them");
}

//! Query parameters: every route takes those that are described for it, each once, and no others.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use test_support::Answer;

use crate::app::{Stack, TestApp};
use crate::openapi::{query_parameters, substitute};

on_both_stacks![
    a_parameter_that_is_not_described_is_refused_everywhere,
    a_parameter_that_is_given_twice_is_refused_everywhere,
    a_write_with_an_unknown_parameter_changes_nothing,
    every_list_names_its_next_page,
];

/// Parameters that may be repeated.
const REPEATABLE: [&str; 1] = ["price"];

async fn ask(app: &TestApp, method: &Method, path: &str) -> Answer {
    let request = app.request(method.clone(), path);
    let has_body = [Method::POST, Method::PUT].contains(method);
    app.send(if has_body { request.json(&json!({})) } else { request }).await
}

/// The first error of an answer that refuses a parameter.
fn refused(answer: &Answer) -> (String, String) {
    let problem = answer.problem(400, "invalid_parameter");
    assert_eq!(problem["effect"], "none");
    let error = &problem["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    (text("pointer"), text("message"))
}

async fn a_parameter_that_is_not_described_is_refused_everywhere(on: Stack) {
    let app = on.start().await;
    let mut seen = 0;
    for (method, path, described) in query_parameters(&app).await {
        if !path.starts_with("/api/") {
            continue;
        }
        let answer = ask(&app, &method, &format!("{path}?colour=red")).await;
        let (pointer, message) = refused(&answer);
        assert_eq!(pointer, "colour", "{method} {path}");
        let takes = message.split("this request: it takes ").nth(1).unwrap();
        let takes: BTreeSet<String> = match takes {
            "no query parameters" => BTreeSet::new(),
            names => names.split(", ").map(str::to_owned).collect(),
        };
        assert_eq!(takes, described, "{method} {path}: the answer and the description differ");
        seen += 1;
    }
    assert!(seen >= 20, "{seen}");
}

async fn a_parameter_that_is_given_twice_is_refused_everywhere(on: Stack) {
    let app = on.start().await;
    let mut seen = 0;
    for (method, path, described) in query_parameters(&app).await {
        for name in described.iter().filter(|name| !REPEATABLE.contains(&name.as_str())) {
            let answer = ask(&app, &method, &format!("{path}?{name}=1&{name}=1")).await;
            let (pointer, message) = refused(&answer);
            assert_eq!(pointer, *name, "{method} {path}");
            assert!(message.contains("twice") || message.contains("must be"), "{message}");
            seen += 1;
        }
    }
    assert!(seen >= 10, "{seen}");
}

async fn a_write_with_an_unknown_parameter_changes_nothing(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let hold = app.hold(&schedule, &["A-1-1", "A-1-2"], "anna").await.id(201);
    let booking = app.book(&schedule, &["A-1-3"], "anna").await.id(200);
    let before = app.database.dump().await;
    for (method, path) in [
        (Method::DELETE, format!("/api/v1/holds/{hold}?seats=A-1-2")),
        (Method::POST, format!("/api/v1/holds/{hold}/extend?ttl_s=900")),
        (Method::POST, format!("/api/v1/bookings/{booking}/cancel?seats=A-1-3")),
        (Method::POST, "/api/v1/events?name=Hamlet".to_owned()),
    ] {
        refused(&ask(&app, &method, &path).await);
    }
    assert_eq!(app.database.dump().await, before);
}

async fn every_list_names_its_next_page(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    for seat in ["A-1-1", "A-1-2", "A-1-3"] {
        app.book(&schedule, &[seat], "anna").await.expect(200);
        app.event("Hamlet").await;
    }
    let event = app.get(&format!("/api/v1/schedules/{schedule}")).await.json()["event_id"].clone();
    let ids = [("{event}", event.as_str().unwrap()), ("{schedule}", &schedule)];
    let lists = [
        "/api/v1/events?",
        "/api/v1/events/{event}/schedules?",
        "/api/v1/bookings?customer_id=anna&",
        "/api/v1/schedules/{schedule}/seats?",
    ];
    for list in lists {
        let list = substitute(list, &ids);
        let whole = app.get(list.trim_end_matches(['?', '&'])).await.expect(200);
        assert_eq!(whole.get("next_cursor"), Some(&Value::Null), "{list}");
        let last = app.get(&format!("{list}limit=200")).await.expect(200);
        assert_eq!(last.get("next_cursor"), Some(&Value::Null), "{list}");
        let first = app.get(&format!("{list}limit=1")).await.expect(200);
        let next = first.get("next_cursor").unwrap();
        assert_eq!(next.is_string(), !list.contains("/schedules?"), "{list}: {first}");
        for wrong in ["0", "1001", "-1", "x", ""] {
            let (pointer, message) = refused(&app.get(&format!("{list}limit={wrong}")).await);
            assert_eq!(pointer, "limit");
            assert!(message.contains("from 1 to "), "{message}");
        }
    }
}

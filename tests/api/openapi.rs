//! The OpenAPI document: complete and correct.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::Value;
use test_support::Client;

use crate::app::Stack;

on_both_stacks![
    every_described_operation_exists,
    every_path_of_the_design_is_described,
    a_method_that_is_not_described_is_refused_with_those_that_are,
    the_document_can_be_read_in_a_browser,
];

const DESIGN: [(&str, &str); 20] = [
    ("/api/v1/events", "get post"),
    ("/api/v1/events/{id}", "get"),
    ("/api/v1/events/{id}/schedules", "get post"),
    ("/api/v1/schedules/{id}", "get"),
    ("/api/v1/schedules/{id}/seats", "get"),
    ("/api/v1/schedules/{id}/availability", "get"),
    ("/api/v1/seat-plans/{id}", "put"),
    ("/api/v1/seat-plans/{id}/versions/{version}", "get"),
    ("/api/v1/holds", "get post"),
    ("/api/v1/holds/{id}", "delete get patch"),
    ("/api/v1/holds/{id}/extend", "post"),
    ("/api/v1/bookings", "get post"),
    ("/api/v1/bookings/{id}", "get"),
    ("/api/v1/bookings/{id}/cancel", "post"),
    ("/api/v1/schedules/{id}/blocks", "get post"),
    ("/api/v1/schedules/{id}/blocks/{block}", "delete"),
    ("/livez", "get"),
    ("/readyz", "get"),
    ("/metrics", "get"),
    ("/problems/{code}", "get"),
];

/// The methods of each described path.
pub(crate) async fn described(client: &Client) -> BTreeMap<String, BTreeSet<String>> {
    let document = client.get("/openapi.json").await.expect(200);
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
    let paths = document["paths"].as_object().unwrap();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// A value for a path parameter that names nothing that exists.
pub(crate) fn example(path: &str) -> String {
    let id = "1-01900000000070008000000000000000";
    path.replace("/bookings/{id}", &format!("/bookings/{id}"))
        .replace("/holds/{id}", &format!("/holds/{id}"))
        .replace("{block}", id)
        .replace("{id}", "9999")
        .replace("{version}", "1")
        .replace("{code}", "internal")
}

/// A path with the first of each pair replaced by the second.
pub(crate) fn substitute(path: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(path.to_owned(), |path, (from, to)| path.replace(from, to))
}

/// Every described operation, with an example of its path and the names of its query parameters.
pub(crate) async fn query_parameters(client: &Client) -> Vec<(Method, String, BTreeSet<String>)> {
    let document = client.get("/openapi.json").await.expect(200);
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let of_query = parameters.iter().filter(|parameter| parameter["in"] == "query");
            let names = of_query.map(|parameter| parameter["name"].as_str().unwrap().to_owned());
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            operations.push((method, example(path), names.collect()));
        }
    }
    operations
}

/// Every described operation, with an example of its path.
pub(crate) async fn operations(client: &Client) -> Vec<(Method, String)> {
    let mut operations = Vec::new();
    for (path, methods) in described(client).await {
        for method in methods {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            operations.push((method, example(&path)));
        }
    }
    operations
}

async fn every_described_operation_exists(on: Stack) {
    let app = on.start().await;
    for (method, path) in operations(&app).await {
        let answer = app.send(app.request(method.clone(), &path)).await;
        assert_ne!(answer.status, 405, "{method} {path}");
        assert!(answer.status < 500, "{method} {path}: {answer:?}");
        assert!(!answer.body.contains("there is nothing at"), "{method} {path}: {answer:?}");
    }
}

async fn every_path_of_the_design_is_described(on: Stack) {
    let app = on.start().await;
    let described = described(&app).await;
    for (path, methods) in DESIGN {
        let found: Vec<&str> = described
            .get(path)
            .unwrap_or_else(|| panic!("{path} is not described"))
            .iter()
            .map(String::as_str)
            .collect();
        assert_eq!(found.join(" "), methods, "{path}");
    }
}

async fn a_method_that_is_not_described_is_refused_with_those_that_are(on: Stack) {
    let app = on.start().await;
    for (path, methods) in described(&app).await {
        let mut methods = methods;
        if methods.contains("get") {
            methods.insert("head".to_owned());
        }
        methods.insert("options".to_owned());
        for other in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            if methods.contains(&other.to_lowercase()) {
                continue;
            }
            let method = Method::from_bytes(other.as_bytes()).unwrap();
            let refused = app.send(app.request(method, &example(&path))).await;
            refused.problem(405, "method_not_allowed");
            let allow = refused.header("allow").unwrap().split(", ").map(str::to_lowercase);
            assert_eq!(allow.collect::<BTreeSet<_>>(), methods, "{other} {path}");
        }
    }
}

async fn the_document_can_be_read_in_a_browser(on: Stack) {
    let app = on.start().await;
    let document = app.get("/openapi.json").await.expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let page = app.get("/docs/").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").unwrap().starts_with("text/html"));
    let same = app.get("/docs").await;
    assert_eq!(same.body, page.body, "a redirect leads there");
}

//! Requests of pages in a browser: CORS, and keys in the query of streams.

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use test_support::{Answer, Client};

use crate::app::{Stack, TestApp};
use crate::keys::{ADMIN, KEYS, create, secret, with_admin};

on_both_stacks![
    a_page_reads_with_the_publishable_key_of_its_origin,
    a_preflight_is_answered_for_the_origins_of_all_live_keys,
    without_publishable_keys_no_answer_is_for_other_origins,
    a_stream_takes_a_publishable_key_in_its_query,
];

const SHOP: &str = "https://shop.example";
const FAIR: &str = "http://localhost:5173";
const EVIL: &str = "https://evil.example";
const EVENTS: &str = "/api/v1/events";

pub(crate) async fn page_key(office: &Client, name: &str, origin: &str) -> (String, String) {
    create(office, json!({"name": name, "kind": "publishable", "origins": [origin]})).await
}

/// A request as a browser sends it for a page of this origin.
fn from(request: RequestBuilder, origin: &str) -> RequestBuilder {
    request
        .header("origin", origin)
        .header("sec-fetch-site", "cross-site")
        .header("sec-fetch-mode", "cors")
}

async fn read(client: &Client, path: &str, origin: &str) -> Answer {
    client.send(from(client.request(Method::GET, path), origin)).await
}

/// Whether the browser lets a page of this origin read the answer.
fn is_readable_for(answer: &Answer, origin: &str) -> bool {
    let varies = answer.headers.get_all("vary").iter().any(|value| value == "origin");
    assert!(varies, "a cache must not give the answer to another page: {answer:?}");
    answer.header("access-control-allow-origin") == Some(origin)
}

async fn a_page_reads_with_the_publishable_key_of_its_origin(on: Stack) {
    let (app, office) = with_admin(on).await;
    let schedule = office.row_of(2).await;
    let (_, key) = page_key(&office, "shop", SHOP).await;
    let (_, of_fair) = page_key(&office, "fair", FAIR).await;
    let page = app.client_with_key(&key);
    for what in ["seats", "availability", "seats?status=available"] {
        let path = format!("/api/v1/schedules/{schedule}/{what}");
        let map = read(&page, &path, SHOP).await;
        map.expect(200);
        assert!(is_readable_for(&map, SHOP), "{map:?}");
        let exposed = map.header("access-control-expose-headers").unwrap();
        for name in ["x-seatlock-version", "etag", "retry-after", "x-request-id", "location"] {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{name}: {exposed}");
        }
        assert_eq!(map.header("access-control-allow-credentials"), None);
    }
    // A problem is readable, too: of the key, of its scope, and of what is requested.
    for (client, path, status) in [
        (page.clone(), "/api/v1/schedules/99", 404),
        (page.clone(), KEYS, 403),
        (app.client(), EVENTS, 401),
    ] {
        let problem = read(&client, path, SHOP).await;
        assert_eq!(problem.status, status, "{problem:?}");
        assert!(is_readable_for(&problem, SHOP), "{problem:?}");
    }
    // The key of another page, and other pages.
    let fair = app.client_with_key(&of_fair);
    let other = read(&fair, EVENTS, SHOP).await;
    other.problem(403, "origin_not_allowed");
    assert!(is_readable_for(&other, SHOP), "the page may learn why");
    for origin in [
        EVIL,
        "null",
        "http://shop.example",
        "https://shop.example:444",
        "https://shop.example.evil",
    ] {
        let refused = read(&page, EVENTS, origin).await;
        refused.problem(403, "origin_not_allowed");
        assert!(!is_readable_for(&refused, origin), "{refused:?}");
    }
    // What no page sent.
    let plain = page.get(EVENTS).await;
    plain.expect(200);
    assert_eq!(plain.header("access-control-allow-origin"), None);
    // A page cannot write with a key that is not one.
    for key in ["pk_live_nothing", &key.replace("pk_", "sk_")] {
        let forged = app.client_with_key(key);
        let request = forged.request(Method::POST, EVENTS).json(&json!({"name": "Lear"}));
        let refused = forged.send(from(request, SHOP)).await;
        assert!([401, 403].contains(&refused.status), "{refused:?}");
    }
    assert_eq!(office.items(&format!("{EVENTS}?limit=9")).await.len(), 1);
}

async fn preflight(app: &TestApp, path: &str, origin: &str) -> Answer {
    let request = from(app.request(Method::OPTIONS, path), origin);
    let request = request.header("access-control-request-method", "POST");
    app.send(request.header("access-control-request-headers", "authorization,hold-secret")).await
}

async fn a_preflight_is_answered_for_the_origins_of_all_live_keys(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (shop, _) = page_key(&office, "shop", SHOP).await;
    page_key(&office, "fair", FAIR).await;
    for path in ["/api/v1/holds", "/api/v1/holds/7-x", "/api/v1/schedules/7/stream"] {
        for origin in [SHOP, FAIR] {
            let answer = preflight(&app, path, origin).await;
            assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
            assert!(is_readable_for(&answer, origin), "{answer:?}");
            let list = |name| answer.header(name).unwrap().split(", ").collect::<Vec<_>>();
            assert_eq!(list("access-control-allow-methods"), list("allow"));
            for name in [
                "authorization",
                "content-type",
                "idempotency-key",
                "hold-secret",
                "if-none-match",
                "last-event-id",
                "prefer",
            ] {
                assert!(list("access-control-allow-headers").contains(&name), "{answer:?}");
            }
            assert_eq!(answer.header("access-control-max-age"), Some("600"));
        }
        let refused = preflight(&app, path, EVIL).await;
        assert!(!is_readable_for(&refused, EVIL), "{refused:?}");
        assert_eq!(refused.header("access-control-allow-headers"), None);
    }
    office.delete(&format!("{KEYS}/{shop}")).await;
    assert!(!is_readable_for(&preflight(&app, "/api/v1/holds", SHOP).await, SHOP));
    assert!(is_readable_for(&preflight(&app, "/api/v1/holds", FAIR).await, FAIR));
    let outside = preflight(&app, "/livez", FAIR).await;
    assert_eq!(outside.header("access-control-allow-origin"), None, "{outside:?}");
}

async fn without_publishable_keys_no_answer_is_for_other_origins(on: Stack) {
    for app in [on.start().await, with_admin(on).await.0] {
        let office = app.client_with_key(ADMIN);
        secret(&office, "shop", "sell").await;
        for answer in [read(&office, EVENTS, SHOP).await, preflight(&app, EVENTS, SHOP).await] {
            let mut names = answer.headers.keys().map(|name| name.as_str());
            assert!(!names.any(|name| name.starts_with("access-control-")), "{answer:?}");
        }
    }
}

async fn a_stream_takes_a_publishable_key_in_its_query(on: Stack) {
    let (app, office) = with_admin(on).await;
    let schedule = office.row_of(1).await;
    let (_, key) = page_key(&office, "shop", SHOP).await;
    let (_, server) = secret(&office, "server", "read").await;
    let stream = format!("/api/v1/schedules/{schedule}/stream");
    let opened = app
        .open(from(app.request(Method::GET, &format!("{stream}?key={key}&min_version=1")), SHOP))
        .await;
    assert_eq!(opened.status(), 200);
    assert_eq!(opened.headers()["access-control-allow-origin"], SHOP);
    drop(opened);
    let head = app.request(Method::HEAD, &format!("{stream}?key={key}"));
    assert_eq!(app.send(head).await.status, 200);
    let elsewhere = read(&app, &format!("{stream}?key={key}"), EVIL).await;
    elsewhere.problem(403, "origin_not_allowed");

    for (path, status) in [
        (format!("{stream}?key={server}"), 401),
        (format!("{stream}?key={}x", &key[..43]), 401),
        (format!("{stream}?key={key}&colour=red"), 400),
        (format!("{stream}?key=x"), 401),
        (stream.clone(), 401),
        (format!("/api/v1/schedules/{schedule}/seats?key={key}"), 401),
        (format!("/api/v1/booking-requests/1-x/stream?key={key}"), 403),
        (format!("/api/v1/nothing?key={key}"), 404),
    ] {
        let refused = read(&app, &path, SHOP).await;
        assert_eq!(refused.status, status, "{path}: {refused:?}");
        refused.check_problem();
        assert!(
            !refused.body.contains(&key[8..]) && !refused.body.contains(&server[8..]),
            "{refused:?}"
        );
    }
    let both = app.client_with_key(&server);
    both.get(&format!("{stream}?key={key}")).await.problem(400, "invalid_parameter");
}

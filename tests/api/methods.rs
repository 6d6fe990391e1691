//! Features of HTTP itself: HEAD and OPTIONS, older clients, percent-encoded paths, compressed bodies.

use std::io::Write as _;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::json;
use test_support::{Answer, SOON, taking};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::{Stack, TestApp};
use crate::openapi::{described, example, substitute};
use crate::problems::raw;
use crate::queue::QUEUED;

on_both_stacks![
    head_has_the_headers_of_get_and_no_body,
    options_lists_the_methods_of_a_resource,
    a_preflight_is_answered_without_a_key_and_permits_nothing,
    a_stream_for_an_older_client_ends_with_its_connection,
    a_path_is_decoded_once,
    a_body_may_come_in_gzip,
];

/// Headers that differ from one answer to the next.
const CHANGING: [&str; 3] = ["date", "x-request-id", "retry-after"];

fn steady(headers: &HeaderMap) -> HeaderMap {
    let steady = headers.iter().filter(|(name, _)| !CHANGING.contains(&name.as_str()));
    steady.map(|(name, value)| (name.clone(), value.clone())).collect()
}

async fn head_has_the_headers_of_get_and_no_body(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(3).await;
    let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    let booking = app.book(&schedule, &["A-1-2"], "anna").await.id(200);
    let place = app.queued(&schedule, &["A-1-3"], "ben").await;
    app.outcome(&place).await;
    let read = app.get(&format!("/api/v1/schedules/{schedule}")).await.json();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (event, plan) = (text(&read["event_id"]), text(&read["seat_plan"]["id"]));
    let (hold, booking) = (format!("/holds/{hold}"), format!("/bookings/{booking}"));
    let request = place.rsplit('/').next().unwrap();
    let ids = [
        ("/holds/{id}", hold.as_str()),
        ("/bookings/{id}", &booking),
        ("/booking-requests/{id}", &format!("/booking-requests/{request}")),
        ("/schedules/{id}", &format!("/schedules/{schedule}")),
        ("/events/{id}", &format!("/events/{event}")),
        ("/seat-plans/{id}", &format!("/seat-plans/{plan}")),
        ("{version}", "1"),
        ("{code}", "internal"),
    ];
    let mut reads = 0;
    for (path, methods) in described(&app).await {
        if !methods.contains("get") || path == "/metrics" {
            continue;
        }
        for path in [substitute(&path, &ids), example(&path), format!("{}?colour", example(&path))]
        {
            let list = path == "/api/v1/bookings";
            let path = if list { format!("{path}?customer_id=anna") } else { path };
            let got = app.open(app.request(Method::GET, &path)).await;
            let (status, headers) = (got.status(), steady(got.headers()));
            drop(got);
            let head = app.send(app.request(Method::HEAD, &path)).await;
            assert_eq!(head.status, status, "{path}");
            assert_eq!(steady(&head.headers), headers, "{path}");
            assert_eq!(head.body, "", "{path}");
            assert!(head.header("content-length").is_some() || path.contains("/stream"), "{path}");
            reads += u32::from(head.status == 200);
        }
    }
    assert!(reads >= 16, "{reads}");
    for beside in ["/metrics", "/openapi.json"] {
        let head = app.send(app.request(Method::HEAD, beside)).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{beside}");
    }
}

/// The methods that an answer lists.
fn allowed(answer: &Answer) -> Vec<&str> {
    answer.header("allow").unwrap().split(", ").collect()
}

async fn options_lists_the_methods_of_a_resource(on: Stack) {
    let app = on.start().await;
    for (path, methods) in described(&app).await {
        let answer = app.send(app.request(Method::OPTIONS, &example(&path))).await;
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        let mut expected: Vec<String> =
            methods.iter().map(|method| method.to_uppercase()).collect();
        expected.extend(methods.contains("get").then(|| "HEAD".to_owned()));
        expected.push("OPTIONS".to_owned());
        expected.sort_unstable();
        let mut found = allowed(&answer);
        found.sort_unstable();
        assert_eq!(found, expected, "{path}");
    }
    let nowhere = app.send(app.request(Method::OPTIONS, "/api/v1/nothing")).await;
    nowhere.problem(404, "not_found");
}

async fn a_preflight_is_answered_without_a_key_and_permits_nothing(on: Stack) {
    let app = on.start_with(&[("ADMIN_API_KEY", "correct-horse-battery-staple")]).await;
    for path in ["/api/v1/bookings", "/api/v1/holds/1", "/api/v1/schedules/1/seats"] {
        let request = app.request(Method::OPTIONS, path);
        let request = request.header("origin", "https://shop.example");
        let request = request.header("access-control-request-method", "POST");
        let request = request.header("access-control-request-headers", "authorization");
        let answer = app.send(request).await;
        assert_eq!(answer.status, 204, "{path}: {answer:?}");
        assert!(allowed(&answer).contains(&"OPTIONS"));
        let mut names = answer.headers.keys().map(|name| name.as_str());
        assert!(!names.any(|name| name.starts_with("access-control-")), "{answer:?}");
    }
    // What follows a preflight needs the key all the same.
    app.get("/api/v1/bookings").await.problem(401, "unauthenticated");
}

/// A connection that listens to a schedule, and what it has received when the first map is there.
async fn listen(app: &TestApp, schedule: &str, version: &str) -> (TcpStream, Vec<u8>) {
    let mut connection = TcpStream::connect(app.address()).await.unwrap();
    let path = format!("/api/v1/schedules/{schedule}/stream");
    let request = format!("GET {path} HTTP/{version}\r\nhost: {}\r\n\r\n", app.address());
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    while !String::from_utf8_lossy(&received).contains("event: snapshot\n") {
        assert_ne!(connection.read_buf(&mut received).await.unwrap(), 0, "{received:?}");
    }
    (connection, received)
}

async fn a_stream_for_an_older_client_ends_with_its_connection(on: Stack) {
    let mut app = on.start().await;
    let schedule = app.row_of(2).await;
    let path = format!("/api/v1/schedules/{schedule}/stream");
    let head = format!("HEAD {path} HTTP/1.0\r\nhost: {}\r\n\r\n", app.address());
    let head = tokio::time::timeout(SOON, raw(&app, &head)).await.unwrap();
    assert!(head.starts_with("HTTP/1.0 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(app.metric("seatlock_stream_listeners").await, 0.0, "HEAD opens no stream");
    let mut old = listen(&app, &schedule, "1.0").await;
    let mut new = listen(&app, &schedule, "1.1").await;
    app.drain();
    for (connection, received) in [&mut old, &mut new] {
        tokio::time::timeout(SOON, connection.read_to_end(received)).await.unwrap().unwrap();
    }
    let [old, new] = [old.1, new.1].map(|bytes| String::from_utf8(bytes).unwrap());
    let (head, body) = old.split_once("\r\n\r\n").unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    assert!(body.starts_with("retry: "), "{body}");
    assert!(body.ends_with("event: bye\ndata: {\"reason\":\"draining\"}\n\n"), "{body}");
    assert!(new.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n"), "{new}");
}

/// Sends a request with exactly this path, and returns status and body.
async fn exactly(app: &TestApp, request: &str, body: &str) -> (u16, String) {
    let head = format!(
        "{request} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: text/csv\r\n\
         content-length: {}\r\n\r\n{body}",
        app.address(),
        body.len()
    );
    let answer = raw(app, &head).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn a_path_is_decoded_once(on: Stack) {
    const PLAN: &str = "section,row,number\nA,1,1\n";
    let app = on.start().await;
    let (status, body) = exactly(&app, "PUT /api/v1/seat-plans/h%61ll%2D2?price=1", PLAN).await;
    assert_eq!((status, body.as_str()), (200, r#"{"id":"hall-2","version":1}"#));
    for id in ["hall-2", "hall%2d2", "%68%61%6C%6C%2D%32"] {
        let (status, _) =
            exactly(&app, &format!("GET /api/v1/seat-plans/{id}/versions/%31"), "").await;
        assert_eq!(status, 200, "{id}");
    }
    let event = app.event("Hamlet").await;
    app.get(&format!("/api/v1/events/%3{event}")).await.expect(200);
    app.get("/problems/%69nternal").await.expect(200);
    // The same plan names are refused as on the command line.
    let before = app.database.dump().await;
    for id in ["a%2Fc", "..", "%2e%2E", ".", "%20", "a+b", "a%2Bb", "%2541", "a%00b", "s%C3%A4le"] {
        let (status, body) =
            exactly(&app, &format!("PUT /api/v1/seat-plans/{id}?price=1"), PLAN).await;
        assert_eq!(status, 422, "{id}: {body}");
        let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(problem["errors"][0]["pointer"], "id", "{id}");
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("1 to 64 letters A to Z, digits or the characters - . _ ~"));
    }
    for id in ["%zz", "a%2", "%", "%FF", "%2%35"] {
        for request in
            ["GET /api/v1/events/{}", "GET /api/v1/holds/{}", "PUT /api/v1/seat-plans/{}"]
        {
            let (status, body) = exactly(&app, &request.replace("{}", id), PLAN).await;
            assert_eq!(status, 400, "{request} {id}: {body}");
            assert!(body.contains("\"pointer\":\"id\""), "{body}");
        }
    }
    assert_eq!(app.database.dump().await, before);
}

async fn a_body_may_come_in_gzip(on: Stack) {
    let app = on.start_with(&[("BODY_LIMIT", "2000")]).await;
    let schedule = app.row_of(2).await;
    let send = async |coding: &str, body: Vec<u8>| {
        let request = app.request(Method::POST, "/api/v1/bookings").body(body);
        let request = request.header("content-type", "application/json");
        app.send(request.header("content-encoding", coding)).await
    };
    let packed = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let body = |seat: &str| taking(&schedule, &[seat], "anna").to_string();
    let booking = send("gzip", packed(&body("A-1-1"))).await.expect(200);
    assert_eq!(booking["customer_id"], "anna");
    send("gzip", packed(&" ".repeat(1_000_000))).await.problem(413, "payload_too_large");
    send("gzip", body("A-1-2").into_bytes()).await.problem(400, "bad_request");
    for other in ["br", "deflate", "gzip, gzip"] {
        let refused = send(other, packed(&body("A-1-2"))).await;
        let problem = refused.problem(415, "unsupported_media_type");
        assert!(problem["detail"].as_str().unwrap().contains(other), "{problem}");
        assert_eq!(refused.header("accept-encoding"), Some("gzip, identity"));
    }
    let refused = app.send(app.request(Method::POST, "/api/v1/bookings").body("x")).await;
    refused.problem(415, "unsupported_media_type");
    assert_eq!(refused.header("accept-encoding"), None, "the type is what is wrong");
    send("identity", body("A-1-2").into_bytes()).await.expect(200);
    assert_eq!(app.states(&schedule).await, "bo bo ");
    let again = json!({"schedule_id": schedule, "seats": ["A-1-1"], "customer_id": "ben"});
    app.post("/api/v1/bookings", &again).await.problem(409, "seats_unavailable");
}

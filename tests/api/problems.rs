//! Problems: every error has the same form, the id of its request, and a page with its remedy.

use reqwest::Method;
use serde_json::json;
use test_support::{Client, taking};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::app::Stack;

on_both_stacks![
    an_unknown_path_is_answered_with_a_problem,
    an_unsupported_method_is_answered_with_the_supported_ones,
    a_body_of_another_type_is_refused,
    a_body_that_is_too_large_is_refused,
    a_body_that_arrives_too_slowly_is_refused,
    a_head_that_is_too_large_is_refused,
    every_answer_has_the_id_of_its_request,
    every_problem_has_a_page_with_its_remedy,
];

async fn an_unknown_path_is_answered_with_a_problem(on: Stack) {
    let app = on.start().await;
    for path in
        ["/", "/api", "/api/v1", "/api/v1/nothing", "/api/v2/events", "/%00", "/%F0%9F%98%80"]
    {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = app.send(app.request(method, path)).await;
            let problem = answer.problem(404, "not_found");
            assert_eq!(
                (&problem["effect"], &problem["retryable"]),
                (&json!("none"), &json!(false))
            );
        }
    }
}

async fn an_unsupported_method_is_answered_with_the_supported_ones(on: Stack) {
    let app = on.start().await;
    for (method, path, allow) in [
        (Method::PUT, "/api/v1/bookings", "GET, HEAD, POST, OPTIONS"),
        (Method::DELETE, "/api/v1/events", "GET, HEAD, POST, OPTIONS"),
        (Method::PUT, "/api/v1/holds/1", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (Method::PUT, "/api/v1/holds", "GET, HEAD, POST, OPTIONS"),
        (Method::HEAD, "/api/v1/holds/1/extend", "POST, OPTIONS"),
        (Method::POST, "/livez", "GET, HEAD, OPTIONS"),
        (Method::from_bytes(b"BREW").unwrap(), "/api/v1/bookings", "GET, HEAD, POST, OPTIONS"),
    ] {
        let answer = app.send(app.request(method.clone(), path)).await;
        assert_eq!(answer.status, 405, "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
        if method != Method::HEAD {
            answer.problem(405, "method_not_allowed");
        }
    }
}

async fn a_body_of_another_type_is_refused(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(4).await;
    let body = |seat| taking(&schedule, &[seat], "anna").to_string();
    let send = async |content_type: Option<&str>, seat| {
        let mut request = app.request(Method::POST, "/api/v1/bookings").body(body(seat));
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        app.send(request).await
    };
    for wrong in [None, Some("text/plain"), Some("application/x-www-form-urlencoded"), Some("json")]
    {
        send(wrong, "A-1-1").await.problem(415, "unsupported_media_type");
    }
    assert_eq!(app.states(&schedule).await, "av av av av ");
    for (seat, right) in [
        ("A-1-1", "application/json"),
        ("A-1-2", "application/json; charset=utf-8"),
        ("A-1-3", "APPLICATION/JSON"),
        ("A-1-4", "application/vnd.shop+json"),
    ] {
        send(Some(right), seat).await.expect(200);
    }
}

async fn a_body_that_is_too_large_is_refused(on: Stack) {
    let app = on.start_with(&[("BODY_LIMIT", "2000"), ("PLAN_BODY_LIMIT", "4000")]).await;
    let long = |length: usize| json!({"name": "x".repeat(length)});
    app.post("/api/v1/events", &long(3_000)).await.problem(413, "payload_too_large");
    app.post("/api/v1/events/1/schedules", &long(5_000)).await.problem(413, "payload_too_large");
    app.post("/api/v1/events/1/schedules", &long(3_000)).await.problem(422, "validation_failed");
    // Of unknown length, piece by piece.
    let pieces = format!("{:x}\r\n{}\r\n0\r\n\r\n", 3_000, " ".repeat(3_000));
    let head = "POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                connection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = raw(&app, &format!("{head}{pieces}")).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.contains("\"code\":\"payload_too_large\""), "{answer}");
    assert!(app.items("/api/v1/events").await.is_empty());
}

async fn a_body_that_arrives_too_slowly_is_refused(on: Stack) {
    let app = on.start_with(&[("BODY_TIMEOUT", "300ms")]).await;
    let head = "POST /api/v1/events HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                connection: close\r\ncontent-length: 100\r\n\r\n";
    let answer = raw(&app, &format!("{head}{{\"name\"")).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");
    assert!(app.items("/api/v1/events").await.is_empty());
}

async fn a_head_that_is_too_large_is_refused(on: Stack) {
    let app = on.start().await;
    let head = format!(
        "GET /livez HTTP/1.1\r\nhost: localhost\r\nx-long: {}\r\n\r\n",
        "x".repeat(300_000)
    );
    let answer = raw(&app, &head).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    app.get("/livez").await;
}

/// Sends bytes unchanged and reads until the server closes the connection.
pub(crate) async fn raw(client: &Client, bytes: &str) -> String {
    let mut connection = TcpStream::connect(client.address()).await.unwrap();
    // The server may close the connection before it has read everything.
    drop(connection.write_all(bytes.as_bytes()).await);
    let mut answer = Vec::new();
    drop(connection.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

async fn every_answer_has_the_id_of_its_request(on: Stack) {
    let app = on.start().await;
    let ask = async |path: &str, id: &str| {
        app.send(app.request(Method::GET, path).header("x-request-id", id)).await
    };
    for path in ["/livez", "/api/v1/events", "/api/v1/nothing"] {
        assert_eq!(ask(path, "shop-7f").await.header("x-request-id"), Some("shop-7f"));
        let long = "x".repeat(65);
        for unfit in ["", "two words", &long] {
            let answer = ask(path, unfit).await;
            let id = answer.header("x-request-id").unwrap();
            assert!(id != unfit && id.len() >= 16, "{id}");
        }
        let (one, two) = (app.get(path).await, app.get(path).await);
        assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
        assert!(one.header("x-request-id").is_some());
    }
    let problem = ask("/api/v1/nothing", "shop-7f").await.problem(404, "not_found");
    assert_eq!(problem["request_id"], "shop-7f");
}

async fn every_problem_has_a_page_with_its_remedy(on: Stack) {
    let app = on.start().await;
    for code in seatlock::http::problem::Code::ALL {
        let page = app.get(&format!("/problems/{}", code.name())).await.expect(200);
        assert_eq!((&page["code"], &page["status"]), (&json!(code.name()), &json!(code.status())));
        assert!(!page["remedy"].as_str().unwrap().is_empty());
        assert_eq!(page["payment"], code.payment().instruction());
    }
    let kind = app.get("/api/v1/nothing").await.json()["type"].as_str().unwrap().to_owned();
    app.get(&kind).await.expect(200);
    app.get("/problems/nonsense").await.problem(404, "not_found");
}

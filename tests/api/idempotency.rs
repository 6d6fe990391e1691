//! Idempotency-Key: a repeated request gets the same answer and has no second effect.

use serde_json::{Value, json};
use test_support::{Answer, Citus, taking};

use crate::app::{Stack, TestApp};

on_both_stacks![
    a_repeated_request_gets_the_same_bytes,
    every_kind_of_effect_happens_once,
    a_key_is_the_same_bare_and_quoted,
    a_key_of_another_request_is_refused,
    a_request_that_is_written_differently_is_the_same_request,
    a_plan_that_is_written_differently_is_the_same_request,
    a_refused_request_may_succeed_under_the_same_key,
    a_key_is_free_again_when_its_time_is_over,
    a_repeated_hold_is_answered_although_its_seats_are_held,
    an_invalid_key_is_refused,
];

/// Sends a request twice under one key: the second answer must equal the first, and change nothing.
async fn twice(app: &TestApp, path: &str, key: &str, body: &Value) -> Answer {
    let first = app.post_keyed(path, key, body).await;
    assert!((200..300).contains(&first.status), "{path}: {first:?}");
    assert_eq!(first.header("idempotent-replayed"), None);
    let before = app.database.dump().await;
    let again = app.post_keyed(path, key, body).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body), "{path}");
    assert_eq!(again.header("idempotent-replayed"), Some("true"), "{path}");
    for header in ["location", "content-location", "content-type"] {
        assert_eq!(again.header(header), first.header(header), "{path} {header}");
    }
    assert_eq!(app.database.dump().await, before, "{path}");
    first
}

async fn a_repeated_request_gets_the_same_bytes(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let body = taking(&schedule, &["A-1-1"], "käufer 😀");
    let first = twice(&app, "/api/v1/bookings", "order-7", &body).await;
    // The answer stays the same after later changes of the booking.
    app.cancel(&first.id(200), None).await.expect(200);
    let again = app.post_keyed("/api/v1/bookings", "order-7", &body).await;
    assert_eq!(again.body, first.body);
    assert_eq!(app.states(&schedule).await, "av av ");
}

async fn every_kind_of_effect_happens_once(on: Stack) {
    let app = on.start().await;
    let event = twice(&app, "/api/v1/events", "event", &json!({"name": "Hamlet"})).await.id(201);
    let plan = json!({"sections": [{"name": "A", "rows": 1, "seats_per_row": 9, "price": 100}]});
    let body = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": plan});
    let schedules = format!("/api/v1/events/{event}/schedules");
    let schedule = twice(&app, &schedules, "schedule", &body).await.id(201);
    let seats = json!({"seats": ["A-1-9"], "reason": "camera"});
    twice(&app, &format!("/api/v1/schedules/{schedule}/blocks"), "block", &seats).await;
    let body = taking(&schedule, &["A-1-1", "A-1-2"], "anna");
    let hold = twice(&app, "/api/v1/holds", "hold", &body).await.id(201);
    let longer = json!({"ttl_s": 900});
    twice(&app, &format!("/api/v1/holds/{hold}/extend"), "extend", &longer).await;
    let body = json!({ "hold_id": hold });
    let booking = twice(&app, "/api/v1/bookings", "confirm", &body).await.id(200);
    let part = json!({"seats": ["A-1-1"]});
    twice(&app, &format!("/api/v1/bookings/{booking}/cancel"), "part", &part).await;
    twice(&app, &format!("/api/v1/bookings/{booking}/cancel"), "rest", &json!({})).await;
    assert_eq!(app.states(&schedule).await, "av av av av av av av av bl ");
    assert_eq!(app.items("/api/v1/events").await.len(), 1);
    app.audit().await;
}

async fn a_key_is_the_same_bare_and_quoted(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let body = taking(&schedule, &["A-1-1"], "anna");
    let longest = "k".repeat(255);
    for key in ["order-7", "!#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", &longest] {
        let event = json!({ "name": "Hamlet" });
        let bare = app.post_keyed("/api/v1/events", key, &event).await;
        let quoted = app.post_keyed("/api/v1/events", &format!("\"{key}\""), &event).await;
        assert_eq!((quoted.status, quoted.body), (201, bare.body), "{key}");
    }
    app.post_keyed("/api/v1/bookings", "\"quoted\"", &body).await.expect(200);
    let bare = app.post_keyed("/api/v1/bookings", "quoted", &body).await;
    assert_eq!(bare.header("idempotent-replayed"), Some("true"));
}

async fn a_key_of_another_request_is_refused(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let body = taking(&schedule, &["A-1-1"], "anna");
    app.post_keyed("/api/v1/bookings", "k", &body).await.expect(200);
    let before = app.database.dump().await;
    let mut others = vec![
        ("/api/v1/bookings", taking(&schedule, &["A-1-2"], "anna")),
        // The first request took this seat: the key must not make it look like a lost race.
        ("/api/v1/bookings", taking(&schedule, &["A-1-1"], "ben")),
        ("/api/v1/holds", body.clone()),
    ];
    // On Citus the catalogue and each schedule have keys of their own.
    if Citus::given().is_none() {
        others.push(("/api/v1/events", json!({"name": "Hamlet"})));
    }
    for (path, body) in others {
        let refused = app.post_keyed(path, "k", &body).await;
        let problem = refused.problem(422, "idempotency_key_reused");
        assert_eq!((&problem["effect"], &problem["retryable"]), (&json!("none"), &json!(false)));
    }
    assert_eq!(app.database.dump().await, before);
}

/// Sends a body unchanged.
async fn write(app: &TestApp, path: &str, key: &str, body: &str) -> Answer {
    let request = app.request(reqwest::Method::POST, path).header("idempotency-key", key);
    app.send(request.header("content-type", "application/json").body(body.to_owned())).await
}

/// A path, a request to it, the same request written in other ways, and requests that differ from it.
type Writing = (String, String, Vec<String>, Vec<String>);

fn writings(schedule: &str, schedules: &str, extend: &str) -> Vec<Writing> {
    let section = r#"{"name":"A","rows":1,"seats_per_row":1,"price":100}"#;
    let shuffled = r#"{"price":100,"rows":1,"name":"A","seats_per_row":1}"#;
    vec![
        (
            "/api/v1/holds".to_owned(),
            format!(
                r#"{{"schedule_id":"{schedule}","seats":["A-1-1","A-1-2"],"customer_id":"ada"}}"#
            ),
            vec![
                format!(
                    r#" {{ "customer_id" : "\u0061da",  "seats":["A-1-2","A-1-1"],
                        "ttl_s": null, "schedule_id": {schedule} }} "#
                ),
                format!(
                    r#"{{"schedule_id":{schedule},"seats":["A-1-1","A\u002d1-2"],"customer_id":"ada"}}"#
                ),
            ],
            vec![
                format!(r#"{{"schedule_id":{schedule},"seats":["A-1-1"],"customer_id":"ada"}}"#),
                format!(
                    r#"{{"schedule_id":{schedule},"seats":["A-1-1","A-1-2"],"customer_id":"Ada"}}"#
                ),
                format!(
                    r#"{{"schedule_id":{schedule},"seats":["A-1-1","A-1-2"],"customer_id":"ada","ttl_s":60}}"#
                ),
            ],
        ),
        (
            schedules.to_owned(),
            format!(
                r#"{{"starts_at":"2030-01-01T20:00:00Z","seat_plan":{{"sections":[{section}]}}}}"#
            ),
            vec![format!(
                r#"{{"seat_plan":{{"sections":[{shuffled}]}},"currency":null,"starts_at":"2030-01-01T21:00:00.000+01:00"}}"#
            )],
            vec![
                format!(
                    r#"{{"starts_at":"2030-01-01T20:00:00.001Z","seat_plan":{{"sections":[{section}]}}}}"#
                ),
                format!(
                    r#"{{"starts_at":"2030-01-01T20:00:00Z","currency":"CHF","seat_plan":{{"sections":[{section}]}}}}"#
                ),
            ],
        ),
        (
            extend.to_owned(),
            String::new(),
            vec!["{}".to_owned(), r#"{"ttl_s":null}"#.to_owned()],
            vec![r#"{"ttl_s":900}"#.to_owned()],
        ),
    ]
}

async fn a_request_that_is_written_differently_is_the_same_request(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(9).await;
    let event = app.event("Hamlet").await;
    let schedules = format!("/api/v1/events/{event}/schedules");
    let extended = app.hold(&schedule, &["A-1-7"], "anna").await.id(201);
    let extend = format!("/api/v1/holds/{extended}/extend");
    for (path, first, same, different) in writings(&schedule, &schedules, &extend) {
        let path = path.as_str();
        let answer = write(&app, path, path, &first).await;
        assert!(answer.status < 300, "{path} {first}: {answer:?}");
        for body in same {
            let again = write(&app, path, path, &body).await;
            assert_eq!((again.status, &again.body), (answer.status, &answer.body), "{body}");
            assert_eq!(again.header("idempotent-replayed"), Some("true"), "{body}");
        }
        for body in different {
            let refused = write(&app, path, path, &body).await;
            refused.problem(422, "idempotency_key_reused");
        }
    }
    // The same body for another hold is another request.
    let other = app.hold(&schedule, &["A-1-8"], "anna").await.id(201);
    let refused = write(&app, &format!("/api/v1/holds/{other}/extend"), &extend, "").await;
    refused.problem(422, "idempotency_key_reused");
}

async fn a_plan_that_is_written_differently_is_the_same_request(on: Stack) {
    let app = on.start().await;
    let put = async |query: &str, plan: &str| {
        let path = format!("/api/v1/seat-plans/hall?{query}");
        let request = app.request(reqwest::Method::PUT, &path).header("content-type", "text/csv");
        app.send(request.header("idempotency-key", "k").body(plan.to_owned())).await
    };
    let plan = "section,row,number,category\nA,1,1,I\nA,1,2,II\n";
    let first = put("price=100&price=II%3D200", plan).await;
    first.expect(200);
    for (query, plan) in [
        ("price=II=200&price=100&dry_run=false", plan),
        ("price=100&price=II=200", "section;row;number;category\r\nA;1;1;I\r\nA;1;2;II\r\n"),
    ] {
        let again = put(query, plan).await;
        assert_eq!((again.status, &again.body), (200, &first.body), "{query}");
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{query}");
    }
    // Its query parameters are part of the request.
    put("price=100&price=II=300", plan).await.problem(422, "idempotency_key_reused");
    put("price=100&price=II=200", &plan.replace("A,1,2", "A,1,3"))
        .await
        .problem(422, "idempotency_key_reused");
}

async fn a_refused_request_may_succeed_under_the_same_key(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    let other = app.book(&schedule, &["A-1-1"], "anna").await.id(200);
    let body = taking(&schedule, &["A-1-1"], "ben");
    for _ in 0..2 {
        let refused = app.post_keyed("/api/v1/bookings", "k", &body).await;
        refused.problem(409, "seats_unavailable");
        assert_eq!(refused.header("idempotent-replayed"), None);
    }
    app.cancel(&other, None).await.expect(200);
    let booking = app.post_keyed("/api/v1/bookings", "k", &body).await.expect(200);
    assert_eq!(booking["customer_id"], "ben");
}

async fn a_key_is_free_again_when_its_time_is_over(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let book = async |seat: &str| {
        app.post_keyed("/api/v1/bookings", "k", &taking(&schedule, &[seat], "anna")).await
    };
    book("A-1-1").await.expect(200);
    book("A-1-2").await.problem(422, "idempotency_key_reused");
    app.database.execute("UPDATE idempotency SET expires_at = 1").await;
    book("A-1-2").await.expect(200);
    book("A-1-1").await.problem(422, "idempotency_key_reused");
}

async fn a_repeated_hold_is_answered_although_its_seats_are_held(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let body = taking(&schedule, &["A-1-1"], "anna");
    let first = app.post_keyed("/api/v1/holds", "k", &body).await;
    for _ in 0..3 {
        let again = app.post_keyed("/api/v1/holds", "k", &body).await;
        assert_eq!((again.status, &again.body), (201, &first.body));
    }
    let unkeyed = app.post("/api/v1/holds", &body).await;
    unkeyed.problem(409, "seats_unavailable");
    let other_key = app.post_keyed("/api/v1/holds", "other", &body).await;
    assert_eq!(other_key.conflicts(), ["A-1-1 held"]);
}

async fn an_invalid_key_is_refused(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    let body = taking(&schedule, &["A-1-1"], "anna");
    let before = app.database.dump().await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", "two words", "\"open", "ключ", "k\u{7f}", &long] {
        let request = app.request(reqwest::Method::POST, "/api/v1/bookings").json(&body);
        let value = reqwest::header::HeaderValue::from_bytes(key.as_bytes());
        let Ok(value) = value else { continue };
        let refused = app.send(request.header("idempotency-key", value)).await;
        let problem = refused.problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["pointer"], "Idempotency-Key");
    }
    let request = app.request(reqwest::Method::POST, "/api/v1/bookings").json(&body);
    let request = request.header("idempotency-key", "one").header("idempotency-key", "two");
    app.send(request).await.problem(400, "invalid_parameter");
    assert_eq!(app.database.dump().await, before);
}

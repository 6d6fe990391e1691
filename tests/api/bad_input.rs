//! Bad input: each kind gets its own clear refusal, and none of them changes the database.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, taking};

use crate::app::{Stack, TestApp};
use crate::clock::in_seconds;

on_both_stacks![
    seats_that_do_not_exist_or_repeat_are_named,
    fields_of_the_wrong_type_are_named,
    a_body_that_is_not_json_is_malformed,
    fields_that_are_missing_unknown_or_too_many_are_named,
    texts_with_nul_are_refused_and_others_are_not,
    names_that_look_like_others_are_refused_and_found,
    at_most_twenty_wrong_seats_are_named,
    an_id_is_a_string_or_a_number_and_has_one_spelling,
    a_refusal_of_any_kind_leaves_the_database_as_it_was,
];

/// Sends a body that must be refused as invalid, and returns the first fault.
async fn fault(app: &TestApp, path: &str, body: &Value) -> (String, String) {
    let problem = app.post(path, body).await.problem(422, "validation_failed");
    assert_eq!((&problem["effect"], &problem["retryable"]), (&json!("none"), &json!(false)));
    let error = &problem["errors"][0];
    let text = |name: &str| error[name].as_str().unwrap().to_owned();
    assert!(!text("message").is_empty(), "{problem}");
    (text("pointer"), text("code"))
}

/// The paths that take seats of a schedule for a customer.
const TAKING: [&str; 2] = ["/api/v1/bookings", "/api/v1/holds"];

async fn seats_that_do_not_exist_or_repeat_are_named(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(20).await;
    let many: Vec<String> = (1..=11).map(|number| format!("A-1-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let long = "x".repeat(1_000);
    let table: [(&[&str], &str, &str); 9] = [
        (&[], "/seats", "empty"),
        (&["B-1-1"], "/seats/0", "unknown_seat"),
        (&["A-1-1", "A-1-21"], "/seats/1", "unknown_seat"),
        (&["A-1-1", "a-1-2"], "/seats/1", "unknown_seat"),
        (&["A-1-1", "A-1-2", "A-1-1"], "/seats/2", "duplicate_seat"),
        (&["A-1-1😀"], "/seats/0", "unknown_seat"),
        (&["A-1-1\u{0}"], "/seats/0", "unknown_seat"),
        (&[&long], "/seats/0", "unknown_seat"),
        (&many, "/seats", "too_many_seats"),
    ];
    for path in TAKING {
        for (seats, pointer, code) in table {
            let found = fault(&app, path, &taking(&schedule, seats, "anna")).await;
            assert_eq!(found, (pointer.to_owned(), code.to_owned()), "{path} {seats:?}");
        }
        // All faults in one answer, up to a limit.
        let nonsense: Vec<String> = (0..10_000).map(|number| format!("X-{number}")).collect();
        let nonsense: Vec<&str> = nonsense.iter().map(String::as_str).collect();
        let problem = app.post(path, &taking(&schedule, &nonsense, "")).await;
        let errors = problem.problem(422, "validation_failed")["errors"].as_array().unwrap().len();
        assert!((2..=100).contains(&errors), "{errors}");
    }
}

async fn fields_of_the_wrong_type_are_named(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let table = [
        (json!({"customer_id": 7}), "/customer_id"),
        (json!({"customer_id": null}), "/customer_id"),
        (json!({"customer_id": ""}), "/customer_id"),
        (json!({"customer_id": "x".repeat(129)}), "/customer_id"),
        (json!({"seats": "A-1-1"}), "/seats"),
        (json!({"seats": {"0": "A-1-1"}}), "/seats"),
        (json!({"seats": ["A-1-1", 2]}), "/seats/1"),
        (json!({"seats": [["A-1-1"]]}), "/seats/0"),
        (json!({"schedule_id": true}), "/schedule_id"),
        (json!({"schedule_id": -1}), "/schedule_id"),
        (json!({"schedule_id": 1.5}), "/schedule_id"),
    ];
    for path in TAKING {
        for (wrong, pointer) in &table {
            let mut body = taking(&schedule, &["A-1-1"], "anna");
            body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            assert_eq!(fault(&app, path, &body).await.0, *pointer, "{path} {wrong}");
        }
        // Fields in their order are no body either.
        let positional = json!([schedule, ["A-1-1"], "anna", null]);
        for wrong in [json!([]), positional, json!("text"), json!(7), json!(null)] {
            assert_eq!(fault(&app, path, &wrong).await.0, "", "{path} {wrong}");
        }
    }
    for ttl in [json!(0), json!(-1), json!(1.5), json!("60"), json!(3_601), json!(u64::MAX)] {
        let mut body = taking(&schedule, &["A-1-1"], "anna");
        body["ttl_s"] = ttl.clone();
        assert_eq!(fault(&app, "/api/v1/holds", &body).await.0, "/ttl_s", "{ttl}");
    }
}

async fn send(app: &TestApp, path: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = app.request(Method::POST, path).header("content-type", "application/json");
    app.send(request.body(body)).await
}

async fn a_body_that_is_not_json_is_malformed(on: Stack) {
    let app = on.start().await;
    let deep = "[".repeat(100_000);
    let nowhere: [&[u8]; 7] =
        [b"", b"{", b"[1,", b"\x00", b"{'seats':[]}", deep.as_bytes(), b"\xef\xbb\xbf{}"];
    let in_a_field: [&[u8]; 3] = [
        b"{\"customer_id\":\"\xff\xfe\"}",
        b"{\"customer_id\":\"\\ud800\"}",
        b"{\"customer_id\":anna}",
    ];
    let anywhere = ["/api/v1/events", "/api/v1/events/1/schedules", "/api/v1/schedules/1/blocks"];
    for path in TAKING.into_iter().chain(anywhere) {
        let bodies = nowhere.iter().chain(&in_a_field);
        for body in bodies.take(if TAKING.contains(&path) { 10 } else { 7 }) {
            let problem = send(&app, path, body.to_vec()).await.problem(400, "malformed_json");
            assert_eq!(problem["effect"], "none");
        }
        // The first fault decides: in the fields, or in what follows them.
        let deeper = format!("{{\"seats\":{}", "[[".repeat(50_000));
        for body in ["{}{}", &deeper] {
            let answer = send(&app, path, body.to_owned()).await;
            assert!([400, 422].contains(&answer.status), "{answer:?}");
            answer.check_problem();
        }
    }
}

async fn fields_that_are_missing_unknown_or_too_many_are_named(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let hold = app.hold(&schedule, &["A-1-2"], "anna").await.id(201);
    let problem = app.post("/api/v1/bookings", &json!({})).await.problem(422, "validation_failed");
    let errors = problem["errors"].as_array().unwrap();
    let pointers: Vec<&str> = errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    assert_eq!(pointers, ["/schedule_id", "/seats", "/customer_id"]);
    let mut body = taking(&schedule, &["A-1-1"], "anna");
    body["hold_id"] = json!(hold);
    assert_eq!(fault(&app, "/api/v1/bookings", &body).await.0, "/schedule_id");

    for path in TAKING {
        let mut body = taking(&schedule, &["A-1-1"], "anna");
        body["seat"] = json!("A-1-1");
        let problem = app.post(path, &body).await.problem(422, "validation_failed");
        assert!(problem["detail"].as_str().unwrap().contains("`seat`"), "{problem}");
        let double = r#"{"customer_id":"anna","customer_id":"ben"}"#;
        let problem = send(&app, path, double).await.problem(422, "validation_failed");
        assert!(problem["detail"].as_str().unwrap().contains("`customer_id`"), "{problem}");
    }
    let problem = app.post("/api/v1/holds", &json!({})).await.problem(422, "validation_failed");
    assert!(problem["detail"].as_str().unwrap().contains("`schedule_id`"), "{problem}");
    for (path, body) in [
        (format!("/api/v1/holds/{hold}/extend"), json!({"seconds": 5})),
        (format!("/api/v1/bookings/{hold}/cancel"), json!({"seat": "A-1-1"})),
        (format!("/api/v1/schedules/{schedule}/blocks"), json!({"seats": ["A-1-1"]})),
        ("/api/v1/events".to_owned(), json!({"title": "Hamlet"})),
    ] {
        app.post(&path, &body).await.problem(422, "validation_failed");
    }
    assert_eq!(app.states(&schedule).await, "av he ");
}

async fn texts_with_nul_are_refused_and_others_are_not(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    for control in ["a\u{0}b", "\u{0}", "a\nb", "a\u{7f}", "a\u{85}"] {
        for path in TAKING {
            let found = fault(&app, path, &taking(&schedule, &["A-1-1"], control)).await;
            assert_eq!(found.0, "/customer_id", "{control:?}");
        }
        let found = fault(&app, "/api/v1/events", &json!({ "name": control })).await;
        assert_eq!(found.0, "/name");
        let block = json!({"seats": ["A-1-1"], "reason": control});
        let found = fault(&app, &format!("/api/v1/schedules/{schedule}/blocks"), &block).await;
        assert_eq!(found.0, "/reason");
        let query: String = control.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/api/v1/bookings?customer_id={query}");
        app.get(&path).await.problem(400, "invalid_parameter");
    }
    let house = json!({"seats": ["A-1-2"], "reason": "Kamera 🎥"});
    let path = format!("/api/v1/schedules/{schedule}/blocks");
    assert_eq!(app.post(&path, &house).await.expect(201)["reason"], "Kamera 🎥");
    let booking = app.book(&schedule, &["A-1-1"], "käufer 😀").await.expect(200);
    let path = format!("/api/v1/bookings/{}", booking["id"].as_str().unwrap());
    assert_eq!(app.get(&path).await.expect(200)["customer_id"], "käufer 😀");
}

async fn names_that_look_like_others_are_refused_and_found(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let hold = app.hold(&schedule, &["A-1-2"], "ada").await.id(201);
    let before = app.database.dump().await;
    let odd = ["ada ", " ada", "a\u{200B}da", "\u{202E}ada", "ada\u{A0}", "a  da", "ada\u{FE0F}"];
    for name in odd {
        for path in TAKING {
            let found = fault(&app, path, &taking(&schedule, &["A-1-1"], name)).await;
            assert_eq!(
                found,
                ("/customer_id".to_owned(), "invalid_customer".to_owned()),
                "{name:?}"
            );
        }
        let found = fault(&app, "/api/v1/events", &json!({ "name": name })).await;
        assert_eq!(found, ("/name".to_owned(), "invalid_text".to_owned()), "{name:?}");
        let block = json!({"seats": ["A-1-1"], "reason": name});
        let found = fault(&app, &format!("/api/v1/schedules/{schedule}/blocks"), &block).await;
        assert_eq!(found, ("/reason".to_owned(), "invalid_text".to_owned()), "{name:?}");
    }
    // A customer's id is compared over requests, so it must be in NFKC; a title need only be in NFC.
    for name in ["𝒶da", "ａda", "Zoe\u{308}"] {
        let found = fault(&app, "/api/v1/bookings", &taking(&schedule, &["A-1-1"], name)).await;
        assert_eq!(found.0, "/customer_id", "{name:?}");
    }
    assert_eq!(app.database.dump().await, before);
    app.post("/api/v1/events", &json!({"name": "ハムレット（再演）"})).await.expect(201);

    // A name that was stored before the rule still works: it is found, confirmed and cancelled.
    app.database.execute("UPDATE hold SET customer_id = 'ada '").await;
    let confirmed = json!({"hold_id": hold, "customer_id": "ada "});
    let booking = app.post("/api/v1/bookings", &confirmed).await.expect(200);
    assert_eq!(booking["customer_id"], "ada ");
    assert_eq!(app.items("/api/v1/bookings?customer_id=ada%20").await.len(), 1);
    let path = format!("/api/v1/bookings/{}/cancel", booking["id"].as_str().unwrap());
    app.post(&path, &json!({})).await.expect(200);
}

async fn at_most_twenty_wrong_seats_are_named(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    for path in TAKING {
        let problem = app.post(path, &taking(&schedule, &vec![""; 50_000], "ada")).await;
        let problem = problem.problem(422, "validation_failed");
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 20, "{path}");
        assert_eq!(
            (&errors[0]["pointer"], &errors[0]["code"]),
            (&json!("/seats/0"), &json!("unknown_seat"))
        );
        assert_eq!(errors[19]["code"], "more_problems");
        let many = taking(&schedule, &vec![""; 100_001], "ada");
        assert_eq!(fault(&app, path, &many).await, ("/seats".to_owned(), "invalid".to_owned()));
    }
}

async fn an_id_is_a_string_or_a_number_and_has_one_spelling(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let book = async |id: Value, seat: &str| {
        let mut body = taking("", &[seat], "anna");
        body["schedule_id"] = id;
        app.post("/api/v1/bookings", &body).await
    };
    book(json!(schedule), "A-1-1").await.expect(200);
    book(json!(schedule.parse::<i64>().unwrap()), "A-1-2").await.expect(200);
    for wrong in [
        json!(0),
        json!("0"),
        json!("9999999"),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(format!("0{schedule}")),
        json!(format!("+{schedule}")),
        json!(format!(" {schedule}")),
        json!(""),
        json!("\u{0}"),
        json!("😀"),
    ] {
        book(wrong, "A-1-1").await.problem(404, "not_found");
    }
}

async fn a_refusal_of_any_kind_leaves_the_database_as_it_was(on: Stack) {
    let app = on.start().await;
    let closed = json!({"sales_close_at": in_seconds(-60)});
    let closed = app.schedule(&[("A", 1, 2)], closed).await;
    let limited = app.schedule(&[("A", 1, 9)], json!({"max_seats_per_customer": 2})).await;
    let body = taking(&limited, &["A-1-1", "A-1-2"], "anna");
    app.post_keyed("/api/v1/bookings", "used", &body).await.expect(200);
    let hold = app.hold(&limited, &["A-1-3"], "ben").await.id(201);
    let before = app.database.dump().await;
    let table = [
        ("fresh", taking(&closed, &["A-1-1"], "anna"), 422, "validation_failed"),
        ("fresh", taking(&limited, &["A-1-4"], "anna"), 409, "seat_limit_reached"),
        ("fresh", taking(&limited, &["A-1-1", "A-1-4"], "dora"), 409, "seats_unavailable"),
        ("fresh", taking(&limited, &["A-1-3", "A-1-4"], "carl"), 409, "seats_unavailable"),
        ("fresh", taking(&limited, &["A-1-4", "A-1-99"], "carl"), 422, "validation_failed"),
        ("fresh", taking("99999", &["A-1-1"], "carl"), 404, "not_found"),
        ("used", taking(&limited, &["A-1-4"], "carl"), 422, "idempotency_key_reused"),
        ("used", json!({ "hold_id": hold }), 422, "idempotency_key_reused"),
        ("fresh", json!({"hold_id": hold, "customer_id": "carl"}), 404, "not_found"),
    ];
    for (key, body, status, code) in table {
        let problem = app.post_keyed("/api/v1/bookings", key, &body).await.problem(status, code);
        assert_eq!(problem["effect"], "none", "{body}");
    }
    assert_eq!(app.database.dump().await, before);
    app.audit().await;
}

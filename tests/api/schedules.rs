//! Schedules: created with all their seats, read, listed, and refused with all faults in one answer.

use serde_json::{Value, json};

use crate::app::Stack;
use crate::clock::in_seconds;

on_both_stacks![
    a_schedule_reads_as_it_was_entered,
    rules_that_are_not_given_have_their_defaults,
    schedules_of_an_event_are_listed_each_once,
    all_faults_of_a_schedule_are_reported_in_one_answer,
    a_schedule_with_a_fault_is_not_entered,
    every_time_is_written_with_the_same_width,
    a_large_hall_is_entered_whole,
];

fn one_seat() -> Value {
    json!({"sections": [{"name": "A", "rows": 1, "seats_per_row": 1, "price": 100}]})
}

async fn a_schedule_reads_as_it_was_entered(on: Stack) {
    let app = on.start().await;
    let event = app.event("Hamlet").await;
    let (open, close) = (in_seconds(-60), in_seconds(3_600));
    let body = json!({
        "starts_at": "2030-06-01T21:30:00.250+02:00", "currency": "CHF", "sales_open_at": open,
        "sales_close_at": close, "max_seats_per_booking": 4, "max_seats_per_customer": 6,
        "hold_ttl_s": 90, "seat_plan": {"sections": [
            {"name": "A", "rows": 2, "seats_per_row": 3, "price": 9900},
            {"name": "Loge 1", "rows": 1, "seats_per_row": 2, "price": 0},
        ]},
    });
    let answer = app.post(&format!("/api/v1/events/{event}/schedules"), &body).await;
    let schedule = answer.expect(201);
    let id = schedule["id"].as_str().unwrap();
    let path = format!("/api/v1/schedules/{id}");
    assert_eq!(answer.header("location"), Some(path.as_str()));
    assert_eq!(schedule["starts_at"], "2030-06-01T19:30:00.250Z", "in UTC");
    for name in ["currency", "max_seats_per_booking", "max_seats_per_customer", "hold_ttl_s"] {
        assert_eq!(schedule[name], body[name], "{name}");
    }
    assert_eq!((&schedule["event_id"], &schedule["seats"]), (&json!(event), &json!(8)));
    assert_eq!((&schedule["version"], &schedule["counts"]["available"]), (&json!(1), &json!(8)));
    assert_eq!(app.get(&path).await.expect(200), schedule);

    let labels: Vec<String> = app.seats(id).await.into_iter().map(|(label, _)| label).collect();
    let expected =
        ["A-1-1", "A-1-2", "A-1-3", "A-2-1", "A-2-2", "A-2-3", "Loge 1-1-1", "Loge 1-1-2"];
    assert_eq!(labels, expected);
    let booking = app.book(id, &["A-2-3", "Loge 1-1-1"], "anna").await.expect(200);
    assert_eq!(booking["total"], json!({"amount": 9900, "currency": "CHF"}));
    let hold = app.hold(id, &["A-1-1"], "anna").await.expect(201);
    assert_eq!(hold["expires_in_s"], 90);
}

async fn rules_that_are_not_given_have_their_defaults(on: Stack) {
    let app = on.start().await;
    let id = app.schedule_of(one_seat(), Value::Null).await;
    let schedule = app.get(&format!("/api/v1/schedules/{id}")).await.expect(200);
    let usual = json!({"currency": "EUR", "max_seats_per_booking": 10, "hold_ttl_s": 600});
    for (name, value) in usual.as_object().unwrap() {
        assert_eq!(schedule[name], *value, "{name}");
    }
    for absent in ["sales_open_at", "sales_close_at", "max_seats_per_customer"] {
        assert!(schedule.get(absent).is_none(), "{absent}");
    }
}

async fn schedules_of_an_event_are_listed_each_once(on: Stack) {
    let app = on.start().await;
    let (event, other) = (app.event("Hamlet").await, app.event("Macbeth").await);
    let body = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": one_seat()});
    let mut entered = Vec::new();
    for number in 0..8 {
        let of = if number % 4 == 3 { &other } else { &event };
        let id = app.post(&format!("/api/v1/events/{of}/schedules"), &body).await.id(201);
        if of == &event {
            entered.push(id);
        }
    }
    let found = app.items(&format!("/api/v1/events/{event}/schedules?limit=2")).await;
    let ids: Vec<&str> = found.iter().map(|schedule| schedule["id"].as_str().unwrap()).collect();
    assert_eq!(ids, entered);
    assert!(found.iter().all(|schedule| schedule["event_id"] == event));
}

async fn all_faults_of_a_schedule_are_reported_in_one_answer(on: Stack) {
    let app = on.start().await;
    let event = app.event("Hamlet").await;
    let body = json!({
        "starts_at": "tonight", "currency": "euro", "sales_open_at": in_seconds(60),
        "sales_close_at": in_seconds(30), "max_seats_per_booking": 0,
        "max_seats_per_customer": 0, "hold_ttl_s": 0, "seat_plan": {"id": "a\u{0}b"},
    });
    let problem = app.post(&format!("/api/v1/events/{event}/schedules"), &body).await;
    let problem = problem.problem(422, "validation_failed");
    let errors = problem["errors"].as_array().unwrap();
    let mut pointers: Vec<&str> = errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    pointers.sort_unstable();
    let expected = [
        "/currency",
        "/hold_ttl_s",
        "/max_seats_per_booking",
        "/max_seats_per_customer",
        "/sales_close_at",
        "/seat_plan/id",
        "/starts_at",
    ];
    assert_eq!(pointers, expected);
}

async fn a_schedule_with_a_fault_is_not_entered(on: Stack) {
    let app = on.start().await;
    let event = app.event("Hamlet").await;
    let before = app.database.dump().await;
    let section = |name: &str, rows: u64, seats: u64, price: i64| json!({"name": name, "rows": rows, "seats_per_row": seats, "price": price});
    let plan = |sections: Vec<Value>| json!({"seat_plan": {"sections": sections}});
    let table = [
        (plan(vec![]), "/seat_plan/sections"),
        (plan(vec![section("A", 0, 5, 1)]), "/seat_plan/sections/0/rows"),
        (plan(vec![section("A", 1, 1_001, 1)]), "/seat_plan/sections/0/seats_per_row"),
        (plan(vec![section("A", 1, 1, -1)]), "/seat_plan/sections/0/price"),
        (plan(vec![section("", 1, 1, 1)]), "/seat_plan/sections/0/name"),
        (plan(vec![section("A\u{0}", 1, 1, 1)]), "/seat_plan/sections/0/name"),
        (plan(vec![section("A", 1, 1, 1), section("A", 1, 1, 1)]), "/seat_plan/sections/1/name"),
        (plan(vec![section("A", 1_000, 101, 1)]), "/seat_plan/sections"),
        (json!({"seat_plan": 7}), "/seat_plan"),
        (json!({"seat_plan": {"sections": [], "id": "x"}}), "/seat_plan"),
        (json!({"hold_ttl_s": 3_601}), "/hold_ttl_s"),
        (json!({"hold_ttl_s": "90"}), "/hold_ttl_s"),
        (json!({"starts_at": 7}), "/starts_at"),
        (json!({"currency": "E😀"}), "/currency"),
        (json!({"currency": "ZZZ"}), "/currency"),
        (
            plan(vec![json!({"name": "A", "rows": 1, "seats_per_row": 1, "price": 99.5})]),
            "/seat_plan/sections/0/price",
        ),
        (
            plan(vec![json!({"name": "A", "rows": -1, "seats_per_row": 1, "price": 1})]),
            "/seat_plan/sections/0/rows",
        ),
        (
            plan(vec![section("A", 1, 1, 1), section("A\u{200B}", 1, 1, 1)]),
            "/seat_plan/sections/1/name",
        ),
        (json!({"seat_plan": {"id": "x", "version": "new"}}), "/seat_plan/version"),
        (json!({"max_seats_per_booking": 1_001}), "/max_seats_per_booking"),
        (json!({"sales_open_at": "2030-02-30T00:00:00Z"}), "/sales_open_at"),
        (json!({"starts_at": "9999-12-31T23:59:59-00:01"}), "/starts_at"),
        (json!({"sales_open_at": "0000-01-01T00:00:00+23:59"}), "/sales_open_at"),
        (json!({"sales_close_at": "1969-12-31T23:59:59.999Z"}), "/sales_close_at"),
    ];
    for (fault, pointer) in table {
        let mut body = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": one_seat()});
        body.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        let refused = app.post(&format!("/api/v1/events/{event}/schedules"), &body).await;
        let problem = refused.problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{fault}: {problem}");
    }
    assert_eq!(app.database.dump().await, before);
}

async fn every_time_is_written_with_the_same_width(on: Stack) {
    let app = on.start().await;
    let event = app.event("Hamlet").await;
    let path = format!("/api/v1/events/{event}/schedules");
    let enter = async |time: &str| {
        app.post(&path, &json!({"starts_at": time, "seat_plan": one_seat()})).await
    };
    for (time, written) in [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
        ("2026-11-22T20:00:00Z", "2026-11-22T20:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.999Z"),
    ] {
        let entered = enter(time).await.expect(201);
        assert_eq!(entered["starts_at"], written, "{time}");
        assert_eq!(entered["created_at"].as_str().unwrap().len(), written.len());
    }
    for time in ["9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00+23:59"] {
        let problem = enter(time).await.problem(422, "validation_failed");
        let error = &problem["errors"][0];
        assert_eq!(
            (&error["pointer"], &error["code"]),
            (&json!("/starts_at"), &json!("out_of_range"))
        );
        let range = "from 1970-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z in UTC";
        assert!(error["message"].as_str().unwrap().contains(range), "{error}");
    }
}

async fn a_large_hall_is_entered_whole(on: Stack) {
    let app = on.start().await;
    let schedule = app.schedule(&[("A", 100, 150), ("B", 100, 100)], Value::Null).await;
    let seats = app.seats(&schedule).await;
    assert_eq!((seats.len(), seats[24_999].0.as_str()), (25_000, "B-100-100"));
    app.book(&schedule, &["B-100-100"], "anna").await.expect(200);
}

//! Bookings: made, read, listed, cancelled and sold again.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use test_support::labels;

use crate::app::Stack;
use crate::clock::in_seconds;

on_both_stacks![
    a_booking_is_answered_in_full_and_reads_the_same,
    a_refusal_names_every_lost_seat_with_its_reason,
    a_booking_is_given_back_and_its_seats_are_sold_again,
    a_booking_is_given_back_in_part,
    only_seats_of_the_booking_can_be_given_back,
    bookings_are_listed_by_customer_and_schedule_each_once,
    a_customer_id_may_be_any_printable_text,
    nothing_is_sold_before_or_after_the_sale,
    a_hold_from_before_the_end_of_the_sale_is_confirmed_after_it,
    a_booking_has_at_most_as_many_seats_as_the_schedule_allows,
];

async fn a_booking_is_answered_in_full_and_reads_the_same(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let answer = app.book(&schedule, &["A-1-3", "A-1-1"], "anna").await;
    let booking = answer.expect(200);
    let id = booking["id"].as_str().unwrap();
    let place = format!("/api/v1/bookings/{id}");
    assert_eq!(answer.header("content-location"), Some(place.as_str()));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let expected = json!({
        "id": id, "status": "confirmed", "schedule_id": schedule, "customer_id": "anna",
        "seats": [{"label": "A-1-1", "price": 1_000}, {"label": "A-1-3", "price": 1_000}],
        "total": {"amount": 2_000, "currency": "EUR"}, "created_at": booking["created_at"],
    });
    assert_eq!(booking, expected);
    assert_eq!(app.get(&place).await.expect(200), booking);
}

async fn a_refusal_names_every_lost_seat_with_its_reason(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(4).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    app.hold(&schedule, &["A-1-2"], "anna").await.expect(201);
    let house = json!({"seats": ["A-1-3"], "reason": "camera"});
    app.post(&format!("/api/v1/schedules/{schedule}/blocks"), &house).await.expect(201);
    let before = app.schedule_now(&schedule).await;

    let refused = app.book(&schedule, &["A-1-3", "A-1-4", "A-1-1"], "ben").await;
    let problem = refused.problem(409, "seats_unavailable");
    assert_eq!(refused.conflicts(), ["A-1-1 booked", "A-1-3 blocked"]);
    assert_eq!((&problem["effect"], &problem["retryable"]), (&json!("none"), &json!(false)));
    let refused = app.hold(&schedule, &["A-1-2", "A-1-4"], "ben").await;
    refused.problem(409, "seats_unavailable");
    assert_eq!(refused.conflicts(), ["A-1-2 held"]);
    assert_eq!(app.schedule_now(&schedule).await, before);
}

async fn a_booking_is_given_back_and_its_seats_are_sold_again(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let id = app.book(&schedule, &["A-1-1", "A-1-2"], "anna").await.id(200);
    let request = app.request(reqwest::Method::POST, &format!("/api/v1/bookings/{id}/cancel"));
    let given_back = app.send(request).await.expect(200);
    assert_eq!(given_back["status"], "cancelled");
    assert_eq!(given_back["seats"], json!([]));
    assert_eq!(given_back["cancelled_seats"].as_array().unwrap().len(), 2);
    assert_eq!(given_back["total"]["amount"], 0);
    assert!(given_back["cancelled_at"].is_string());

    app.book(&schedule, &["A-1-1"], "ben").await.expect(200);
    assert_eq!(app.cancel(&id, None).await.expect(200), given_back, "repeating it changes nothing");
    assert_eq!(app.get(&format!("/api/v1/bookings/{id}")).await.expect(200), given_back);
    assert_eq!(app.states(&schedule).await, "bo av ");
    app.audit().await;
}

async fn a_booking_is_given_back_in_part(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let id = app.book(&schedule, &["A-1-1", "A-1-2", "A-1-3"], "anna").await.id(200);
    let part = app.cancel(&id, Some(&["A-1-2"])).await.expect(200);
    assert_eq!(part["status"], "confirmed");
    assert_eq!(labels(&part), ["A-1-1", "A-1-3"]);
    assert_eq!(part["cancelled_seats"][0]["label"], "A-1-2");
    assert_eq!(part["total"]["amount"], 2_000);
    assert_eq!(app.cancel(&id, Some(&["A-1-2"])).await.expect(200), part);
    app.book(&schedule, &["A-1-2"], "ben").await.expect(200);
    assert_eq!(app.cancel(&id, Some(&["A-1-2"])).await.expect(200), part, "not ben's");
    let whole = app.cancel(&id, Some(&["A-1-1", "A-1-3"])).await.expect(200);
    assert_eq!(whole["status"], "cancelled");
    assert_eq!(app.states(&schedule).await, "av bo av ");
    app.audit().await;
}

async fn only_seats_of_the_booking_can_be_given_back(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let id = app.book(&schedule, &["A-1-1"], "anna").await.id(200);
    app.book(&schedule, &["A-1-2"], "ben").await.expect(200);
    let problem =
        app.cancel(&id, Some(&["A-1-1", "A-1-2"])).await.problem(422, "validation_failed");
    assert_eq!(problem["errors"][0]["pointer"], "/seats");
    assert_eq!(problem["errors"][0]["code"], "not_in_booking");
    let problem = app.cancel(&id, Some(&["B-1-1"])).await.problem(422, "validation_failed");
    assert_eq!(problem["errors"][0]["pointer"], "/seats/0");
    let unknown = format!("{schedule}-{}", uuid::Uuid::now_v7().simple());
    app.cancel(&unknown, None).await.problem(404, "not_found");
    assert_eq!(app.states(&schedule).await, "bo bo av ");
}

async fn bookings_are_listed_by_customer_and_schedule_each_once(on: Stack) {
    let app = on.start().await;
    let (one, two) = (app.row_of(30).await, app.row_of(30).await);
    let mut made: Vec<(String, String, String)> = Vec::new();
    for number in 1..=24 {
        let schedule = if number % 2 == 0 { &one } else { &two };
        let customer = if number % 3 == 0 { "anna" } else { "ben" };
        let seat = format!("A-1-{number}");
        let id = app.book(schedule, &[&seat], customer).await.id(200);
        made.push((id, schedule.clone(), customer.to_owned()));
    }
    for (query, schedule, customer) in [
        (format!("schedule_id={one}"), Some(&one), None),
        ("customer_id=anna".to_owned(), None, Some("anna")),
        (format!("schedule_id={two}&customer_id=ben"), Some(&two), Some("ben")),
    ] {
        let wanted = made.iter().filter(|(_, of, by)| {
            schedule.is_none_or(|wanted| wanted == of) && customer.is_none_or(|c| c == by)
        });
        let wanted: Vec<&String> = wanted.map(|(id, ..)| id).collect();
        let found = app.items(&format!("/api/v1/bookings?{query}&limit=3")).await;
        let found: Vec<String> = found.iter().map(|b| b["id"].as_str().unwrap().into()).collect();
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{query}: by creation");
    }
    let none = app.get("/api/v1/bookings?customer_id=carl").await.expect(200);
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
    app.get("/api/v1/bookings").await.problem(400, "invalid_parameter");
}

async fn a_customer_id_may_be_any_printable_text(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(4).await;
    let longest = "ß".repeat(128);
    let names = ["käufer 😀 \"'; DROP TABLE seat; --", "👩👧", "a/b?c&d=e%00", &longest];
    for (seat, name) in (1..).zip(names) {
        let booking = app.book(&schedule, &[&format!("A-1-{seat}")], name).await.expect(200);
        assert_eq!(booking["customer_id"], name);
        let query: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let found = app.items(&format!("/api/v1/bookings?customer_id={query}")).await;
        assert_eq!(found, [booking]);
    }
    // The same family emoji with invisible joiners.
    let joined = app.book(&schedule, &["A-1-1"], "👩\u{200D}👧").await;
    assert_eq!(joined.problem(422, "validation_failed")["errors"][0]["code"], "invalid_customer");
}

async fn nothing_is_sold_before_or_after_the_sale(on: Stack) {
    let app = on.start().await;
    for (open, close) in [(Some(3_600), None), (None, Some(-3_600)), (Some(-7_200), Some(-3_600))] {
        let window = json!({
            "sales_open_at": open.map(in_seconds), "sales_close_at": close.map(in_seconds),
        });
        let schedule = app.schedule(&[("A", 1, 2)], window).await;
        for refused in [
            app.book(&schedule, &["A-1-1"], "anna").await,
            app.hold(&schedule, &["A-1-1"], "a").await,
        ] {
            let problem = refused.problem(422, "validation_failed");
            assert_eq!(problem["errors"][0]["pointer"], "/schedule_id");
            assert_eq!(problem["errors"][0]["code"], "sales_closed");
        }
        assert_eq!(app.states(&schedule).await, "av av ");
    }
    let window = json!({"sales_open_at": in_seconds(-3_600), "sales_close_at": in_seconds(3_600)});
    let schedule = app.schedule(&[("A", 1, 2)], window).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
}

async fn a_hold_from_before_the_end_of_the_sale_is_confirmed_after_it(on: Stack) {
    let app = on.start().await;
    let window = json!({"sales_close_at": in_seconds(3)});
    let schedule = app.schedule(&[("A", 1, 100)], window).await;
    let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    for seat in 2.. {
        let refused = app.book(&schedule, &[&format!("A-1-{seat}")], "ben").await;
        if refused.status != 200 {
            let problem = refused.problem(422, "validation_failed");
            assert_eq!(problem["errors"][0]["code"], "sales_closed");
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    app.confirm(&hold).await.expect(200);
}

async fn a_booking_has_at_most_as_many_seats_as_the_schedule_allows(on: Stack) {
    let app = on.start().await;
    let usual = app.row_of(12).await;
    let few = app.schedule(&[("A", 1, 12)], json!({"max_seats_per_booking": 2})).await;
    let seats: Vec<String> = (1..=12).map(|number| format!("A-1-{number}")).collect();
    let seats: BTreeSet<&str> = seats.iter().map(String::as_str).collect();
    let seats: Vec<&str> = seats.into_iter().collect();
    for (schedule, max) in [(usual, 10), (few, 2)] {
        for refused in [
            app.book(&schedule, &seats[..=max], "anna").await,
            app.hold(&schedule, &seats[..=max], "anna").await,
        ] {
            let problem: Value = refused.problem(422, "validation_failed");
            assert_eq!(problem["errors"][0]["pointer"], "/seats");
            assert_eq!(problem["errors"][0]["code"], "too_many_seats");
        }
        app.book(&schedule, &seats[..max], "anna").await.expect(200);
    }
}

//! The queue in the service's own database: requests are accepted with 202, and their outcome is polled.

use futures_util::future::join_all;
use serde_json::{Value, json};
use test_support::{labels, taking};

use crate::app::Stack;

on_both_stacks![
    a_queued_request_becomes_the_booking_that_the_direct_way_would_have_made,
    a_queued_hold_is_held_and_confirmed_through_the_queue,
    of_many_queued_buyers_of_one_seat_one_gets_it_and_each_gets_an_outcome,
    an_invalid_request_is_refused_before_it_is_queued,
    seats_that_are_known_to_be_taken_are_refused_before_they_are_queued,
    a_key_has_one_effect_direct_and_queued,
    a_request_id_that_was_never_given_is_not_found,
    the_outcome_is_an_event_of_the_requests_stream,
    in_mode_always_every_request_for_seats_is_answered_202,
    without_a_queue_a_preference_changes_nothing,
    an_unreadable_message_becomes_a_dead_letter_and_the_others_are_executed,
    a_request_that_the_database_refuses_becomes_a_dead_letter_and_fails,
];

pub(crate) const QUEUED: [(&str, &str); 1] = [("QUEUE_MODE", "prefer")];

async fn a_queued_request_becomes_the_booking_that_the_direct_way_would_have_made(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(3).await;
    let answer =
        app.queue("/api/v1/bookings", &taking(&schedule, &["A-1-1", "A-1-2"], "ada")).await;
    let taken = answer.expect(202);
    assert_eq!(answer.header("preference-applied"), Some("respond-async"));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!((&taken["status"], &taken["place"]), (&json!("queued"), &json!(1)));
    let place = answer.header("location").unwrap();
    assert_eq!(place, format!("/api/v1/booking-requests/{}", taken["id"].as_str().unwrap()));

    let over = app.outcome(place).await;
    assert_eq!(over["status"], "succeeded", "{over}");
    assert_eq!(over["id"], taken["id"]);
    let booking = &over["result"];
    let read = app.get(&format!("/api/v1/bookings/{}", booking["id"].as_str().unwrap())).await;
    assert_eq!(*booking, read.expect(200));
    assert_eq!(labels(booking), ["A-1-1", "A-1-2"]);
    let direct = app.book(&schedule, &["A-1-3"], "ben").await.expect(200);
    let fields = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(fields(booking), fields(&direct));
    app.audit().await;
}

async fn a_queued_hold_is_held_and_confirmed_through_the_queue(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(2).await;
    let answer = app.queue("/api/v1/holds", &taking(&schedule, &["A-1-2"], "ada")).await;
    answer.expect(202);
    let held = app.outcome(answer.header("location").unwrap()).await;
    assert_eq!(held["result"]["status"], "held", "{held}");
    let hold = held["result"]["id"].as_str().unwrap();
    app.get(&format!("/api/v1/holds/{hold}")).await.expect(200);
    // Under a key it is not refused before it is queued.
    let again = app.queued_keyed("again", &taking(&schedule, &["A-1-2"], "ada")).await;
    let again = app.outcome(&again).await;
    assert_eq!(again["error"]["conflicts"][0]["hold_id"], hold, "{again}");
    let answer = app.queue("/api/v1/bookings", &json!({ "hold_id": hold })).await;
    answer.expect(202);
    let booked = app.outcome(answer.header("location").unwrap()).await;
    assert_eq!(booked["result"]["hold_id"], hold, "{booked}");

    let booking = booked["result"]["id"].as_str().unwrap();
    app.cancel(booking, None).await.expect(200);
    let answer = app.queue("/api/v1/bookings", &json!({ "hold_id": hold })).await;
    answer.expect(202);
    let late = app.outcome(answer.header("location").unwrap()).await;
    assert_eq!(
        (&late["status"], &late["error"]["code"]),
        (&json!("failed"), &json!("booking_cancelled"))
    );
    assert_eq!(late["error"]["booking_id"], booking, "{late}");
    app.audit().await;
}

async fn of_many_queued_buyers_of_one_seat_one_gets_it_and_each_gets_an_outcome(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(1).await;
    let buyers = (0..60).map(|number| {
        let (client, schedule) = (app.client(), schedule.clone());
        async move {
            let body = taking(&schedule, &["A-1-1"], &format!("customer-{number}"));
            let place = client.queued_keyed(&format!("key-{number}"), &body).await;
            client.outcome(&place).await
        }
    });
    let outcomes = join_all(buyers).await;
    let succeeded = outcomes.iter().filter(|outcome| outcome["status"] == "succeeded").count();
    assert_eq!(succeeded, 1);
    for outcome in outcomes.iter().filter(|outcome| outcome["status"] != "succeeded") {
        assert_eq!(outcome["status"], "failed", "{outcome}");
        let problem = &outcome["error"];
        assert_eq!(problem["code"], "seats_unavailable");
        assert_eq!(problem["conflicts"], json!([{"label": "A-1-1", "reason": "booked"}]));
        assert_eq!(problem["request_id"], outcome["id"]);
    }
    app.audit().await;
}

async fn an_invalid_request_is_refused_before_it_is_queued(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(1).await;
    for (body, status, code) in [
        (taking(&schedule, &["B-1-1"], "ada"), 422, "validation_failed"),
        (taking("99", &["A-1-1"], "ada"), 404, "not_found"),
        (json!({"schedule_id": schedule, "seats": ["A-1-1"]}), 422, "validation_failed"),
        (json!({"hold_id": "1-x"}), 404, "not_found"),
    ] {
        app.queue("/api/v1/bookings", &body).await.problem(status, code);
    }
    assert_eq!(app.metric("seatlock_queue_accepted_total{result=\"queued\"}").await, 0.0);
}

async fn seats_that_are_known_to_be_taken_are_refused_before_they_are_queued(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(1).await;
    app.book(&schedule, &["A-1-1"], "ada").await.expect(200);
    let answer = app.queue("/api/v1/bookings", &taking(&schedule, &["A-1-1"], "ben")).await;
    answer.problem(409, "seats_unavailable");
    assert_eq!(answer.conflicts(), ["A-1-1 booked"]);
}

async fn a_key_has_one_effect_direct_and_queued(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(2).await;
    let body = taking(&schedule, &["A-1-1"], "ada");
    let direct = app.post_keyed("/api/v1/bookings", "k", &body).await.id(200);
    for _ in 0..2 {
        let place = app.queued_keyed("k", &body).await;
        assert_eq!(app.outcome(&place).await["result"]["id"], direct);
    }
    let place = app.queued_keyed("k", &taking(&schedule, &["A-1-2"], "ada")).await;
    let reused = app.outcome(&place).await;
    assert_eq!(
        (&reused["status"], &reused["error"]["code"]),
        (&json!("failed"), &json!("idempotency_key_reused"))
    );

    let body = taking(&schedule, &["A-1-2"], "ada");
    let first = app.outcome(&app.queued_keyed("l", &body).await).await["result"]["id"].clone();
    assert_eq!(app.post_keyed("/api/v1/bookings", "l", &body).await.id(200), first);
    assert_eq!(app.items(&format!("/api/v1/bookings?schedule_id={schedule}")).await.len(), 2);
    app.audit().await;
}

async fn a_request_id_that_was_never_given_is_not_found(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    // A time before all requests whose outcomes are kept, one that has not come, no time at all, no id.
    for id in [
        "1-0000000000017000800000000000000a",
        "1-ffffffffffff7000800000000000000a",
        "1-00000000000000000000000000000000",
        "x",
    ] {
        app.get(&format!("/api/v1/booking-requests/{id}")).await.problem(404, "not_found");
        app.get(&format!("/api/v1/booking-requests/{id}/stream")).await.problem(404, "not_found");
    }
}

async fn the_outcome_is_an_event_of_the_requests_stream(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(1).await;
    let place = app.queued(&schedule, &["A-1-1"], "ada").await;
    let answer = app.get(&format!("{place}/stream")).await;
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let last = answer.body.trim_end().rsplit("\n\n").next().unwrap();
    let data = last.strip_prefix("event: outcome\ndata: ").unwrap_or_else(|| panic!("{last}"));
    let outcome: Value = serde_json::from_str(data).unwrap();
    assert_eq!(outcome, app.outcome(&place).await);
    let again = app.get(&format!("{place}/stream")).await.body;
    assert_eq!(again, format!("event: outcome\ndata: {data}\n\n"), "a late listener gets it, too");
}

async fn in_mode_always_every_request_for_seats_is_answered_202(on: Stack) {
    let app = on.start_with(&[("QUEUE_MODE", "always")]).await;
    let schedule = app.row_of(2).await;
    let answer = app.book(&schedule, &["A-1-1"], "ada").await;
    answer.expect(202);
    assert_eq!(answer.header("preference-applied"), None, "the request had no preference");
    let booking = app.outcome(answer.header("location").unwrap()).await["result"]["id"].clone();
    let answer = app.hold(&schedule, &["A-1-2"], "ada").await;
    let hold = app.outcome(answer.header("location").unwrap()).await;
    assert_eq!(hold["result"]["status"], "held", "{hold}");
    let cancelled = app.cancel(booking.as_str().unwrap(), None).await;
    assert_eq!(cancelled.expect(200)["status"], "cancelled", "only what takes seats is queued");
}

async fn without_a_queue_a_preference_changes_nothing(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    let answer = app.queue("/api/v1/bookings", &taking(&schedule, &["A-1-1"], "ada")).await;
    assert_eq!(answer.expect(200)["status"], "confirmed");
    let id = format!("{schedule}-0198f0c20000700080000000000000aa");
    app.get(&format!("/api/v1/booking-requests/{id}")).await.problem(404, "not_found");
}

async fn an_unreadable_message_becomes_a_dead_letter_and_the_others_are_executed(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(2).await;
    let before = app.queued(&schedule, &["A-1-1"], "ada").await;
    let part = schedule.parse::<i64>().unwrap() % 4;
    // As another program would publish it: base64 of `{"v":9}`.
    app.database
        .execute(&format!(
            "UPDATE queue_counter SET last = last + 1, waiting = waiting + 1;
             INSERT INTO queue_message (part, number, id, body)
             SELECT {part}, last, 'poison', 'eyJ2Ijo5fQ==' FROM queue_counter"
        ))
        .await;
    let after = app.queued(&schedule, &["A-1-2"], "ada").await;
    for place in [before, after] {
        assert_eq!(app.outcome(&place).await["status"], "succeeded");
    }
    app.metric_above("seatlock_queue_executed_total{result=\"parked\"}", 0.0).await;
    let reasons: Vec<String> = app.database.column("SELECT reason FROM queue_letter").await;
    assert!(reasons[0].contains("missing field"), "{reasons:?}");
}

async fn a_request_that_the_database_refuses_becomes_a_dead_letter_and_fails(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = app.row_of(3).await;
    app.database.forbid("mallory").await;
    let customers = ["ada", "mallory", "ben"];
    let mut places = Vec::new();
    for (number, customer) in (1..).zip(customers) {
        places.push(app.queued(&schedule, &[&format!("A-1-{number}")], customer).await);
    }
    for (place, customer) in places.iter().zip(customers) {
        let over = app.outcome(place).await;
        if customer == "mallory" {
            assert_eq!(
                (&over["status"], &over["error"]["code"]),
                (&json!("failed"), &json!("internal"))
            );
        } else {
            assert_eq!(over["status"], "succeeded", "{over}");
        }
    }
    assert_eq!(app.database.number("SELECT count(*) FROM queue_letter").await, 1);
    app.audit().await;
}

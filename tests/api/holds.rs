//! Holds: from the grant to each way in which they end.

use serde_json::{Value, json};
use test_support::{Answer, taking};

use crate::app::{Stack, TestApp};
use crate::clock::millis;

on_both_stacks![
    a_hold_keeps_its_seats_until_it_becomes_a_booking,
    a_hold_ends_by_time_and_its_seats_are_free_immediately,
    the_end_of_a_hold_is_seen_on_the_map,
    a_late_confirmation_books_what_is_still_free,
    a_late_confirmation_names_the_seats_that_are_lost,
    a_hold_whose_booking_was_cancelled_is_not_confirmed_again,
    a_hold_can_be_extended_up_to_a_limit_and_never_shortened,
    a_hold_that_has_ended_is_not_extended,
    a_released_seat_can_be_booked_immediately_by_another_customer,
    a_hold_is_confirmed_by_its_own_customer_only,
    a_hold_that_is_not_there_is_not_found,
    a_conflict_names_a_hold_to_its_own_customer_only,
    the_live_holds_of_a_customer_are_listed_each_once,
];

impl TestApp {
    async fn hold_for(&self, schedule: &str, seats: &[&str], ttl_s: u64) -> Value {
        let mut body = taking(schedule, seats, "anna");
        body["ttl_s"] = json!(ttl_s);
        self.post("/api/v1/holds", &body).await.expect(201)
    }

    async fn read_hold(&self, id: &str) -> Value {
        self.get(&format!("/api/v1/holds/{id}")).await.expect(200)
    }

    /// Waits until time has ended the hold.
    async fn expired(&self, id: &str) -> Value {
        let path = format!("/api/v1/holds/{id}");
        self.wait_until(&path, |hold| hold.json()["status"] == "expired").await.json()
    }
}

/// Hold expiry does not run in time.
const UNSWEPT: [(&str, &str); 1] = [("SWEEP_INTERVAL", "1h")];

async fn a_hold_keeps_its_seats_until_it_becomes_a_booking(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let answer = app.hold(&schedule, &["A-1-2", "A-1-1"], "anna").await;
    let hold = answer.expect(201);
    let id = hold["id"].as_str().unwrap();
    let place = format!("/api/v1/holds/{id}");
    assert_eq!(answer.header("location"), Some(place.as_str()));
    let expected = json!({
        "id": id, "schedule_id": schedule, "customer_id": "anna", "status": "held",
        "seats": [{"label": "A-1-1", "price": 1_000}, {"label": "A-1-2", "price": 1_000}],
        "total": {"amount": 2_000, "currency": "EUR"}, "created_at": hold["created_at"],
        "expires_at": hold["expires_at"], "expires_in_s": 600, "version": 1,
    });
    assert_eq!(hold, expected);
    assert_eq!(millis(&hold["expires_at"]) - millis(&hold["created_at"]), 600_000);
    assert_eq!(app.states(&schedule).await, "he he av ");
    let refused = app.book(&schedule, &["A-1-2", "A-1-3"], "ben").await;
    refused.problem(409, "seats_unavailable");
    assert_eq!(refused.conflicts(), ["A-1-2 held"]);

    let booking = app.confirm(id).await.expect(200);
    assert_eq!((&booking["hold_id"], &booking["customer_id"]), (&json!(id), &json!("anna")));
    assert_eq!(booking["seats"], hold["seats"]);
    assert_eq!(app.confirm(id).await.expect(200), booking, "the same booking again");
    let read = app.read_hold(id).await;
    assert_eq!((&read["status"], &read["booking_id"]), (&json!("confirmed"), &booking["id"]));
    app.delete(&place).await.problem(409, "hold_confirmed");
    assert_eq!(app.states(&schedule).await, "bo bo av ");
    app.audit().await;
}

async fn a_hold_ends_by_time_and_its_seats_are_free_immediately(on: Stack) {
    let app = on.start_with(&UNSWEPT).await;
    let schedule = app.row_of(2).await;
    let hold = app.hold_for(&schedule, &["A-1-1", "A-1-2"], 1).await;
    let ended = app.expired(hold["id"].as_str().unwrap()).await;
    assert_eq!(ended["expires_in_s"], 0);
    assert_eq!(ended["expires_at"], hold["expires_at"]);
    app.book(&schedule, &["A-1-1"], "ben").await.expect(200);
    app.hold(&schedule, &["A-1-2"], "carl").await.expect(201);
}

async fn the_end_of_a_hold_is_seen_on_the_map(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    app.hold_for(&schedule, &["A-1-1", "A-1-2"], 1).await;
    assert_eq!(app.states(&schedule).await, "he he av ");
    let path = format!("/api/v1/schedules/{schedule}/availability");
    let swept = app.wait_until(&path, |map| map.json()["counts"]["held"] == 0).await.json();
    assert_eq!(swept["counts"]["available"], 3);
    assert_eq!(swept["version"], 3);
    assert_eq!(app.states(&schedule).await, "av av av ");
    app.audit().await;
}

async fn a_late_confirmation_books_what_is_still_free(on: Stack) {
    for variables in [&UNSWEPT[..], &[]] {
        let app = on.start_with(variables).await;
        let schedule = app.row_of(2).await;
        let hold = app.hold_for(&schedule, &["A-1-1", "A-1-2"], 1).await;
        let id = hold["id"].as_str().unwrap();
        app.expired(id).await;
        let booking = app.confirm(id).await.expect(200);
        assert_eq!(booking["seats"], hold["seats"]);
        assert_eq!(app.read_hold(id).await["status"], "confirmed");
    }
}

async fn a_late_confirmation_names_the_seats_that_are_lost(on: Stack) {
    let app = on.start_with(&UNSWEPT).await;
    let schedule = app.row_of(3).await;
    let hold = app.hold_for(&schedule, &["A-1-1", "A-1-2"], 1).await;
    let id = hold["id"].as_str().unwrap();
    app.expired(id).await;
    app.book(&schedule, &["A-1-2", "A-1-3"], "ben").await.expect(200);
    let late = app.confirm(id).await;
    let problem = late.problem(409, "hold_expired");
    assert_eq!((&problem["effect"], &problem["retryable"]), (&json!("none"), &json!(false)));
    assert_eq!(late.conflicts(), ["A-1-2 booked"]);
    app.book(&schedule, &["A-1-1"], "carl").await.expect(200);
}

async fn a_hold_whose_booking_was_cancelled_is_not_confirmed_again(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let hold = app.hold(&schedule, &["A-1-1", "A-1-2"], "anna").await.id(201);
    let body = json!({ "hold_id": hold });
    let first = app.post_keyed("/api/v1/bookings", "first", &body).await.expect(200);
    let booking = first["id"].as_str().unwrap();
    app.cancel(booking, Some(&["A-1-2"])).await.expect(200);
    let in_part = app.confirm(&hold).await.expect(200);
    assert_eq!(
        (&in_part["status"], &in_part["total"]["amount"]),
        (&json!("confirmed"), &json!(1_000))
    );

    app.cancel(booking, None).await.expect(200);
    for refused in [
        app.confirm(&hold).await,
        app.post_keyed("/api/v1/bookings", "second", &body).await,
        app.post("/api/v1/bookings", &json!({"hold_id": hold, "customer_id": "anna"})).await,
    ] {
        let problem = refused.problem(409, "booking_cancelled");
        assert_eq!(problem["booking_id"], booking);
        assert_eq!((&problem["effect"], &problem["retryable"]), (&json!("none"), &json!(false)));
        assert!(problem["detail"].as_str().unwrap().contains("refund"), "{problem}");
    }
    let again = app.post_keyed("/api/v1/bookings", "first", &body).await;
    assert_eq!(again.expect(200), first, "the key gives the answer that was recorded under it");
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(app.read_hold(&hold).await["booking_id"], booking);
    assert_eq!(app.states(&schedule).await, "av av ");
    app.audit().await;
}

async fn a_hold_can_be_extended_up_to_a_limit_and_never_shortened(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    let hold = app.hold_for(&schedule, &["A-1-1"], 60).await;
    let path = format!("/api/v1/holds/{}/extend", hold["id"].as_str().unwrap());
    let longer = app.post(&path, &json!({"ttl_s": 120})).await.expect(200);
    let gained = millis(&longer["expires_at"]) - millis(&hold["expires_at"]);
    assert!((60_000..120_000).contains(&gained), "from now: {longer}");
    let shorter = app.post(&path, &json!({"ttl_s": 1})).await.expect(200);
    assert_eq!(shorter["expires_at"], longer["expires_at"]);
    let usual = app.send(app.request(reqwest::Method::POST, &path)).await.expect(200);
    assert!(millis(&usual["expires_at"]) - millis(&hold["created_at"]) >= 600_000);
    for _ in 0..2 {
        let longest = app.post(&path, &json!({"ttl_s": 3_600})).await.expect(200);
        let life = millis(&longest["expires_at"]) - millis(&hold["created_at"]);
        assert_eq!(life, 3_600_000, "counted from the grant: {longest}");
    }
    for wrong in [0, 3_601] {
        let problem =
            app.post(&path, &json!({"ttl_s": wrong})).await.problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], "/ttl_s");
    }
    let refused = app.book(&schedule, &["A-1-1"], "ben").await;
    assert_eq!(refused.conflicts(), ["A-1-1 held"]);
}

async fn a_hold_that_has_ended_is_not_extended(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let confirmed = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    app.confirm(&confirmed).await.expect(200);
    let released = app.hold(&schedule, &["A-1-2"], "anna").await.id(201);
    app.delete(&format!("/api/v1/holds/{released}")).await.expect(204);
    let expired = app.hold_for(&schedule, &["A-1-3"], 1).await["id"].as_str().unwrap().to_owned();
    app.expired(&expired).await;
    for (id, code) in
        [(confirmed, "hold_confirmed"), (released, "hold_released"), (expired, "hold_expired")]
    {
        app.post(&format!("/api/v1/holds/{id}/extend"), &json!({})).await.problem(409, code);
    }
}

async fn a_released_seat_can_be_booked_immediately_by_another_customer(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(20).await;
    for seat in 1..=20 {
        let seat = format!("A-1-{seat}");
        let hold = app.hold(&schedule, &[&seat], "anna").await.id(201);
        let path = format!("/api/v1/holds/{hold}");
        app.delete(&path).await.expect(204);
        app.book(&schedule, &[&seat], "ben").await.expect(200);
        app.delete(&path).await.expect(204);
        assert_eq!(app.read_hold(&hold).await["status"], "released");
        app.confirm(&hold).await.problem(409, "hold_released");
    }
    assert_eq!(app.states(&schedule).await, "bo ".repeat(20));
    app.audit().await;
}

async fn a_hold_is_confirmed_by_its_own_customer_only(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    let confirm = |customer: &str| json!({"hold_id": hold, "customer_id": customer});
    app.post("/api/v1/bookings", &confirm("ben")).await.problem(404, "not_found");
    assert_eq!(app.read_hold(&hold).await["status"], "held");
    app.post("/api/v1/bookings", &confirm("anna")).await.expect(200);
    app.post("/api/v1/bookings", &confirm("ben")).await.problem(404, "not_found");
}

async fn a_hold_that_is_not_there_is_not_found(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    let uuid = uuid::Uuid::now_v7();
    let spelt = [
        format!("{schedule}-{}", uuid.simple()),
        format!("{schedule}-{uuid}"),
        format!("99-{}", uuid.simple()),
        "nonsense".to_owned(),
        "%00".to_owned(),
        "%F0%9F%98%80".to_owned(),
    ];
    for id in spelt {
        app.get(&format!("/api/v1/holds/{id}")).await.problem(404, "not_found");
        app.delete(&format!("/api/v1/holds/{id}")).await.problem(404, "not_found");
        app.post(&format!("/api/v1/holds/{id}/extend"), &json!({})).await.problem(404, "not_found");
        app.confirm(&id).await.problem(404, "not_found");
        app.get(&format!("/api/v1/bookings/{id}")).await.problem(404, "not_found");
    }
}

/// The holds that a refusal names, seat by seat.
fn named(refused: &Answer) -> Vec<Value> {
    let problem = refused.problem(409, "seats_unavailable");
    problem["conflicts"].as_array().unwrap().iter().map(|c| c["hold_id"].clone()).collect()
}

async fn a_conflict_names_a_hold_to_its_own_customer_only(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(4).await;
    let one = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    let two = app.hold(&schedule, &["A-1-2"], "anna").await.id(201);
    app.book(&schedule, &["A-1-3"], "anna").await.expect(200);
    // The seat locks or the rows refuse until the map is loaded; then memory does.
    for _ in 0..3 {
        for refused in [
            app.hold(&schedule, &["A-1-1", "A-1-2"], "anna").await,
            app.book(&schedule, &["A-1-1", "A-1-2", "A-1-4"], "anna").await,
            app.post_keyed("/api/v1/holds", "k", &taking(&schedule, &["A-1-1", "A-1-2"], "anna"))
                .await,
        ] {
            assert_eq!(named(&refused), [json!(one), json!(two)]);
            let detail = refused.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("confirmed or released"), "{detail}");
        }
        for refused in [
            app.hold(&schedule, &["A-1-1", "A-1-2"], "ben").await,
            app.block(&schedule, &["A-1-1", "A-1-2"]).await,
        ] {
            assert_eq!(named(&refused), [Value::Null, Value::Null]);
            assert!(!refused.body.contains(&one) && !refused.body.contains(&two), "{refused:?}");
        }
        assert_eq!(app.states(&schedule).await, "he he bo av ");
    }
    let sold = app.book(&schedule, &["A-1-3"], "anna").await;
    assert_eq!(named(&sold), [Value::Null], "a booking is no hold");

    // The seat moves from one hold of hers to another, and then to a hold of another customer.
    app.delete(&format!("/api/v1/holds/{one}")).await.expect(204);
    let next = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    app.states(&schedule).await;
    assert_eq!(named(&app.book(&schedule, &["A-1-1"], "anna").await), [json!(next)]);
    app.delete(&format!("/api/v1/holds/{next}")).await.expect(204);
    let theirs = app.hold(&schedule, &["A-1-1"], "ben").await.id(201);
    app.states(&schedule).await;
    assert_eq!(named(&app.book(&schedule, &["A-1-1"], "anna").await), [Value::Null]);
    assert_eq!(named(&app.book(&schedule, &["A-1-1"], "ben").await), [json!(theirs)]);
}

async fn the_live_holds_of_a_customer_are_listed_each_once(on: Stack) {
    let app = on.start_with(&UNSWEPT).await;
    let (one, two) = (app.row_of(5).await, app.row_of(2).await);
    let mut alive = Vec::new();
    for (schedule, seat) in [(&one, "A-1-1"), (&one, "A-1-2"), (&two, "A-1-1")] {
        alive.push(app.hold(schedule, &[seat], "anna").await.expect(201));
    }
    app.hold(&one, &["A-1-3"], "ben").await.expect(201);
    let released = app.hold(&one, &["A-1-4"], "anna").await.id(201);
    app.delete(&format!("/api/v1/holds/{released}")).await.expect(204);
    let ended = app.hold_for(&one, &["A-1-5"], 1).await;
    app.expired(ended["id"].as_str().unwrap()).await;

    let ids = |holds: &[Value]| holds.iter().map(|hold| hold["id"].clone()).collect::<Vec<_>>();
    for limit in [1, 2, 200] {
        let listed = app.items(&format!("/api/v1/holds?customer_id=anna&limit={limit}")).await;
        assert_eq!(ids(&listed), ids(&alive), "{limit}");
    }
    let path = format!("/api/v1/holds?customer_id=anna&schedule_id={two}");
    let listed = app.items(&path).await;
    let fields =
        |hold: &Value| (hold["seats"].clone(), hold["expires_at"].clone(), hold["status"].clone());
    assert_eq!(listed.iter().map(fields).collect::<Vec<_>>(), [fields(&alive[2])]);
    assert_eq!(app.items("/api/v1/holds?customer_id=carl").await, [Value::Null; 0]);
    for wrong in ["", "?schedule_id=1", "?customer_id=", "?customer_id=anna&schedule_id=x"] {
        app.get(&format!("/api/v1/holds{wrong}")).await.problem(400, "invalid_parameter");
    }
}

//! Changes of a hold's seats: one basket, changed whole or not at all.

use futures_util::future::join_all;
use reqwest::Method;
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};
use test_support::{Client, labels};

use crate::app::{Stack, TestApp};

on_both_stacks![
    seats_are_added_and_removed_in_one_step,
    a_refused_change_leaves_the_hold_and_its_end,
    a_removed_seat_is_free_immediately_and_an_added_one_is_not,
    a_seat_that_the_hold_has_may_be_added_again,
    a_hold_without_seats_is_released,
    a_change_under_a_key_has_one_effect,
    a_change_of_another_version_is_refused,
    two_tabs_end_in_one_of_the_serial_orders,
    of_many_holds_one_gets_a_wanted_seat,
    a_wrong_change_names_the_field_and_changes_nothing,
];

impl TestApp {
    async fn seats_of(&self, hold: &str) -> Vec<String> {
        labels(&self.get(&format!("/api/v1/holds/{hold}")).await.expect(200))
    }
}

async fn seats_are_added_and_removed_in_one_step(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(5).await;
    let before = app.hold(&schedule, &["A-1-1", "A-1-3"], "anna").await.expect(201);
    let id = before["id"].as_str().unwrap();
    assert_eq!(before["version"], 1);
    let change = json!({"add": ["A-1-5", "A-1-2"], "remove": ["A-1-3"]});
    let answer = app.change(id, &change).await;
    let after = answer.expect(200);
    assert_eq!(labels(&after), ["A-1-1", "A-1-2", "A-1-5"]);
    assert_eq!((&after["id"], &after["version"]), (&before["id"], &json!(2)));
    assert_eq!(after["total"], json!({"amount": 3_000, "currency": "EUR"}));
    assert_eq!((&after["expires_at"], &after["created_at"]), {
        (&before["expires_at"], &before["created_at"])
    });
    assert_eq!(answer.header("x-seatlock-version"), Some("3"), "one version for the change");
    assert_eq!(app.states(&schedule).await, "he he av av he ");
    let booking = app.confirm(id).await.expect(200);
    assert_eq!(labels(&booking), ["A-1-1", "A-1-2", "A-1-5"]);
    app.change(id, &json!({"add": ["A-1-3"]})).await.problem(409, "hold_confirmed");
    app.audit().await;
}

async fn a_refused_change_leaves_the_hold_and_its_end(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(5).await;
    let hold = app.hold(&schedule, &["A-1-1", "A-1-2"], "anna").await.expect(201);
    let id = hold["id"].as_str().unwrap();
    app.book(&schedule, &["A-1-4"], "ben").await.expect(200);
    app.hold(&schedule, &["A-1-5"], "carl").await.expect(201);
    for _ in 0..3 {
        let change = json!({"add": ["A-1-3", "A-1-4", "A-1-5"], "remove": ["A-1-1"]});
        let refused = app.change(id, &change).await;
        refused.problem(409, "seats_unavailable");
        assert_eq!(refused.conflicts(), ["A-1-4 booked", "A-1-5 held"]);
    }
    let mut read = app.get(&format!("/api/v1/holds/{id}")).await.expect(200);
    read["expires_in_s"] = hold["expires_in_s"].clone();
    assert_eq!(read, hold);
    assert_eq!(app.states(&schedule).await, "he he av bo he ");
    // The seat of the refused change that was free is not locked.
    app.book(&schedule, &["A-1-3"], "ben").await.expect(200);
    app.audit().await;
}

async fn a_removed_seat_is_free_immediately_and_an_added_one_is_not(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(20).await;
    let hold = app.hold(&schedule, &["A-1-20"], "anna").await.id(201);
    for seat in 1..=19 {
        let seat = format!("A-1-{seat}");
        app.change(&hold, &json!({"add": [seat]})).await.expect(200);
        let lost = app.book(&schedule, &[&seat], "ben").await;
        assert_eq!(lost.conflicts(), [format!("{seat} held")]);
        app.change(&hold, &json!({"remove": [seat]})).await.expect(200);
        app.book(&schedule, &[&seat], "ben").await.expect(200);
    }
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn a_seat_that_the_hold_has_may_be_added_again(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    app.states(&schedule).await;
    for seats in [&["A-1-1"][..], &["A-1-1", "A-1-2"], &["A-1-2", "A-1-1"]] {
        let changed = app.change(&hold, &json!({"add": seats})).await.expect(200);
        assert_eq!(labels(&changed), if seats.len() == 1 { seats } else { &["A-1-1", "A-1-2"] });
    }
    let other = app.hold(&schedule, &["A-1-3"], "anna").await.id(201);
    let refused = app.change(&other, &json!({"add": ["A-1-1"]})).await;
    assert_eq!(refused.conflicts(), ["A-1-1 held"], "of another hold");
    app.audit().await;
}

async fn a_hold_without_seats_is_released(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let hold = app.hold(&schedule, &["A-1-1", "A-1-2"], "anna").await.id(201);
    app.change(&hold, &json!({"remove": ["A-1-2", "A-1-1"]})).await.expect(204);
    let read = app.get(&format!("/api/v1/holds/{hold}")).await.expect(200);
    assert_eq!(read["status"], "released");
    app.book(&schedule, &["A-1-1", "A-1-2"], "ben").await.expect(200);
    app.change(&hold, &json!({"add": ["A-1-3"]})).await.problem(409, "hold_released");
    app.audit().await;
}

async fn a_change_under_a_key_has_one_effect(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(4).await;
    let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    let send = async |body: Value| {
        let request = app.request(Method::PATCH, &format!("/api/v1/holds/{hold}"));
        app.send(request.header("Idempotency-Key", "once").json(&body)).await
    };
    let first = send(json!({"add": ["A-1-2"], "remove": ["A-1-1"]})).await;
    app.change(&hold, &json!({"add": ["A-1-3"], "remove": ["A-1-2"]})).await.expect(200);
    let again = send(json!({"remove": ["A-1-1"], "add": ["A-1-2"]})).await;
    assert_eq!((again.expect(200), first.expect(200)), (first.json(), again.json()));
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(app.seats_of(&hold).await, ["A-1-3"], "the repetition had no effect");
    send(json!({"add": ["A-1-4"]})).await.problem(422, "idempotency_key_reused");
    app.audit().await;
}

async fn a_change_of_another_version_is_refused(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(4).await;
    let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
    let send = async |version: &str, seat: &str| {
        let request = app.request(Method::PATCH, &format!("/api/v1/holds/{hold}"));
        app.send(request.header(IF_MATCH, version).json(&json!({"add": [seat]}))).await
    };
    assert_eq!(send("\"1\"", "A-1-2").await.expect(200)["version"], 2);
    send("\"1\"", "A-1-3").await.problem(412, "hold_changed");
    send("\"2\"", "A-1-3").await.expect(200);
    send("*", "A-1-4").await.expect(200);
    for wrong in ["1", "W/\"1\"", "\"x\"", "\"1\", \"2\"", "\"-1\"", ""] {
        let problem = send(wrong, "A-1-1").await.problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["pointer"], "If-Match", "{wrong}");
    }
    assert_eq!(app.seats_of(&hold).await, ["A-1-1", "A-1-2", "A-1-3", "A-1-4"]);
}

async fn two_tabs_end_in_one_of_the_serial_orders(on: Stack) {
    let app = on.start().await;
    for _ in 0..10 {
        let schedule = app.row_of(4).await;
        let hold = app.hold(&schedule, &["A-1-1"], "anna").await.id(201);
        let one = json!({"add": ["A-1-2"], "remove": ["A-1-1"]});
        let two = json!({"add": ["A-1-3"], "remove": ["A-1-1"]});
        let changes = [app.change(&hold, &one), app.change(&hold, &two)];
        let answers = join_all(changes).await;
        // The tab that comes second names a seat that the hold no longer has.
        let won: Vec<bool> = answers.iter().map(|answer| answer.status == 200).collect();
        assert_ne!(won[0], won[1], "{answers:?}");
        let expected = if won[0] { "A-1-2" } else { "A-1-3" };
        assert_eq!(app.seats_of(&hold).await, [expected]);
        let added = ["A-1-2", "A-1-3"].map(|seat| json!({"add": [seat, "A-1-4"]}));
        let changes = added.iter().map(|change| app.change(&hold, change));
        for (answer, change) in join_all(changes).await.into_iter().zip(&added) {
            // While one tab takes the last seat, its lock may refuse the other one for a moment.
            if answer.status == 409 {
                assert_eq!(answer.problem(409, "seats_unavailable")["retryable"], true);
                app.change(&hold, change).await.expect(200);
            }
        }
        assert_eq!(app.seats_of(&hold).await, ["A-1-2", "A-1-3", "A-1-4"]);
    }
    app.audit().await;
}

/// Each hold asks for the same seat; exactly one gets it, and the others keep what they have.
pub(crate) async fn race_for_a_seat(clients: &[&Client], schedule: &str) {
    let holds = (1..=8).map(|n| {
        let (client, seat) = (clients[n % clients.len()], format!("A-1-{n}"));
        async move { client.hold(schedule, &[&seat], &format!("customer-{n}")).await.id(201) }
    });
    let holds = join_all(holds).await;
    let want = json!({"add": ["A-1-9"]});
    let changes = (1..).zip(&holds).map(|(n, hold)| clients[n % clients.len()].change(hold, &want));
    let answers = join_all(changes).await;
    let winners = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(winners, 1, "{answers:?}");
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.problem(409, "seats_unavailable");
    }
    assert_eq!(clients[0].states(schedule).await, "he ".repeat(9));
}

async fn of_many_holds_one_gets_a_wanted_seat(on: Stack) {
    let app = on.start().await;
    for _ in 0..5 {
        let schedule = app.row_of(9).await;
        race_for_a_seat(&[&app.client()], &schedule).await;
    }
    app.no_later_guard_stepped_in().await;
    app.audit().await;
}

async fn a_wrong_change_names_the_field_and_changes_nothing(on: Stack) {
    let app = on.start().await;
    let schedule = app.schedule(&[("A", 1, 6)], json!({"max_seats_per_booking": 3})).await;
    let hold = app.hold(&schedule, &["A-1-1", "A-1-2"], "anna").await.id(201);
    for (change, pointer, code) in [
        (json!({}), "/add", "empty"),
        (json!({"add": [], "remove": []}), "/add", "empty"),
        (json!({"add": ["A-1-3"], "remove": ["A-1-3"]}), "/remove/0", "duplicate_seat"),
        (json!({"add": ["A-1-3", "A-1-3"]}), "/add/1", "duplicate_seat"),
        (json!({"remove": ["A-1-1", "A-1-1"]}), "/remove/1", "duplicate_seat"),
        (json!({"add": ["A-9-9"]}), "/add/0", "unknown_seat"),
        (json!({"remove": ["A-9-9"]}), "/remove/0", "unknown_seat"),
        (json!({"remove": ["A-1-4"]}), "/remove", "not_in_hold"),
        (json!({"add": ["A-1-3", "A-1-4"]}), "/add", "too_many_seats"),
    ] {
        let problem = app.change(&hold, &change).await.problem(422, "validation_failed");
        let error = &problem["errors"][0];
        assert_eq!((&error["pointer"], &error["code"]), (&json!(pointer), &json!(code)));
    }
    app.change(&hold, &json!({"seats": ["A-1-3"]})).await.problem(422, "validation_failed");
    for unknown in [format!("{schedule}-{}", "0".repeat(32)), "7-x".to_owned(), "9".to_owned()] {
        app.change(&unknown, &json!({"add": ["A-1-3"]})).await.problem(404, "not_found");
    }
    assert_eq!(app.seats_of(&hold).await, ["A-1-1", "A-1-2"]);
    assert_eq!(app.schedule_now(&schedule).await["version"], 2);
}

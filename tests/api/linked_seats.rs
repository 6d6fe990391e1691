//! Groups of linked seats, such as tables: taken and given back together, whatever the request.

use serde_json::{Value, json};
use test_support::{Answer, labels};

use crate::app::{Stack, TestApp};
use crate::queue::QUEUED;

on_both_stacks![
    a_group_is_taken_and_given_back_whole_or_not_at_all,
    a_group_in_part_is_refused_before_it_is_queued,
];

/// A schedule with two tables of three seats, and three single seats.
async fn tables(app: &TestApp) -> String {
    let section = |name, linked: bool| json!({"name": name, "rows": if linked { 2 } else { 1 }, "seats_per_row": 3, "price": 1_000, "linked_rows": linked});
    let plan = json!({"sections": [section("T", true), section("C", false)]});
    let event = app.post("/api/v1/events", &json!({"name": "Gala"})).await.id(201);
    let new = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": plan});
    app.post(&format!("/api/v1/events/{event}/schedules"), &new).await.id(201)
}

fn is_refused(answer: &Answer, pointer: &str, missing: &str) {
    let problem: Value = answer.problem(422, "linked_seats");
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(1), "{problem}");
    assert_eq!(problem["errors"][0]["pointer"], pointer);
    assert_eq!(problem["errors"][0]["code"], "linked_seats");
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("`T-1`") && message.contains(missing), "{message}");
}

async fn a_group_is_taken_and_given_back_whole_or_not_at_all(on: Stack) {
    let app = on.start().await;
    let schedule = tables(&app).await;
    let part = ["C-1-1", "T-1-2"];
    is_refused(&app.hold(&schedule, &part, "anna").await, "/seats/1", "`T-1-1`, `T-1-3`");
    is_refused(&app.book(&schedule, &part, "anna").await, "/seats/1", "`T-1-1`, `T-1-3`");
    let whole = ["T-1-1", "T-1-2", "T-1-3", "C-1-1"];
    let hold = app.hold(&schedule, &whole, "anna").await.expect(201);
    let hold = hold["id"].as_str().unwrap();
    let remove = app.change(hold, &json!({"remove": ["T-1-3"]})).await;
    is_refused(&remove, "/remove/0", "`T-1-1`, `T-1-2`");
    let add = app.change(hold, &json!({"add": ["T-2-1"]})).await.problem(422, "linked_seats");
    assert_eq!(add["errors"][0]["pointer"], "/add/0");
    let kept = app.get(&format!("/api/v1/holds/{hold}")).await.expect(200);
    assert_eq!((labels(&kept).len(), &kept["version"]), (4, &json!(1)));
    let change = json!({"add": ["T-2-1", "T-2-2", "T-2-3"], "remove": ["T-1-1", "T-1-2", "T-1-3"]});
    assert_eq!(labels(&app.change(hold, &change).await.expect(200)).len(), 4);
    let booking = app.confirm(hold).await.id(200);
    let cancel = app.cancel(&booking, Some(&["T-2-1", "T-2-2"])).await;
    assert_eq!(cancel.problem(422, "linked_seats")["errors"][0]["pointer"], "/seats/0");
    app.cancel(&booking, Some(&["T-2-3", "T-2-1", "T-2-2"])).await.expect(200);
    assert_eq!(app.states(&schedule).await, "av av av av av av bo av av ");

    // The house may block one chair. Then the table cannot be sold.
    let blocks = format!("/api/v1/schedules/{schedule}/blocks");
    let block = json!({"seats": ["T-1-1"], "reason": "camera"});
    app.post(&blocks, &block).await.expect(201);
    let whole = ["T-1-1", "T-1-2", "T-1-3"];
    app.book(&schedule, &whole, "ben").await.problem(409, "seats_unavailable");
    app.audit().await;
}

async fn a_group_in_part_is_refused_before_it_is_queued(on: Stack) {
    let app = on.start_with(&QUEUED).await;
    let schedule = tables(&app).await;
    let body = json!({"schedule_id": schedule, "seats": ["T-1-1"], "customer_id": "anna"});
    for path in ["/api/v1/holds", "/api/v1/bookings"] {
        is_refused(&app.queue(path, &body).await, "/seats/0", "`T-1-2`, `T-1-3`");
    }
    assert_eq!(app.metric("seatlock_queue_accepted_total{result=\"queued\"}").await, 0.0);
}

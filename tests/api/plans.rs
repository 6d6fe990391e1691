//! Seat plans: stored in immutable versions, refused with the position of every fault.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::Answer;

use crate::app::{Stack, TestApp};

on_both_stacks![
    a_plan_is_stored_in_versions_and_its_schedules_keep_theirs,
    a_dry_run_stores_nothing,
    a_plan_with_faults_is_refused_and_names_them,
    a_plan_with_wrong_parameters_is_refused,
    a_plan_that_is_not_there_is_not_found,
];

impl TestApp {
    async fn put_plan(&self, path: &str, plan: &Value) -> Answer {
        let request = self.request(Method::PUT, &format!("/api/v1/seat-plans/{path}"));
        self.send(request.json(plan)).await
    }
}

/// A pretix plan of one row.
fn row(seats: usize) -> Value {
    let seat = |number: usize| {
        json!({"seat_number": number.to_string(), "seat_guid": format!("S-{number}"),
            "position": {"x": number, "y": 0}, "category": "Front"})
    };
    json!({
        "name": "Row", "categories": [{"name": "Front", "color": "#7db8b0"}],
        "zones": [{"name": "Stalls", "position": {"x": 0, "y": 0}, "rows": [{
            "row_number": "1", "position": {"x": 0, "y": 0},
            "seats": (1..=seats).map(seat).collect::<Vec<_>>(),
        }]}],
    })
}

async fn a_plan_is_stored_in_versions_and_its_schedules_keep_theirs(on: Stack) {
    let app = on.start().await;
    let first = app.put_plan("hall?price=900", &row(2)).await.expect(200);
    assert_eq!(first, json!({"id": "hall", "version": 1}));
    let schedule = app.schedule_of(json!("hall"), Value::Null).await;
    assert_eq!(app.put_plan("hall?price=900", &row(2)).await.expect(200), first, "nothing new");
    let second = app.put_plan("hall?price=Front%3D950", &row(3)).await.expect(200);
    assert_eq!(second["version"], 2);

    assert_eq!(app.seats(&schedule).await.len(), 2);
    for (plan, seats) in
        [(json!("hall"), 3), (json!({"id": "hall"}), 3), (json!({"id": "hall", "version": 1}), 2)]
    {
        let schedule = app.schedule_of(plan, Value::Null).await;
        assert_eq!(app.seats(&schedule).await.len(), seats);
        app.book(&schedule, &["S-2"], "anna").await.expect(200);
    }
    let layout = app.get("/api/v1/seat-plans/hall/versions/1").await.expect(200);
    let seat = &layout["sections"][0]["rows"][0]["seats"][1];
    assert_eq!((&seat["label"], &seat["price"]), (&json!("S-2"), &json!(900)));
}

async fn a_dry_run_stores_nothing(on: Stack) {
    let app = on.start().await;
    let before = app.database.dump().await;
    let found = app.put_plan("hall?price=900&dry_run=true", &row(5)).await.expect(200);
    assert_eq!(found, json!({"dry_run": true, "seats": 5}));
    assert_eq!(app.database.dump().await, before);
}

async fn a_plan_with_faults_is_refused_and_names_them(on: Stack) {
    let app = on.start().await;
    let before = app.database.dump().await;
    let mut twice = row(3);
    twice["zones"][0]["rows"][0]["seats"][2]["seat_guid"] = json!("S-1");
    let mut empty = row(1);
    empty["zones"] = json!([]);
    let mut wrong = row(2);
    wrong["zones"][0]["rows"] = json!("one");
    for (plan, pointer) in
        [(twice, "/zones/0/rows/0/seats/0/seat_guid"), (empty, "/zones"), (wrong, "/zones/0/rows")]
    {
        let problem = app.put_plan("hall?price=1", &plan).await.problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
        assert!(!problem["errors"][0]["message"].as_str().unwrap().is_empty());
    }
    // The category has no price.
    let problem = app.put_plan("hall", &row(1)).await.problem(422, "validation_failed");
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("Front"), "{problem}");
    assert_eq!(app.database.dump().await, before);
}

async fn a_plan_with_wrong_parameters_is_refused(on: Stack) {
    let app = on.start().await;
    let questions =
        ["hall?dry_run=maybe", "hall?id_from=name", "hall?price=cheap", "hall?colour=red"];
    for path in questions {
        app.put_plan(path, &row(1)).await.problem(400, "invalid_parameter");
    }
    let long = "x".repeat(65);
    for id in ["%00", "a%0Ab", &long] {
        app.put_plan(&format!("{id}?price=1"), &row(1)).await.problem(422, "validation_failed");
    }
}

async fn a_plan_that_is_not_there_is_not_found(on: Stack) {
    let app = on.start().await;
    app.put_plan("hall?price=1", &row(1)).await.expect(200);
    for path in ["hall/versions/2", "hall/versions/0", "hall/versions/x", "other/versions/1"] {
        app.get(&format!("/api/v1/seat-plans/{path}")).await.problem(404, "not_found");
    }
    // A name that no plan can have is refused without a query.
    for id in ["%00", "a%00b", "%F0%9F%98%80"] {
        let path = format!("/api/v1/seat-plans/{id}/versions/1");
        app.get(&path).await.problem(404, "not_found");
    }
    let event = app.event("Hamlet").await;
    for plan in [json!("other"), json!({"id": "hall", "version": 7})] {
        let body = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": plan});
        let refused = app.post(&format!("/api/v1/events/{event}/schedules"), &body).await;
        refused.problem(404, "not_found");
    }
}

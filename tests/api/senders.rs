//! The journal records who sent each change of a seat.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::taking;

use crate::app::{Stack, TestApp};

on_both_stacks![
    each_change_has_its_claim_and_its_sender,
    an_expiry_names_the_task_that_wrote_it,
    addresses_are_recorded_only_if_asked_for,
];

impl TestApp {
    /// The events of each version of a schedule: `[kind, claim, taken, freed, actor, request, address?]`.
    async fn events(&self, schedule: &str) -> Vec<Value> {
        let sql =
            format!("SELECT events FROM journal WHERE schedule_id = {schedule} ORDER BY version");
        let entries: Vec<String> = self.database.column(&sql).await;
        let events = entries.iter().map(|text| serde_json::from_str::<Vec<Value>>(text).unwrap());
        events.flatten().collect()
    }

    async fn send_as(&self, id: &str, method: Method, path: &str, body: Value) -> Value {
        let request = self.request(method, path).header("X-Request-Id", id).json(&body);
        let answer = self.send(request).await;
        assert!(answer.status < 300, "{answer:?}");
        if answer.body.is_empty() { Value::Null } else { answer.json() }
    }
}

/// The part of a claim's id that the journal stores.
fn claim(answer: &Value) -> String {
    answer["id"].as_str().unwrap().split_once('-').unwrap().1.to_owned()
}

async fn each_change_has_its_claim_and_its_sender(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(6).await;
    let post = Method::POST;
    let taking = |seats: &[&str]| taking(&schedule, seats, "anna");
    let hold = app.send_as("r1", post.clone(), "/api/v1/holds", taking(&["A-1-1", "A-1-2"])).await;
    let place = format!("/api/v1/holds/{}", hold["id"].as_str().unwrap());
    let change = json!({"add": ["A-1-4"], "remove": ["A-1-1"]});
    app.send_as("r2", Method::PATCH, &place, change).await;
    app.send_as("r3", post.clone(), &format!("{place}/extend"), json!({"ttl_s": 1_200})).await;
    let confirm = json!({"hold_id": hold["id"]});
    let booking = app.send_as("r4", post.clone(), "/api/v1/bookings", confirm).await;
    let path = format!("/api/v1/bookings/{}/cancel", booking["id"].as_str().unwrap());
    app.send_as("r5", post.clone(), &path, json!({"seats": ["A-1-2"]})).await;
    let blocks = format!("/api/v1/schedules/{schedule}/blocks");
    let house = json!({"seats": ["A-1-6"], "reason": "camera"});
    let block = app.send_as("r6", post.clone(), &blocks, house).await;
    let lift = format!("{blocks}/{}", block["id"].as_str().unwrap());
    app.send_as("r7", Method::DELETE, &lift, json!({})).await;
    let other = app.send_as("r8", post, "/api/v1/holds", taking(&["A-1-1"])).await;
    let path = format!("/api/v1/holds/{}", other["id"].as_str().unwrap());
    app.send_as("r9", Method::DELETE, &path, json!({})).await;
    let (hold, booking) = (claim(&hold), claim(&booking));
    let (block, other) = (claim(&block), claim(&other));
    let event = |kind: u8, claim: &str, taken: &[u32], freed: &[u32], request: &str| {
        json!([kind, claim, taken, freed, "anonymous", request])
    };
    assert_eq!(
        app.events(&schedule).await,
        [
            event(1, &hold, &[0, 1], &[], "r1"),
            event(2, &hold, &[3], &[0], "r2"),
            event(3, &hold, &[1, 3], &[], "r3"),
            event(6, &booking, &[1, 3], &[], "r4"),
            event(7, &booking, &[], &[1], "r5"),
            event(8, &block, &[5], &[], "r6"),
            event(9, &block, &[], &[5], "r7"),
            event(1, &other, &[0], &[], "r8"),
            event(4, &other, &[], &[0], "r9"),
        ]
    );
    app.audit().await;
}

async fn an_expiry_names_the_task_that_wrote_it(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    let mut body = taking(&schedule, &["A-1-1"], "anna");
    body["ttl_s"] = json!(1);
    let hold = app.post("/api/v1/holds", &body).await.expect(201);
    let path = format!("/api/v1/schedules/{schedule}");
    app.wait_until(&path, |answer| answer.json()["version"] == 3).await;
    let expired = json!([5, claim(&hold), [], [0], "hold expiry", ""]);
    assert_eq!(app.events(&schedule).await[1], expired);
}

async fn addresses_are_recorded_only_if_asked_for(on: Stack) {
    let app = on.start_with(&[("AUDIT_ADDRESSES", "on")]).await;
    let schedule = app.row_of(1).await;
    let body = taking(&schedule, &["A-1-1"], "anna");
    let booking = app.send_as("r1", Method::POST, "/api/v1/bookings", body).await;
    let expected = json!([6, claim(&booking), [0], [], "anonymous", "r1", "127.0.0.1"]);
    assert_eq!(app.events(&schedule).await, [expected]);
}

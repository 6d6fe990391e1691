//! Blocks: house seats, out of sale until the block is lifted.

use serde_json::{Value, json};

use crate::app::{Stack, TestApp};

on_both_stacks![
    blocked_seats_are_not_sold_until_the_block_is_lifted,
    a_block_takes_all_its_seats_or_none,
    a_block_belongs_to_its_schedule,
    a_large_block_is_possible,
    the_blocks_of_a_schedule_are_listed_until_they_are_lifted,
];

impl TestApp {
    pub(crate) async fn block(&self, schedule: &str, seats: &[&str]) -> test_support::Answer {
        let body = json!({"seats": seats, "reason": "camera position"});
        self.post(&format!("/api/v1/schedules/{schedule}/blocks"), &body).await
    }
}

async fn blocked_seats_are_not_sold_until_the_block_is_lifted(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let block = app.block(&schedule, &["A-1-2", "A-1-1"]).await.expect(201);
    let expected = json!({
        "id": block["id"], "schedule_id": schedule, "seats": ["A-1-1", "A-1-2"],
        "reason": "camera position", "created_at": block["created_at"],
    });
    assert_eq!(block, expected);
    for refused in [
        app.book(&schedule, &["A-1-1"], "anna").await,
        app.hold(&schedule, &["A-1-1"], "anna").await,
        app.block(&schedule, &["A-1-1"]).await,
    ] {
        refused.problem(409, "seats_unavailable");
        assert_eq!(refused.conflicts(), ["A-1-1 blocked"]);
    }
    let id = block["id"].as_str().unwrap();
    let path = format!("/api/v1/schedules/{schedule}/blocks/{id}");
    app.delete(&path).await.expect(204);
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    app.delete(&path).await.expect(204);
    assert_eq!(app.states(&schedule).await, "bo av av ");
    app.audit().await;
}

async fn a_block_takes_all_its_seats_or_none(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    app.book(&schedule, &["A-1-2"], "anna").await.expect(200);
    let refused = app.block(&schedule, &["A-1-1", "A-1-2", "A-1-3"]).await;
    refused.problem(409, "seats_unavailable");
    assert_eq!(app.states(&schedule).await, "av bo av ");
}

async fn a_block_belongs_to_its_schedule(on: Stack) {
    let app = on.start().await;
    let (one, two) = (app.row_of(1).await, app.row_of(1).await);
    let block = app.block(&one, &["A-1-1"]).await.id(201);
    let foreign = format!("{two}-{}", block.split_once('-').unwrap().1);
    for id in [&block, &foreign, &"nonsense".to_owned()] {
        app.delete(&format!("/api/v1/schedules/{two}/blocks/{id}")).await.problem(404, "not_found");
    }
    assert_eq!(app.states(&one).await, "bl ");
}

async fn a_large_block_is_possible(on: Stack) {
    let app = on.start().await;
    let schedule = app.schedule(&[("A", 20, 100)], Value::Null).await;
    let seats = app.seats(&schedule).await;
    let seats: Vec<&str> = seats.iter().map(|(label, _)| label.as_str()).collect();
    let block = app.block(&schedule, &seats).await.id(201);
    let read = app.schedule_now(&schedule).await;
    assert_eq!((&read["counts"]["blocked"], &read["version"]), (&json!(2_000), &json!(2)));
    app.delete(&format!("/api/v1/schedules/{schedule}/blocks/{block}")).await.expect(204);
    app.audit().await;
}

async fn the_blocks_of_a_schedule_are_listed_until_they_are_lifted(on: Stack) {
    let app = on.start().await;
    let (schedule, other) = (app.row_of(4).await, app.row_of(1).await);
    let mut made = Vec::new();
    for seat in ["A-1-3", "A-1-1", "A-1-2"] {
        made.push(app.block(&schedule, &[seat]).await.expect(201));
    }
    app.block(&other, &["A-1-1"]).await.expect(201);
    let path = format!("/api/v1/schedules/{schedule}/blocks");
    assert_eq!(app.items(&path).await, made);
    assert_eq!(app.items(&format!("{path}?limit=2")).await, made);
    let lifted = made.remove(1);
    app.delete(&format!("{path}/{}", lifted["id"].as_str().unwrap())).await.expect(204);
    assert_eq!(app.items(&format!("{path}?limit=1")).await, made);
    app.get("/api/v1/schedules/99999/blocks").await.problem(404, "not_found");
    app.get(&format!("{path}?cursor=x")).await.problem(400, "invalid_parameter");
}

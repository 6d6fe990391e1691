//! Events: created, read, listed.

use serde_json::json;

use crate::app::Stack;

on_both_stacks![
    an_event_reads_as_it_was_entered,
    events_are_listed_each_once,
    a_page_has_the_size_asked_for_within_bounds,
    an_event_that_is_not_there_is_not_found,
];

async fn an_event_reads_as_it_was_entered(on: Stack) {
    let app = on.start().await;
    let longest = "ß😀".repeat(100);
    for name in ["The Tempest", "Der Sturm – „Prospero“ 🎭", longest.as_str()] {
        let answer = app.post("/api/v1/events", &json!({ "name": name })).await;
        let event = answer.expect(201);
        let path = format!("/api/v1/events/{}", event["id"].as_str().unwrap());
        assert_eq!(answer.header("location"), Some(path.as_str()));
        assert_eq!(event["name"], name);
        assert_eq!(app.get(&path).await.expect(200), event);
    }
}

async fn events_are_listed_each_once(on: Stack) {
    let app = on.start().await;
    assert!(app.items("/api/v1/events?limit=2").await.is_empty());
    let mut entered = Vec::new();
    for number in 0..7 {
        entered.push(app.event(&format!("event {number}")).await);
    }
    for limit in [1, 3, 7, 200] {
        let found = app.items(&format!("/api/v1/events?limit={limit}")).await;
        let found: Vec<&str> = found.iter().map(|event| event["id"].as_str().unwrap()).collect();
        assert_eq!(found, entered, "in pages of {limit}");
    }
}

async fn a_page_has_the_size_asked_for_within_bounds(on: Stack) {
    let app = on.start().await;
    for number in 0..51 {
        app.event(&format!("event {number}")).await;
    }
    for (query, size) in [("", 50), ("?limit=1", 1), ("?limit=2", 2), ("?limit=200", 51)] {
        let page = app.get(&format!("/api/v1/events{query}")).await.expect(200);
        assert_eq!(page["items"].as_array().unwrap().len(), size, "{query}");
        assert_eq!(page["next_cursor"].is_null(), size == 51, "{query}");
    }
    for query in [
        "limit=-1",
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=",
        "cursor=x",
        "cursor=%00",
        "page=2",
    ] {
        app.get(&format!("/api/v1/events?{query}")).await.problem(400, "invalid_parameter");
    }
}

async fn an_event_that_is_not_there_is_not_found(on: Stack) {
    let app = on.start().await;
    for id in ["1", "0", "-1", "x", "%00", "99999999999999999999"] {
        app.get(&format!("/api/v1/events/{id}")).await.problem(404, "not_found");
        let schedules = format!("/api/v1/events/{id}/schedules");
        app.get(&schedules).await.problem(404, "not_found");
        let plan = json!({"sections": [{"name": "A", "rows": 1, "seats_per_row": 1, "price": 0}]});
        let body = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": plan});
        app.post(&schedules, &body).await.problem(404, "not_found");
    }
}

//! The seat map: readable, filtered, in pages and packed, with the same states, and sent only when it has changed.

use base64::Engine as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::app::{Stack, TestApp};

on_both_stacks![
    the_map_shows_every_seat_with_place_price_and_status,
    the_packed_map_has_the_same_states,
    a_map_can_be_asked_for_in_part,
    the_pages_of_a_map_have_every_seat_once,
    a_map_is_sent_only_when_it_has_changed,
    a_layout_never_changes,
    a_map_with_wrong_parameters_is_refused,
];

/// Two sections, and a seat of every status.
async fn hall(app: &TestApp) -> String {
    let schedule = app.schedule(&[("A", 2, 3), ("B", 1, 3)], Value::Null).await;
    app.book(&schedule, &["A-1-2"], "anna").await.expect(200);
    app.hold(&schedule, &["A-2-1", "B-1-1"], "ben").await.expect(201);
    let house = json!({"seats": ["B-1-3"], "reason": "camera"});
    app.post(&format!("/api/v1/schedules/{schedule}/blocks"), &house).await.expect(201);
    schedule
}

fn statuses(map: &Value) -> Vec<String> {
    let seats = map["seats"].as_array().unwrap();
    let one = |seat: &Value| {
        format!("{} {}", seat["label"].as_str().unwrap(), seat["status"].as_str().unwrap())
    };
    seats.iter().map(one).collect()
}

async fn the_map_shows_every_seat_with_place_price_and_status(on: Stack) {
    let app = on.start().await;
    let schedule = hall(&app).await;
    let map = app.map(&schedule, "seats").await.expect(200);
    assert_eq!((&map["schedule_id"], &map["version"]), (&json!(schedule), &json!(4)));
    assert_eq!(
        statuses(&map),
        [
            "A-1-1 available",
            "A-1-2 booked",
            "A-1-3 available",
            "A-2-1 held",
            "A-2-2 available",
            "A-2-3 available",
            "B-1-1 held",
            "B-1-2 available",
            "B-1-3 blocked",
        ]
    );
    let seat = json!({"label": "A-2-1", "section": "A", "row": "2", "number": "1", "price": 1_000,
        "status": "held"});
    assert_eq!(map["seats"][3], seat);
    let read = app.schedule_now(&schedule).await;
    assert_eq!(read["version"], 4);
    let counts = json!({"available": 5, "held": 2, "booked": 1, "blocked": 1});
    assert_eq!(read["counts"], counts);
}

async fn the_packed_map_has_the_same_states(on: Stack) {
    let app = on.start().await;
    let schedule = hall(&app).await;
    let packed = app.map(&schedule, "availability").await.expect(200);
    assert_eq!(packed["version"], 4);
    let counts = json!({"available": 5, "held": 2, "booked": 1, "blocked": 1});
    assert_eq!(packed["counts"], counts);
    let states = packed["states"].as_str().unwrap();
    let states = base64::engine::general_purpose::STANDARD.decode(states).unwrap();
    let names = ["available", "held", "booked", "blocked"];
    let unpacked: Vec<&str> =
        (0..9).map(|seat| names[usize::from(states[seat / 4] >> (2 * (seat % 4)) & 3)]).collect();
    let map = app.seats(&schedule).await;
    let readable: Vec<&str> = map.iter().map(|(_, status)| status.as_str()).collect();
    assert_eq!(unpacked, readable);
    assert_eq!(states.len(), 3);
}

async fn a_map_can_be_asked_for_in_part(on: Stack) {
    let app = on.start().await;
    let schedule = hall(&app).await;
    let ask = async |query: &str| {
        statuses(&app.map(&schedule, &format!("seats?{query}")).await.expect(200))
    };
    assert_eq!(ask("section=B").await, ["B-1-1 held", "B-1-2 available", "B-1-3 blocked"]);
    assert_eq!(ask("status=held").await, ["A-2-1 held", "B-1-1 held"]);
    assert_eq!(ask("status=held&section=A").await, ["A-2-1 held"]);
    assert_eq!(ask("section=C").await, [""; 0]);
}

async fn the_pages_of_a_map_have_every_seat_once(on: Stack) {
    let app = on.start().await;
    let schedule = hall(&app).await;
    let whole = app.map(&schedule, "seats").await.expect(200);
    for (query, wanted) in [("", 9), ("&status=available", 5), ("&section=A", 6)] {
        let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = app.map(&schedule, &format!("seats?limit=2{query}{cursor}")).await;
            let page = page.expect(200);
            assert!(statuses(&page).len() <= 2);
            found.extend(statuses(&page));
            pages += 1;
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!((found.len(), pages), (wanted, usize::div_ceil(wanted, 2)), "{query}");
        let all = statuses(&whole);
        let places: Vec<_> = found.iter().map(|seat| all.iter().position(|s| s == seat)).collect();
        assert!(places.is_sorted_by(|one, two| one.is_some() && one < two), "{found:?}");
    }
}

async fn a_map_is_sent_only_when_it_has_changed(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(2).await;
    for (resource, seat) in [("seats", "A-1-1"), ("availability", "A-1-2")] {
        let path = format!("/api/v1/schedules/{schedule}/{resource}");
        let first = app.get(&path).await;
        let tag = first.header("etag").unwrap().to_owned();
        let ask = async |tag: &str| {
            app.send(app.request(Method::GET, &path).header("if-none-match", tag)).await
        };
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()]
        {
            let same = ask(&known).await;
            assert_eq!((same.status, same.body.as_str()), (304, ""), "{known}");
            assert_eq!(same.header("etag"), Some(tag.as_str()));
        }
        app.book(&schedule, &[seat], "anna").await.expect(200);
        // Caches may share answers for a moment; a client that has seen a change asks for its version.
        app.map(&schedule, resource).await.expect(200);
        let changed = ask(&tag).await;
        assert_eq!(changed.status, 200);
        assert_ne!(changed.header("etag"), Some(tag.as_str()));
        assert_ne!(changed.body, first.body);
    }
}

async fn a_layout_never_changes(on: Stack) {
    let app = on.start().await;
    let schedule = hall(&app).await;
    let read = app.get(&format!("/api/v1/schedules/{schedule}")).await.expect(200);
    let (id, version) = (read["seat_plan"]["id"].as_str().unwrap(), &read["seat_plan"]["version"]);
    let path = format!("/api/v1/seat-plans/{id}/versions/{version}");
    let layout = app.get(&path).await;
    assert_eq!(layout.expect(200)["sections"][1]["name"], "B");
    assert!(layout.header("cache-control").unwrap().contains("immutable"));
    let tag = layout.header("etag").unwrap();
    let again = app.send(app.request(Method::GET, &path).header("if-none-match", tag)).await;
    assert_eq!(again.status, 304);
}

async fn a_map_with_wrong_parameters_is_refused(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(1).await;
    for query in ["status=free", "limit=many", "cursor=x", "colour=red", "status=held&status=held"]
    {
        let path = format!("/api/v1/schedules/{schedule}/seats?{query}");
        app.get(&path).await.problem(400, "invalid_parameter");
    }
    for id in ["99", "0", "-1", "abc", "%00", "9223372036854775808"] {
        for rest in ["", "/seats", "/availability"] {
            app.get(&format!("/api/v1/schedules/{id}{rest}")).await.problem(404, "not_found");
        }
    }
}

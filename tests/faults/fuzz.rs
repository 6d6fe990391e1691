//! Requests that make no sense, thousands of them: a plain no, no trace in the database or in Redis, no panic.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::Client;

use crate::harness::{Setup, blocking};

/// How many requests are sent.
const REQUESTS: usize = 3_000;

/// What stands in for a value of the body.
fn nonsense() -> Value {
    let deep = (0..60).fold(json!(1), |inner, _| json!([inner]));
    let values = [
        json!(null),
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(""),
        json!("\u{0}"),
        json!("A-1-1\u{0}"),
        json!("💺"),
        json!("' OR 1=1; --"),
        json!("x".repeat(20_000)),
        json!([]),
        json!({}),
        json!(["A-1-1", "A-1-1"]),
        json!((1..=11).map(|n| format!("A-1-{n}")).collect::<Vec<_>>()),
        json!(["A-9-9"]),
        json!([["A-1-1"]]),
        deep,
    ];
    values[fastrand::usize(..values.len())].clone()
}

/// A body that may be anything: a field replaced, removed or added, or bytes changed, cut or doubled. What
/// is still right in it names a seat that is sold.
fn body(schedule: &str) -> Vec<u8> {
    let mut body = json!({"schedule_id": schedule, "seats": ["A-1-1"], "customer_id": "mallory"});
    let fields = ["schedule_id", "seats", "customer_id", "ttl_s", "hold_id", "reason", "price"];
    let field = fields[fastrand::usize(..fields.len())];
    match fastrand::u8(..3) {
        0 => drop(body.as_object_mut().unwrap().remove(field)),
        _ => body[field] = nonsense(),
    }
    let mut bytes = body.to_string().into_bytes();
    if fastrand::u8(..3) == 0 {
        let place = fastrand::usize(..bytes.len());
        match fastrand::u8(..4) {
            0 => bytes.truncate(place),
            1 => bytes[place] = fastrand::u8(..),
            2 => bytes.insert(place, fastrand::u8(..)),
            _ => bytes.extend_from_within(place..),
        }
    }
    bytes
}

async fn refused(client: &Client, schedule: &str) {
    let unknown = format!("{schedule}-{:032x}", fastrand::u128(..));
    let paths = [
        "/api/v1/bookings".to_owned(),
        "/api/v1/holds".to_owned(),
        format!("/api/v1/schedules/{schedule}/blocks"),
        format!("/api/v1/holds/{unknown}/extend"),
        format!("/api/v1/bookings/{unknown}/cancel"),
        "/api/v1/holds/%00/extend".to_owned(),
        "/api/v1/bookings/💺/cancel".to_owned(),
    ];
    let path = &paths[fastrand::usize(..paths.len())];
    let kinds = ["application/json", "application/json", "text/plain", "application/xml", ";"];
    let kind = kinds[fastrand::usize(..kinds.len())];
    let body = body(schedule);
    let shown = String::from_utf8_lossy(&body).into_owned();
    let request = client.request(Method::POST, path).header("content-type", kind).body(body);
    let request = match fastrand::u8(..4) {
        0 => request.header("idempotency-key", "k".repeat(fastrand::usize(..300))),
        1 => request.header("idempotency-key", "\"half"),
        _ => request,
    };
    let answer = client.send(request).await;
    assert!((400..500).contains(&answer.status), "{path} {shown}: {answer:?}");
    answer.check_problem();
    assert_eq!(answer.json()["effect"], "none", "{path} {shown}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_leaves_no_trace() {
    let scene = Setup::of("nonsense").start().await;
    let client = scene.client(0);
    let schedule = scene.schedule(1, 1).await;
    assert!(scene.ledger.book(&client, &schedule, &["A-1-1"]).await.is_some());
    scene.until_no_locks(crate::harness::SLACK).await;
    let database = scene.database().await;
    let before = database.dump().await;
    for _ in 0..REQUESTS {
        refused(&client, &schedule).await;
    }
    assert_eq!(database.dump().await, before, "nonsense has left a trace");
    scene.until_no_locks(crate::harness::SLACK).await;
    // A shared map is a cache that a refusal may fill.
    let keys = blocking(|| scene.redis.cli(&["keys", "*"]));
    let left: Vec<&str> = keys.lines().filter(|key| !key.contains("}:map")).collect();
    assert_eq!(left, [""; 0], "nonsense has left keys in redis");
    let output = scene.services[0].process().output();
    assert!(!output.contains("panicked"), "{output}");
    scene.inject(&format!(
        "{REQUESTS} requests with values, bytes, keys and types that make no sense"
    ));
    scene.finish().await;
}

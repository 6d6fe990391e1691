//! API keys of the database: created, listed, rotated and revoked over HTTP, and used.

use serde_json::{Value, json};
use test_support::{Answer, Client, SOON, taking, until};

use crate::app::{Stack, TestApp};

on_both_stacks![
    a_key_works_until_it_is_revoked,
    a_key_is_stored_as_a_hash_and_shown_once,
    a_rotation_keeps_the_identity_of_the_key,
    an_expired_key_is_refused_and_its_name_is_free,
    a_wrong_field_of_a_key_is_named_with_its_remedy,
    without_an_admin_key_a_key_of_the_database_is_judged_all_the_same,
    the_use_of_a_key_is_recorded,
];

pub(crate) const ADMIN: &str = "correct-horse-battery-staple";
pub(crate) const KEYS: &str = "/api/v1/api-keys";

/// The service with `ADMIN_API_KEY`, and a client that has it.
pub(crate) async fn with_admin(on: Stack) -> (TestApp, Client) {
    let app = on.start_with(&[("ADMIN_API_KEY", ADMIN)]).await;
    let office = app.client_with_key(ADMIN);
    (app, office)
}

/// Creates a key. Returns its id and its text.
pub(crate) async fn create(office: &Client, body: Value) -> (String, String) {
    let answer = office.post(KEYS, &body).await;
    let created = answer.expect(201);
    let text = |field: &str| created[field].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), Some(format!("{KEYS}/{}", text("id")).as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    (text("id"), text("key"))
}

pub(crate) async fn secret(office: &Client, name: &str, scope: &str) -> (String, String) {
    create(office, json!({"name": name, "scopes": [scope]})).await
}

async fn a_key_works_until_it_is_revoked(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (id, key) = secret(&office, "shop", "sell").await;
    let shop = app.client_with_key(&key);
    let schedule = office.row_of(2).await;
    let booked = shop.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    assert_eq!(booked["customer_id"], "anna");
    let again = office.post(KEYS, &json!({"name": "shop", "scopes": ["read"]})).await;
    let problem = again.problem(422, "validation_failed");
    assert_eq!(problem["errors"][0]["code"], "name_taken");

    assert_eq!(office.delete(&format!("{KEYS}/{id}")).await.status, 204);
    let refused = shop.book(&schedule, &["A-1-2"], "anna").await;
    refused.problem(401, "unauthenticated");
    assert_eq!(refused.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    assert_eq!(office.delete(&format!("{KEYS}/{id}")).await.status, 204, "once more");
    office.post(&format!("{KEYS}/{id}/rotate"), &json!({})).await.problem(404, "not_found");
    office.delete(&format!("{KEYS}/999999")).await.problem(404, "not_found");
    office.get(&format!("{KEYS}/x")).await.problem(404, "not_found");
    assert_eq!(office.states(&schedule).await, "bo av ");

    let listed = office.items(&format!("{KEYS}?limit=1")).await;
    assert_eq!((listed.len(), &listed[0]["secrets"]), (1, &json!([])));
    assert!(listed[0]["revoked_at"].is_string(), "{listed:?}");
    secret(&office, "shop", "read").await;
    assert_eq!(office.items(&format!("{KEYS}?limit=1")).await.len(), 2);
}

async fn a_key_is_stored_as_a_hash_and_shown_once(on: Stack) {
    let (app, office) = with_admin(on).await;
    let body = json!({"name": "page", "kind": "publishable", "mode": "test",
        "origins": ["HTTPS://Shop.example:443"]});
    let created = office.post(KEYS, &body).await.expect(201);
    let (key, id) = (created["key"].as_str().unwrap(), created["id"].as_str().unwrap());
    assert!(key.starts_with("pk_test_") && key.len() == 44, "{key}");
    assert_eq!(created["origins"], json!(["https://shop.example"]));
    let read = office.get(&format!("{KEYS}/{id}")).await;
    let stored = app.database.dump().await;
    for text in [read.body.as_str(), &stored] {
        assert!(text.contains(&key[..16]), "{text}");
        assert!(!text.contains(&key[..17]), "{text}");
    }
    let mut listed = read.json();
    listed["key"] = json!(key);
    assert_eq!(listed, created);
    // An answer that must not be stored cannot be repeated.
    for path in [KEYS.to_owned(), format!("{KEYS}/{id}/rotate")] {
        let body = if path == KEYS { json!({"name": "b", "scopes": ["read"]}) } else { json!({}) };
        let refused = office.post_keyed(&path, "once", &body).await;
        let problem = refused.problem(400, "invalid_parameter");
        assert_eq!(problem["errors"][0]["pointer"], "Idempotency-Key");
    }
    assert_eq!(app.database.dump().await, stored);
}

async fn a_rotation_keeps_the_identity_of_the_key(on: Stack) {
    let (app, office) = with_admin(on).await;
    let schedule = office.row_of(3).await;
    let (id, first) = secret(&office, "shop", "sell").await;
    let body = taking(&schedule, &["A-1-1"], "anna");
    let before = app.client_with_key(&first);
    let booked = before.post_keyed("/api/v1/bookings", "order-1", &body).await.expect(200);
    let rotate = format!("{KEYS}/{id}/rotate");
    let rotated = office.post(&rotate, &json!({})).await.expect(200);
    assert_eq!((&rotated["id"], &rotated["name"]), (&json!(id), &json!("shop")));
    let ends: Vec<bool> =
        rotated["secrets"].as_array().unwrap().iter().map(|s| s["ends_at"].is_string()).collect();
    assert_eq!(ends, [true, false]);
    let second = rotated["key"].as_str().unwrap().to_owned();
    assert_ne!(first, second);
    let after = app.client_with_key(&second);
    for client in [&before, &after] {
        let again = client.post_keyed("/api/v1/bookings", "order-1", &body).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.expect(200)["id"], booked["id"], "one caller of the key");
    }
    let caller: Vec<String> = app.database.column("SELECT caller FROM idempotency").await;
    assert_eq!(caller, [format!("key:{id}")]);

    let third = office.post(&rotate, &json!({"overlap_s": 3600})).await;
    let problem = third.problem(422, "validation_failed");
    assert_eq!(problem["errors"][0]["code"], "two_secrets");
    let third = office.post(&rotate, &json!({"end": "older", "overlap_s": 0})).await.expect(200);
    for dead in [&before, &after] {
        dead.get("/api/v1/events").await.problem(401, "unauthenticated");
    }
    let newest = app.client_with_key(third["key"].as_str().unwrap());
    newest.get("/api/v1/events").await.expect(200);
    for (wrong, pointer) in
        [(json!({"overlap_s": 2_592_001}), "/overlap_s"), (json!({"end": "x"}), "/end")]
    {
        let refused = office.post(&rotate, &wrong).await.problem(422, "validation_failed");
        assert_eq!(refused["errors"][0]["pointer"], pointer);
    }
}

async fn an_expired_key_is_refused_and_its_name_is_free(on: Stack) {
    let (app, office) = with_admin(on).await;
    let end = app.database.number(match on {
        Stack::Embedded => "SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) + 1500",
        Stack::Full => "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint + 1500",
    });
    let end = seatlock::http::time::write(seatlock::domain::clock::EpochMs(end.await));
    let body = json!({"name": "sale", "scopes": ["read"], "expires_at": end});
    let (_, key) = create(&office, body).await;
    let sale = app.client_with_key(&key);
    sale.get("/api/v1/events").await.expect(200);
    let refused = sale.wait_until("/api/v1/events", |answer| answer.status == 401).await;
    let problem = refused.problem(401, "unauthenticated");
    assert!(problem["detail"].as_str().unwrap().contains("expired"), "{problem}");
    secret(&office, "sale", "read").await;
}

async fn a_wrong_field_of_a_key_is_named_with_its_remedy(on: Stack) {
    let (app, office) = with_admin(on).await;
    let before = app.database.dump().await;
    let page = |origins: Value| json!({"name": "a", "kind": "publishable", "origins": origins});
    for (body, pointer) in [
        (json!({"scopes": ["read"]}), ""),
        (json!({"name": "", "scopes": ["read"]}), "/name"),
        (json!({"name": "x".repeat(65), "scopes": ["read"]}), "/name"),
        (json!({"name": "a"}), "/scopes"),
        (json!({"name": "a", "scopes": ["write"]}), "/scopes/0"),
        (json!({"name": "a", "kind": "public"}), "/kind"),
        (json!({"name": "a", "scopes": ["read"], "origins": ["https://a"]}), "/origins"),
        (json!({"name": "a", "scopes": ["read"], "expires_at": "soon"}), "/expires_at"),
        (
            json!({"name": "a", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}),
            "/expires_at",
        ),
        (page(json!([])), "/origins"),
        (page(json!(["https://a.example/page"])), "/origins/0"),
        (page(json!(["https://a.example", "*"])), "/origins/1"),
        (page(json!(["null"])), "/origins/0"),
        (
            json!({"name": "a", "kind": "publishable", "origins": ["https://a"], "scopes": ["sell"]}),
            "/scopes",
        ),
    ] {
        let problem = office.post(KEYS, &body).await.problem(422, "validation_failed");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem}");
        assert!(!problem["errors"][0]["message"].as_str().unwrap().is_empty(), "{problem}");
    }
    assert_eq!(app.database.dump().await, before);
}

async fn without_an_admin_key_a_key_of_the_database_is_judged_all_the_same(on: Stack) {
    let app = on.start().await;
    app.event("Hamlet").await;
    let (id, key) = secret(&app, "reader", "read").await;
    let reader = app.client_with_key(&key);
    reader.get("/api/v1/events").await.expect(200);
    let refused = reader.post("/api/v1/events", &json!({"name": "Lear"})).await;
    refused.problem(403, "insufficient_scope");
    app.delete(&format!("{KEYS}/{id}")).await;
    reader.get("/api/v1/events").await.problem(401, "unauthenticated");
    let misspelt = app.client_with_key(&key[1..]);
    misspelt.get("/api/v1/events").await.expect(200);
    app.get("/api/v1/events").await.expect(200);
}

async fn the_use_of_a_key_is_recorded(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (id, key) = secret(&office, "shop", "read").await;
    let path = format!("{KEYS}/{id}");
    assert_eq!(office.get(&path).await.expect(200)["last_used_at"], Value::Null);
    app.client_with_key(&key).get("/api/v1/events").await.expect(200);
    let used = |answer: &Answer| answer.json()["last_used_at"].is_string();
    until("the use is stored", SOON, async || used(&office.get(&path).await)).await;
}

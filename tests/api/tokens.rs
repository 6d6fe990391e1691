//! Customer tokens of an identity provider: a customer sees and touches their own holds and bookings only.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use reqwest::Method;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;
use test_support::{Client, Folder, taking};

use crate::app::{Stack, TestApp};
use crate::keys::ADMIN;

on_both_stacks![
    a_customer_holds_changes_and_releases_without_a_secret,
    foreign_holds_and_bookings_are_not_found,
    a_page_sends_tokens_from_the_listed_origins_only,
    a_token_that_is_not_valid_is_refused,
];

pub(crate) const SHOP: &str = "https://shop.example";

/// An identity provider whose keys are in a file.
pub(crate) struct Provider {
    key: Ed25519KeyPair,
    folder: Folder,
}

impl Provider {
    pub(crate) fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap();
        let folder = Folder::new();
        let x = BASE64_URL_SAFE_NO_PAD.encode(key.public_key());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x}]});
        std::fs::write(folder.path().join("jwks.json"), set.to_string()).unwrap();
        Self { key, folder }
    }

    /// The service with this provider and `ADMIN_API_KEY`, and a client that has it.
    pub(crate) async fn service(&self, on: Stack) -> (TestApp, Client) {
        let file = self.folder.path().join("jwks.json");
        let variables = [
            ("ADMIN_API_KEY", ADMIN),
            ("JWKS_FILE", file.to_str().unwrap()),
            ("JWT_ISSUER", "https://id.example"),
            ("JWT_AUDIENCE", "seatlock"),
            ("JWT_ALGORITHMS", "EdDSA"),
            ("JWT_ORIGINS", SHOP),
        ];
        let app = on.start_with(&variables).await;
        let office = app.client_with_key(ADMIN);
        (app, office)
    }

    /// A token that expires at `exp`, in seconds of the epoch.
    pub(crate) fn token_until(&self, customer: &str, exp: u64) -> String {
        let claims =
            json!({"iss": "https://id.example", "aud": "seatlock", "sub": customer, "exp": exp});
        let header = json!({"alg": "EdDSA", "kid": "k"});
        let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }

    pub(crate) fn token(&self, customer: &str) -> String {
        self.token_until(customer, 32_000_000_000)
    }
}

async fn a_customer_holds_changes_and_releases_without_a_secret(on: Stack) {
    let provider = Provider::new();
    let (app, office) = provider.service(on).await;
    let schedule = office.row_of(6).await;
    let ada = app.client_with_key(&provider.token("ada"));
    let body = json!({"schedule_id": schedule, "seats": ["A-1-1"]});
    let held = ada.post("/api/v1/holds", &body).await.expect(201);
    assert_eq!((&held["customer_id"], &held["hold_secret"]), (&json!("ada"), &json!(null)));
    let hold = held["id"].as_str().unwrap();
    let changed = ada.change(hold, &json!({"add": ["A-1-2"]})).await.expect(200);
    assert_eq!(changed["seats"].as_array().unwrap().len(), 2);
    ada.post(&format!("/api/v1/holds/{hold}/extend"), &json!({})).await.expect(200);
    ada.get(&format!("/api/v1/holds/{hold}")).await.expect(200);
    assert_eq!(ada.items("/api/v1/holds?limit=9").await.len(), 1);
    ada.confirm(hold).await.problem(403, "insufficient_scope");
    // The shop's backend sells, and the customer sees the booking.
    let sold = office.confirm(hold).await.expect(200);
    let booking = sold["id"].as_str().unwrap();
    assert_eq!(ada.get(&format!("/api/v1/bookings/{booking}")).await.expect(200), sold);
    assert_eq!(ada.items("/api/v1/bookings?limit=9").await.len(), 1);
    ada.cancel(booking, None).await.problem(403, "insufficient_scope");
    // The name of the customer may be repeated, and no other may be given.
    let own = ada.hold(&schedule, &["A-1-3"], "ada").await.expect(201);
    let own = own["id"].as_str().unwrap();
    assert_eq!(ada.delete(&format!("/api/v1/holds/{own}")).await.status, 204);
    let other = ada.hold(&schedule, &["A-1-4"], "ben").await.problem(422, "validation_failed");
    assert_eq!(other["errors"][0]["code"], "not_own");
    app.audit().await;
}

async fn foreign_holds_and_bookings_are_not_found(on: Stack) {
    let provider = Provider::new();
    let (app, office) = provider.service(on).await;
    let schedule = office.row_of(6).await;
    let ada = app.client_with_key(&provider.token("ada"));
    let eve = app.client_with_key(&provider.token("eve"));
    let held = ada.hold(&schedule, &["A-1-1"], "ada").await.expect(201);
    let hold = format!("/api/v1/holds/{}", held["id"].as_str().unwrap());
    let booked = office.book(&schedule, &["A-1-2"], "ada").await.expect(200);
    let booking = format!("/api/v1/bookings/{}", booked["id"].as_str().unwrap());
    let before = office.get(&hold).await.expect(200);
    let change = |add: &str| eve.request(Method::PATCH, &hold).json(&json!({"add": [add]}));
    eve.get(&hold).await.problem(404, "not_found");
    eve.get(&booking).await.problem(404, "not_found");
    eve.delete(&hold).await.problem(404, "not_found");
    eve.post(&format!("{hold}/extend"), &json!({"ttl_s": 900})).await.problem(404, "not_found");
    eve.send(change("A-1-3")).await.problem(404, "not_found");
    // A seat of the foreign hold is refused as any taken seat is: it does not tell whose it is.
    let taken = eve.send(change("A-1-1")).await;
    assert!([404, 409].contains(&taken.status), "{taken:?}");
    let keyed = eve.post_keyed(&format!("{hold}/extend"), "k", &json!({})).await;
    keyed.problem(404, "not_found");
    assert_eq!(office.get(&hold).await.expect(200), before);
    for list in ["holds", "bookings"] {
        assert!(eve.items(&format!("/api/v1/{list}?limit=9")).await.is_empty());
        let of_schedule = format!("/api/v1/{list}?schedule_id={schedule}");
        assert!(eve.items(&of_schedule).await.is_empty());
        let asked = eve.get(&format!("/api/v1/{list}?customer_id=ada")).await;
        asked.problem(400, "invalid_parameter");
    }
    app.audit().await;
}

async fn a_page_sends_tokens_from_the_listed_origins_only(on: Stack) {
    let provider = Provider::new();
    let (app, office) = provider.service(on).await;
    let schedule = office.row_of(2).await;
    let ada = app.client_with_key(&provider.token("ada"));
    let post = |origin: &str, seat: &str| {
        let request = ada.request(Method::POST, "/api/v1/holds");
        let request = request.header("origin", origin).header("sec-fetch-site", "cross-site");
        request.json(&taking(&schedule, &[seat], "ada"))
    };
    let held = ada.send(post(SHOP, "A-1-1")).await;
    held.expect(201);
    assert_eq!(held.header("access-control-allow-origin"), Some(SHOP));
    for origin in ["https://evil.example", "null"] {
        let refused = ada.send(post(origin, "A-1-2")).await;
        refused.problem(403, "origin_not_allowed");
        assert_eq!(refused.header("access-control-allow-origin"), None);
    }
    let preflight = app.request(Method::OPTIONS, "/api/v1/holds").header("origin", SHOP);
    let preflight = app.send(preflight.header("access-control-request-method", "POST")).await;
    assert_eq!(preflight.header("access-control-allow-origin"), Some(SHOP));
}

async fn a_token_that_is_not_valid_is_refused(on: Stack) {
    let provider = Provider::new();
    let (app, _) = provider.service(on).await;
    let expired = provider.token_until("ada", 1_000_000_000);
    for token in [expired, Provider::new().token("ada"), format!("{}A", provider.token("ada"))] {
        let refused = app.client_with_key(&token).get("/api/v1/holds").await;
        refused.problem(401, "unauthenticated");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
    }
    let in_query = format!("/api/v1/events?key={}", provider.token("ada"));
    app.get(&in_query).await.problem(401, "unauthenticated");
}

//! Pages of a shop with a publishable key: they hold seats for a browser session, and the shop sells them.

use reqwest::Method;
use serde_json::{Value, json};
use test_support::{Answer, Client, labels};

use crate::app::{Stack, TestApp};
use crate::keys::{create, secret, with_admin};

on_both_stacks![
    a_page_holds_seats_and_the_shop_sells_them,
    without_its_secret_a_hold_is_not_found,
    a_repeated_request_gets_the_same_secret,
    a_page_names_no_customer,
    the_limit_of_a_customer_counts_what_a_page_held,
];

const HOLDS: &str = "/api/v1/holds";

/// A page, which has the publishable key and the secret of its hold.
struct Page {
    client: Client,
}

impl Page {
    /// The page of a shop, and the shop with the scope `sell`.
    async fn of(app: &TestApp, office: &Client) -> (Self, Client) {
        let body =
            json!({"name": "page", "kind": "publishable", "origins": ["https://shop.example"]});
        let (_, key) = create(office, body).await;
        let (_, shop) = secret(office, "shop", "sell").await;
        (Self { client: app.client_with_key(&key) }, app.client_with_key(&shop))
    }

    async fn send(&self, method: Method, path: &str, secret: Option<&str>, body: &Value) -> Answer {
        let mut request = self.client.request(method, path);
        request = request.header("origin", "https://shop.example");
        request = request.header("sec-fetch-site", "cross-site").json(body);
        if let Some(secret) = secret {
            request = request.header("hold-secret", secret);
        }
        self.client.send(request).await
    }

    async fn hold(&self, schedule: &str, seats: &[&str]) -> Answer {
        let body = json!({"schedule_id": schedule, "seats": seats});
        self.send(Method::POST, HOLDS, None, &body).await
    }
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field].as_str().unwrap()
}

async fn a_page_holds_seats_and_the_shop_sells_them(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (page, shop) = Page::of(&app, &office).await;
    let schedule = office.row_of(4).await;
    let answer = page.hold(&schedule, &["A-1-1"]).await;
    let hold = answer.expect(201);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://shop.example"),
        "{answer:?}"
    );
    let (id, secret) = (text(&hold, "id"), text(&hold, "hold_secret"));
    assert!(
        secret.starts_with("hs_") && text(&hold, "customer_id").starts_with("browser-session-")
    );
    let place = format!("{HOLDS}/{id}");
    let change = json!({"add": ["A-1-2", "A-1-3"], "remove": ["A-1-1"]});
    let changed = page.send(Method::PATCH, &place, Some(secret), &change).await.expect(200);
    assert_eq!(changed["total"], json!({"amount": 2_000, "currency": "EUR"}));
    assert_eq!(changed.get("hold_secret"), None, "it is answered once");
    let longer = json!({"ttl_s": 900});
    page.send(Method::POST, &format!("{place}/extend"), Some(secret), &longer).await.expect(200);
    let read = page.send(Method::GET, &place, Some(secret), &json!({})).await.expect(200);
    assert_eq!(labels(&read), ["A-1-2", "A-1-3"]);
    let confirm = json!({"hold_id": id, "customer_id": "anna"});
    let refused = page.send(Method::POST, "/api/v1/bookings", Some(secret), &confirm).await;
    refused.problem(403, "insufficient_scope");
    // The shop reads what it charges with its own key.
    assert_eq!(shop.get(&place).await.expect(200)["total"]["amount"], 2_000);
    let booking = shop.post("/api/v1/bookings", &confirm).await.expect(200);
    assert_eq!((text(&booking, "customer_id"), text(&booking, "hold_id")), ("anna", id));
    assert_eq!(shop.post("/api/v1/bookings", &confirm).await.expect(200), booking);
    let other = json!({"hold_id": id, "customer_id": "ben"});
    shop.post("/api/v1/bookings", &other).await.problem(404, "not_found");
    let next = page.hold(&schedule, &["A-1-1"]).await.expect(201);
    let place = format!("{HOLDS}/{}", text(&next, "id"));
    let secret = Some(text(&next, "hold_secret"));
    assert_eq!(page.send(Method::DELETE, &place, secret, &json!({})).await.status, 204);
    assert_eq!(office.states(&schedule).await, "av bo bo av ");
    app.audit().await;
}

async fn without_its_secret_a_hold_is_not_found(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (page, shop) = Page::of(&app, &office).await;
    let schedule = office.row_of(3).await;
    let own = page.hold(&schedule, &["A-1-1"]).await.expect(201);
    let other = page.hold(&schedule, &["A-1-2"]).await.expect(201);
    let of_shop = shop.hold(&schedule, &["A-1-3"], "anna").await.expect(201);
    assert_eq!(of_shop.get("hold_secret"), None);
    let before = app.database.dump().await;
    let secret = text(&own, "hold_secret");
    for hold in [&other, &of_shop] {
        let place = format!("{HOLDS}/{}", text(hold, "id"));
        let extend = format!("{place}/extend");
        for secret in [None, Some(secret), Some("hs_"), Some("")] {
            for (method, path, body) in [
                (Method::GET, &place, json!({})),
                (Method::PATCH, &place, json!({"remove": ["A-1-2"]})),
                (Method::POST, &extend, json!({})),
                (Method::DELETE, &place, json!({})),
            ] {
                let refused = page.send(method, path, secret, &body).await;
                refused.problem(404, "not_found");
            }
        }
    }
    assert_eq!(app.database.dump().await, before);
    // A secret key needs no secret of the hold.
    let place = format!("{HOLDS}/{}", text(&own, "id"));
    assert_eq!(shop.delete(&place).await.status, 204);
}

async fn a_repeated_request_gets_the_same_secret(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (page, _) = Page::of(&app, &office).await;
    let schedule = office.row_of(2).await;
    let body = json!({"schedule_id": schedule, "seats": ["A-1-1"]});
    let send = async || {
        let request = page.client.request(Method::POST, HOLDS).json(&body);
        page.client.send(request.header("idempotency-key", "0c6ff5ae-1b0d-4f5b-9d3e")).await
    };
    let (first, again) = (send().await, send().await);
    assert_eq!((first.expect(201), again.header("idempotent-replayed")), {
        (again.expect(201), Some("true"))
    });
    let stored: Vec<String> = app.database.column("SELECT body FROM idempotency").await;
    assert!(!stored.iter().any(|body| body.contains("hs_")), "the secret is not stored");
}

async fn a_page_names_no_customer(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (page, shop) = Page::of(&app, &office).await;
    let schedule = office.row_of(3).await;
    let mut body = json!({"schedule_id": schedule, "seats": ["A-1-1"], "customer_id": "anna"});
    let problem =
        page.send(Method::POST, HOLDS, None, &body).await.problem(422, "validation_failed");
    assert_eq!(problem["errors"][0]["code"], "not_a_session");
    let first = page.hold(&schedule, &["A-1-1"]).await.expect(201);
    body["customer_id"] = first["customer_id"].clone();
    body["seats"] = json!(["A-1-2"]);
    let second = page.send(Method::POST, HOLDS, None, &body).await.expect(201);
    assert_eq!(second["customer_id"], first["customer_id"], "the same session");
    assert_ne!(second["hold_secret"], first["hold_secret"]);
    let missing = json!({"schedule_id": schedule, "seats": ["A-1-3"]});
    let problem = shop.post(HOLDS, &missing).await.problem(422, "validation_failed");
    assert_eq!(problem["errors"][0]["pointer"], "/customer_id");
}

async fn the_limit_of_a_customer_counts_what_a_page_held(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (page, shop) = Page::of(&app, &office).await;
    let rules = json!({"max_seats_per_customer": 2});
    let schedule = office.schedule(&[("A", 1, 6)], rules).await;
    let two = page.hold(&schedule, &["A-1-1", "A-1-2"]).await.expect(201);
    let mut third = json!({"schedule_id": schedule, "seats": ["A-1-3"]});
    third["customer_id"] = two["customer_id"].clone();
    let full = page.send(Method::POST, HOLDS, None, &third).await;
    full.problem(409, "seat_limit_reached");
    shop.book(&schedule, &["A-1-5"], "anna").await.expect(200);
    let confirm = json!({"hold_id": two["id"], "customer_id": "anna"});
    shop.post("/api/v1/bookings", &confirm).await.problem(409, "seat_limit_reached");
    let confirm = json!({"hold_id": two["id"], "customer_id": "ben"});
    shop.post("/api/v1/bookings", &confirm).await.expect(200);
    shop.book(&schedule, &["A-1-6"], "ben").await.problem(409, "seat_limit_reached");
    app.audit().await;
}

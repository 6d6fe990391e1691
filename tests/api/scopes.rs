//! Every route × every kind of caller: who is answered, and with which problem the others are refused.

use std::collections::BTreeSet;

use reqwest::Method;
use seatlock::http::routes;
use serde_json::json;
use test_support::{Answer, Client};

use crate::app::{Stack, TestApp};
use crate::keys::{KEYS, create, secret, with_admin};
use crate::openapi::{described, example};
use crate::tokens::Provider;

on_both_stacks![
    every_route_answers_those_who_may_and_refuses_the_others,
    every_route_has_a_row_here,
    a_refusal_names_the_missing_scope,
];

/// Who may send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum For {
    Everybody,
    Readers,
    /// Pages, for their own holds, and sellers.
    Holders,
    /// Customers, for their own holds and bookings, and sellers.
    Customers,
    Sellers,
    Admins,
}

use For::{Admins, Customers, Everybody, Holders, Readers, Sellers};

/// The routes, written independently of the table in the code.
const ROUTES: [(&str, &str, For); 37] = [
    ("GET", "/api/v1/events", Readers),
    ("POST", "/api/v1/events", Admins),
    ("GET", "/api/v1/events/{id}", Readers),
    ("GET", "/api/v1/events/{id}/schedules", Readers),
    ("POST", "/api/v1/events/{id}/schedules", Admins),
    ("GET", "/api/v1/schedules/{id}", Readers),
    ("GET", "/api/v1/schedules/{id}/seats", Readers),
    ("GET", "/api/v1/schedules/{id}/availability", Readers),
    ("GET", "/api/v1/schedules/{id}/stream", Readers),
    ("GET", "/api/v1/schedules/{id}/blocks", Admins),
    ("POST", "/api/v1/schedules/{id}/blocks", Admins),
    ("DELETE", "/api/v1/schedules/{id}/blocks/{block}", Admins),
    ("PUT", "/api/v1/seat-plans/{id}", Admins),
    ("GET", "/api/v1/seat-plans/{id}/versions/{version}", Readers),
    ("GET", "/api/v1/holds", Customers),
    ("POST", "/api/v1/holds", Holders),
    ("GET", "/api/v1/holds/{id}", Holders),
    ("PATCH", "/api/v1/holds/{id}", Holders),
    ("DELETE", "/api/v1/holds/{id}", Holders),
    ("POST", "/api/v1/holds/{id}/extend", Holders),
    ("GET", "/api/v1/bookings", Customers),
    ("POST", "/api/v1/bookings", Sellers),
    ("GET", "/api/v1/bookings/{id}", Customers),
    ("POST", "/api/v1/bookings/{id}/cancel", Sellers),
    ("GET", "/api/v1/booking-requests/{id}", Sellers),
    ("GET", "/api/v1/booking-requests/{id}/stream", Sellers),
    ("GET", "/api/v1/api-keys", Admins),
    ("POST", "/api/v1/api-keys", Admins),
    ("GET", "/api/v1/api-keys/{id}", Admins),
    ("DELETE", "/api/v1/api-keys/{id}", Admins),
    ("POST", "/api/v1/api-keys/{id}/rotate", Admins),
    ("GET", "/livez", Everybody),
    ("GET", "/readyz", Everybody),
    ("GET", "/metrics", Everybody),
    ("GET", "/problems/{code}", Everybody),
    ("GET", "/openapi.json", Everybody),
    ("GET", "/docs", Everybody),
];

/// The page of the documents has no fixed list of files.
const FILES: &str = "/docs/{file:.*}";

/// A kind of caller: its client, the origin of its page, the widest group that it belongs to, and how it is refused
/// otherwise.
struct Caller {
    name: &'static str,
    client: Client,
    origin: Option<&'static str>,
    belongs_to: For,
    refusal: (u16, &'static str),
}

const OWN_PAGE: &str = "https://shop.example";
const OTHER_PAGE: &str = "https://evil.example";

async fn callers(app: &TestApp, office: &Client, admin: &str, provider: &Provider) -> Vec<Caller> {
    let keyed = |(_, key): &(String, String)| app.client_with_key(key);
    let publishable =
        |name: &str| json!({"name": name, "kind": "publishable", "origins": [OWN_PAGE]});
    let page = create(office, publishable("page")).await;
    let (read, sell) = (secret(office, "read", "read").await, secret(office, "sell", "sell").await);
    let (all, revoked) =
        (secret(office, "admin", "admin").await, secret(office, "gone", "admin").await);
    let expired = secret(office, "expired", "admin").await;
    app.database
        .execute(&format!("UPDATE api_key SET expires_at = 1 WHERE id = {}", expired.0))
        .await;
    // This change makes the service read the keys again.
    assert_eq!(office.delete(&format!("{KEYS}/{}", revoked.0)).await.status, 204);
    let customer = (String::new(), provider.token("ada"));
    let past = (String::new(), provider.token_until("ada", 1_000_000_000));
    let refused = (401, "unauthenticated");
    let missing = (403, "insufficient_scope");
    let elsewhere = (403, "origin_not_allowed");
    let caller = |name, client, belongs_to, refusal| Caller {
        name,
        client,
        origin: None,
        belongs_to,
        refusal,
    };
    let from = |origin, caller: Caller| Caller { origin: Some(origin), ..caller };
    vec![
        caller("none", app.client(), Everybody, refused),
        caller("read", keyed(&read), Readers, missing),
        caller("sell", keyed(&sell), Sellers, missing),
        caller("admin", keyed(&all), Admins, missing),
        caller("ADMIN_API_KEY", app.client_with_key(admin), Admins, missing),
        caller("publishable", keyed(&page), Holders, missing),
        from(OWN_PAGE, caller("publishable, its page", keyed(&page), Holders, missing)),
        from(OTHER_PAGE, caller("publishable, another page", keyed(&page), Everybody, elsewhere)),
        from("null", caller("publishable, no page", keyed(&page), Everybody, elsewhere)),
        caller("customer", keyed(&customer), Customers, missing),
        from(OWN_PAGE, caller("customer, its page", keyed(&customer), Customers, missing)),
        from(OTHER_PAGE, caller("customer, another page", keyed(&customer), Everybody, elsewhere)),
        caller("token of the past", keyed(&past), Everybody, refused),
        caller("revoked", keyed(&revoked), Everybody, refused),
        caller("expired", keyed(&expired), Everybody, refused),
        caller("unknown", app.client_with_key("an-unknown-api-key"), Everybody, refused),
    ]
}

async fn sent(caller: &Caller, method: &str, path: &str) -> Answer {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let mut request = caller.client.request(method, &example(path));
    if let Some(origin) = caller.origin {
        request = request.header("origin", origin).header("sec-fetch-site", "cross-site");
    }
    caller.client.send(request).await
}

async fn every_route_answers_those_who_may_and_refuses_the_others(on: Stack) {
    let provider = Provider::new();
    let (app, office) = provider.service(on).await;
    let callers = callers(&app, &office, crate::keys::ADMIN, &provider).await;
    let before = app.database.dump().await;
    for (method, path, may) in ROUTES {
        for caller in &callers {
            let answer = sent(caller, method, path).await;
            let case = format!("{} sends {method} {path}: {answer:?}", caller.name);
            if may <= caller.belongs_to {
                assert!(![401, 403, 500].contains(&answer.status), "{case}");
                continue;
            }
            let (status, code) = caller.refusal;
            assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)), "{case}");
            answer.check_problem();
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert_eq!(challenge.starts_with("Bearer"), code != "origin_not_allowed", "{case}");
        }
    }
    // A page of a secret key reads nothing that CORS permits, and writes nothing.
    let (_, sell) = secret(&office, "leaked", "sell").await;
    let leaked = Caller {
        client: app.client_with_key(&sell),
        origin: Some(OWN_PAGE),
        ..callers.into_iter().next().unwrap()
    };
    sent(&leaked, "POST", "/api/v1/holds").await.problem(403, "origin_not_allowed");
    let read = sent(&leaked, "GET", "/api/v1/events").await;
    assert_eq!((read.status, read.header("access-control-allow-origin")), (200, None));
    // Nothing had an effect: the requests that were allowed name nothing that exists.
    let after = app.database.dump().await;
    let without_keys = |dump: &str| {
        dump.split_inclusive('\n')
            .filter(|line| !line.contains("live_") && !line.contains("api_key"))
            .count()
    };
    assert!(without_keys(&after) <= without_keys(&before) + 2, "{after}");
}

async fn every_route_has_a_row_here(on: Stack) {
    let app = on.start().await;
    let rows: BTreeSet<(String, String)> =
        ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect();
    assert_eq!(rows.len(), ROUTES.len(), "each route once");
    let table = routes::table();
    for row in &table {
        let is_api = row.path.starts_with("/api/");
        assert_eq!(row.needs.scope().is_some(), is_api, "only the API needs keys: {row:?}");
        let key = (row.method.to_owned(), row.path.clone());
        assert!(rows.contains(&key) || row.path == FILES, "{key:?} has no row in ROUTES");
    }
    assert_eq!(table.len(), rows.len() + 1, "a row in ROUTES has no route");
    for (path, methods) in described(&app).await {
        for method in methods {
            let key = (method.to_uppercase(), path.clone());
            assert!(rows.contains(&key), "{key:?} of the OpenAPI document has no row in ROUTES");
        }
    }
}

async fn a_refusal_names_the_missing_scope(on: Stack) {
    let (app, office) = with_admin(on).await;
    let (_, key) = secret(&office, "box office", "sell").await;
    let seller = app.client_with_key(&key);
    let refused = seller.post("/api/v1/events", &json!({"name": "Lear"})).await;
    let detail = refused.problem(403, "insufficient_scope")["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains("the scope admin") && detail.contains("`box office` has only read sell"),
        "{detail}"
    );
    assert_eq!(
        refused.header("www-authenticate"),
        Some("Bearer error=\"insufficient_scope\", scope=\"admin\"")
    );
    let none = app.get("/api/v1/events").await;
    assert_eq!(none.header("www-authenticate"), Some("Bearer"), "no error without credentials");
}

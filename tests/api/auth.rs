//! API keys: with a key configured, every path of the API requires it, and no other path does.

use reqwest::Method;

use crate::app::Stack;
use crate::openapi::operations;

on_both_stacks![
    without_the_key_every_path_of_the_api_is_refused,
    without_a_configured_key_every_caller_on_this_machine_is_allowed,
    answers_that_need_a_key_are_not_stored_by_shared_caches,
];

const KEY: &str = "correct-horse-battery-staple";

async fn without_the_key_every_path_of_the_api_is_refused(on: Stack) {
    let app = on.start_with(&[("ADMIN_API_KEY", KEY)]).await;
    let office = app.client_with_key(KEY);
    let schedule = office.row_of(1).await;
    let before = app.database.dump().await;
    let wrong = [
        None,
        Some("Bearer wrong".to_owned()),
        Some(format!("Bearer {KEY}x")),
        Some(format!("Bearer {}", &KEY[1..])),
        Some(format!("Basic {KEY}")),
        Some(KEY.to_owned()),
        Some("Bearer".to_owned()),
    ];
    let mut checked = 0;
    for (method, path) in operations(&app).await {
        if !path.starts_with("/api/") {
            let open = app.send(app.request(method, &path)).await;
            assert_ne!(open.status, 401, "{path}");
            continue;
        }
        for authorization in &wrong {
            let mut request = app.request(method.clone(), &path);
            if let Some(value) = authorization {
                request = request.header("authorization", value);
            }
            let refused = app.send(request).await;
            refused.problem(401, "unauthenticated");
            assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        let admitted = office.send(office.request(method, &path)).await;
        assert_ne!(admitted.status, 401, "{path}");
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
    app.get("/api/v1/nothing").await.problem(401, "unauthenticated");
    app.send(app.request(Method::PATCH, "/api/v1/events")).await.problem(401, "unauthenticated");
    assert_eq!(app.database.dump().await, before);

    app.book(&schedule, &["A-1-1"], "anna").await.problem(401, "unauthenticated");
    office.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    for open in ["/livez", "/readyz", "/metrics", "/openapi.json", "/docs/", "/problems/internal"] {
        assert_eq!(app.get(open).await.status, 200, "{open}");
    }
    let lower = app.request(Method::GET, "/api/v1/events");
    let lower = app.send(lower.header("authorization", format!("bearer {KEY}"))).await;
    assert_eq!(lower.status, 200, "the scheme has no case (RFC 9110)");
}

async fn without_a_configured_key_every_caller_on_this_machine_is_allowed(on: Stack) {
    let app = on.start().await;
    app.get("/api/v1/events").await.expect(200);
    app.client_with_key(KEY).get("/api/v1/events").await.expect(200);
}

async fn answers_that_need_a_key_are_not_stored_by_shared_caches(on: Stack) {
    for (variables, kept) in [(&[("ADMIN_API_KEY", KEY)][..], "private"), (&[], "public")] {
        let app = on.start_with(variables).await;
        let office = app.client_with_key(KEY);
        let schedule = office.row_of(1).await;
        let read = office.get(&format!("/api/v1/schedules/{schedule}")).await.expect(200);
        let plan = read["seat_plan"]["id"].as_str().unwrap().to_owned();
        let map = format!("/api/v1/schedules/{schedule}");
        for path in [
            format!("{map}/seats"),
            format!("{map}/availability"),
            format!("/api/v1/seat-plans/{plan}/versions/1"),
        ] {
            let whole = office.get(&path).await;
            let tag = whole.header("etag").unwrap();
            let request = office.request(Method::GET, &path).header("if-none-match", tag);
            let same = office.send(request).await;
            assert_eq!((whole.status, same.status), (200, 304), "{path}");
            for answer in [&whole, &same] {
                let cache = answer.header("cache-control").unwrap();
                assert!(cache.starts_with(&format!("{kept}, max-age=")), "{path}: {cache}");
            }
        }
    }
}

//! Attacks on the HTTP interface: foreign host names, pages of other origins, repeated headers, and the security
//! headers of every answer. None of it depends on the database, so it runs on the embedded stack only.

mod embedded {
    use reqwest::{Method, RequestBuilder};
    use serde_json::json;
    use test_support::Answer;

    use crate::app::{Stack, TestApp};

    const KEY: &str = "correct-horse-battery-staple";
    const EVENTS: &str = "/api/v1/events";

    async fn with_host(app: &TestApp, method: Method, path: &str, host: &str) -> Answer {
        let request = app.request(method, path).header("host", host);
        app.send(request.json(&json!({"name": "Hamlet"}))).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn without_a_key_requests_under_a_foreign_host_name_are_refused() {
        let app = Stack::Embedded.start_with(&[("ALLOWED_HOSTS", "box-office.example")]).await;
        for foreign in ["evil.example", "evil.example:8080", "10.1.2.3", "localhost.evil.example"] {
            for path in [EVENTS, "/livez", "/metrics", "/docs/", "/openapi.json", "/nothing"] {
                let refused = with_host(&app, Method::GET, path, foreign).await;
                let problem = refused.problem(421, "host_not_allowed");
                assert!(problem["detail"].as_str().unwrap().contains("ALLOWED_HOSTS"), "{problem}");
            }
            with_host(&app, Method::POST, EVENTS, foreign).await.problem(421, "host_not_allowed");
        }
        with_host(&app, Method::GET, EVENTS, "a b").await.problem(400, "invalid_parameter");
        assert!(app.items(EVENTS).await.is_empty());
        for own in
            ["localhost", "LOCALHOST:1", "127.9.8.7:8080", "[::1]:8080", "Box-Office.example"]
        {
            with_host(&app, Method::POST, EVENTS, own).await.expect(201);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn with_a_key_requests_under_any_host_name_are_served() {
        let app = Stack::Embedded.start_with(&[("ADMIN_API_KEY", KEY)]).await;
        let office = app.client_with_key(KEY);
        let request = office.request(Method::GET, EVENTS).header("host", "seats.example");
        office.send(request).await.expect(200);
    }

    async fn post(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
        let request = app.request(Method::POST, EVENTS).json(&json!({"name": "Hamlet"}));
        let add =
            |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
        app.send(headers.iter().fold(request, add)).await
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn writes_from_a_page_of_another_origin_are_refused() {
        let app = Stack::Embedded.start().await;
        let own = format!("http://{}", app.address());
        for foreign in [
            [("sec-fetch-site", "cross-site"), ("origin", "http://evil.example")],
            [("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:1")],
            [("origin", "http://127.0.0.1:1"), ("accept", "*/*")],
            [("origin", "null"), ("accept", "*/*")],
        ] {
            post(&app, &foreign).await.problem(403, "origin_not_allowed");
        }
        assert!(app.items(EVENTS).await.is_empty());
        post(&app, &[("sec-fetch-site", "same-origin"), ("origin", &own)]).await.expect(201);
        post(&app, &[("origin", &own)]).await.expect(201);
        let read = app.request(Method::GET, EVENTS).header("sec-fetch-site", "cross-site");
        assert_eq!(app.send(read).await.expect(200)["items"].as_array().unwrap().len(), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_html_form_cannot_cancel_a_booking() {
        let app = Stack::Embedded.start().await;
        let schedule = app.row_of(1).await;
        let booking = app.book(&schedule, &["A-1-1"], "anna").await.id(200);
        let cancel = format!("/api/v1/bookings/{booking}/cancel");
        for form in [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "text/plain",
            "text/plain;charset=UTF-8",
        ] {
            let request = app.request(Method::POST, &cancel).header("content-type", form);
            app.send(request).await.problem(415, "unsupported_media_type");
        }
        assert_eq!(app.states(&schedule).await, "bo ");
        app.send(app.request(Method::POST, &cancel)).await.expect(200);
        let typed = app.request(Method::POST, &cancel).header("content-type", "application/json");
        app.send(typed).await.expect(200);
        assert_eq!(app.states(&schedule).await, "av ");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_ambiguous_header_must_be_sent_only_once() {
        let app = Stack::Embedded.start_with(&[("ADMIN_API_KEY", KEY)]).await;
        let (right, wrong) =
            (format!("Bearer {KEY}"), "Bearer another-key-of-a-stranger".to_owned());
        for (one, two) in [(&right, &wrong), (&wrong, &right), (&right, &right)] {
            let twice = app.request(Method::GET, EVENTS).header("authorization", one);
            let refused = app.send(twice.header("authorization", two)).await;
            let problem = refused.problem(400, "invalid_parameter");
            assert_eq!(problem["errors"][0]["pointer"], "authorization");
        }
        for name in ["content-type", "content-encoding", "origin", "sec-fetch-site"] {
            let office = app.client_with_key(KEY);
            let twice = office.request(Method::GET, EVENTS).header(name, "a").header(name, "a");
            office.send(twice).await.problem(400, "invalid_parameter");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_answer_has_the_security_headers_for_browsers() {
        let app = Stack::Embedded.start().await;
        let schedule = app.row_of(1).await;
        let seats = format!("/api/v1/schedules/{schedule}/seats");
        let map = app.get(&seats).await;
        let known =
            app.request(Method::GET, &seats).header("if-none-match", map.header("etag").unwrap());
        let mut answers =
            vec![app.send(known).await, with_host(&app, Method::GET, "/", "evil").await];
        assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [304, 421]);
        for path in
            [&*seats, "/nothing", "/api/v1/holds", "/livez", "/metrics", "/docs/", "/openapi.json"]
        {
            answers.push(app.get(path).await);
        }
        answers.push(app.post(EVENTS, &json!([])).await);
        for answer in answers {
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
            assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{answer:?}");
            let policy = answer.header("content-security-policy").unwrap();
            assert!(policy.starts_with("default-src 'none'; "), "{policy}");
            assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
            let is_page = answer.header("content-type").is_some_and(|media| media.contains("html"));
            assert_eq!(policy.contains("script-src 'self'"), is_page, "{answer:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn documents_are_compressed_tagged_and_read_again_only_when_they_change() {
        let app = Stack::Embedded.start().await;
        for path in
            ["/openapi.json", "/docs/", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"]
        {
            let plain = app.get(path).await;
            assert_eq!((plain.status, plain.header("cache-control")), (200, Some("no-cache")));
            assert_eq!(plain.header("content-length").unwrap(), plain.body.len().to_string());
            let mut tags = vec![plain.header("etag").unwrap().to_owned()];
            for coding in ["gzip", "br"] {
                let request = app.request(Method::GET, path).header("accept-encoding", coding);
                let packed = app.open(request).await;
                assert_eq!(packed.headers()["content-encoding"], coding, "{path}");
                assert_eq!(packed.headers()["vary"], "accept-encoding", "{path}");
                tags.push(packed.headers()["etag"].to_str().unwrap().to_owned());
                let packed = packed.bytes().await.unwrap().len();
                assert!(packed * 3 < plain.body.len() * 2, "{path}: {packed}");
            }
            for (tag, coding) in tags.iter().zip(["identity", "gzip", "br"]) {
                let again = app.request(Method::GET, path).header("accept-encoding", coding);
                let again = app.send(again.header("if-none-match", tag)).await;
                assert_eq!((again.status, again.body.as_str()), (304, ""), "{path} {tag}");
                assert_eq!(again.header("etag"), Some(tag.as_str()));
            }
        }
        app.get("/docs/nothing.js").await.problem(404, "not_found");
        app.get("/docs/../Cargo.toml").await.problem(404, "not_found");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn documents_can_be_switched_off() {
        let app = Stack::Embedded.start_with(&[("DOCS", "off")]).await;
        for path in ["/docs", "/docs/", "/docs/swagger-ui-bundle.js", "/openapi.json"] {
            let problem = app.get(path).await.problem(404, "not_found");
            assert!(problem["detail"].as_str().unwrap().contains("DOCS=off"), "{path}");
        }
        app.get(EVENTS).await.expect(200);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_rate_limit_covers_every_path_but_those_of_supervision() {
        for path in
            ["/docs/", "/openapi.json", "/metrics", "/nothing", "/problems/internal", EVENTS]
        {
            let app = Stack::Embedded.start_with(&[("RATE_LIMIT", "2")]).await;
            let mut refused = 0;
            for _ in 0..10 {
                refused += u32::from(app.get(path).await.status == 429);
                for probe in ["/livez", "/readyz"] {
                    assert_ne!(app.get(probe).await.status, 429, "{probe}");
                }
            }
            assert!(refused > 0, "{path}");
        }
    }
}

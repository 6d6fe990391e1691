//! Limits of requests per second: of addresses behind a proxy, of keys, and of customers.

use reqwest::Method;
use test_support::{Answer, Client};

use crate::app::Stack;
use crate::keys::{ADMIN, secret};

on_both_stacks![
    a_trusted_proxy_names_the_client_that_is_counted,
    each_secret_key_has_a_quota_of_its_own,
    each_customer_has_a_quota_of_its_own,
    without_limits_no_answer_names_one,
];

const EVENTS: &str = "/api/v1/events";

async fn forwarded(client: &Client, addresses: &str) -> Answer {
    client.send(client.request(Method::GET, EVENTS).header("x-forwarded-for", addresses)).await
}

/// Sends requests until one is refused, and returns how many were answered.
async fn answered(mut send: impl AsyncFnMut() -> Answer) -> usize {
    for count in 0..100 {
        let answer = send().await;
        if answer.status == 429 {
            answer.problem(429, "rate_limited");
            return count;
        }
    }
    panic!("nothing is refused");
}

async fn a_trusted_proxy_names_the_client_that_is_counted(on: Stack) {
    let variables = [("RATE_LIMIT", "5"), ("TRUSTED_PROXIES", "127.0.0.0/8,10.0.0.0/8")];
    let app = on.start_with(&variables).await;
    let first = forwarded(&app, "1.2.3.4").await;
    assert_eq!(first.header("ratelimit-policy"), Some("\"address\";q=5;w=1"));
    assert_eq!(first.header("ratelimit"), Some("\"address\";r=4;t=0"));
    // What the client writes itself does not change who it is.
    let mut forged = 0;
    let flood = async || {
        forged += 1;
        forwarded(&app, &format!("9.9.9.{forged}, 1.2.3.4, 10.0.0.7")).await
    };
    let count = answered(flood).await;
    assert!((4..50).contains(&count), "{count}");
    forwarded(&app, "1.2.3.5").await.expect(200);
    let refused = loop {
        let answer = forwarded(&app, "2001:db8::1").await;
        if answer.status == 429 {
            break answer;
        }
        // Another address of the same network.
        drop(forwarded(&app, "2001:db8::2").await);
    };
    assert_eq!(refused.header("ratelimit"), Some("\"address\";r=0;t=1"));
    assert_eq!(refused.header("retry-after"), Some("1"));

    let direct = on.start_with(&[("RATE_LIMIT", "5")]).await;
    let mut other = 0;
    let flood = async || {
        other += 1;
        forwarded(&direct, &format!("9.9.9.{other}")).await
    };
    answered(flood).await;
}

async fn each_secret_key_has_a_quota_of_its_own(on: Stack) {
    let app = on.start_with(&[("ADMIN_API_KEY", ADMIN), ("RATE_LIMIT_KEY", "5")]).await;
    let office = app.client_with_key(ADMIN);
    let (_, noisy) = secret(&office, "noisy", "read").await;
    let (_, quiet) = secret(&office, "quiet", "read").await;
    let (noisy, quiet) = (app.client_with_key(&noisy), app.client_with_key(&quiet));
    let count = answered(async || noisy.get(EVENTS).await).await;
    assert!((5..50).contains(&count), "{count}");
    let other = quiet.get(EVENTS).await;
    other.expect(200);
    assert_eq!(other.header("ratelimit"), Some("\"key\";r=4;t=0"));
    assert_eq!(office.get(EVENTS).await.header("ratelimit"), None);
    app.get(EVENTS).await.problem(401, "unauthenticated");
}

async fn each_customer_has_a_quota_of_its_own(on: Stack) {
    let app = on.start_with(&[("RATE_LIMIT_CUSTOMER", "3")]).await;
    let schedule = app.row_of(2).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    let count = answered(async || app.book(&schedule, &["A-1-1"], "bot").await).await;
    assert!((3..50).contains(&count), "{count}");
    let count = answered(async || app.hold(&schedule, &["A-1-1"], "bot").await).await;
    assert!(count < 50, "holds and bookings are counted together: {count}");
    let sold = app.book(&schedule, &["A-1-2"], "ben").await;
    sold.expect(200);
    assert_eq!(sold.header("ratelimit-policy"), Some("\"customer\";q=3;w=1"));
    app.audit().await;
}

async fn without_limits_no_answer_names_one(on: Stack) {
    let app = on.start().await;
    let answer = forwarded(&app, "1.2.3.4").await;
    answer.expect(200);
    let mut names = answer.headers.keys().map(|name| name.as_str());
    assert!(!names.any(|name| name.starts_with("ratelimit")), "{answer:?}");
}

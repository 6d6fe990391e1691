//! Live streams: a listener always has the map that a reader would get.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use test_support::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::app::Stack;
use crate::listener::{Listener, availability};

on_both_stacks![
    a_listener_gets_the_map_and_then_every_change,
    a_returning_listener_gets_only_the_changes_that_it_missed,
    a_listener_with_a_version_of_the_future_gets_the_whole_map,
    an_invalid_stream_is_refused,
    a_listener_that_is_too_slow_gets_a_goodbye_and_is_disconnected,
    a_listener_that_reads_nothing_is_disconnected,
];

async fn a_listener_gets_the_map_and_then_every_change(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(6).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    let mut listener = Listener::begin(&app, &schedule).await;
    let first = listener.next().await.unwrap();
    assert_eq!((first.name.as_str(), first.id), ("snapshot", Some(2)));
    assert_eq!(first.data, availability(&app, &schedule).await);

    let hold = app.hold(&schedule, &["A-1-3", "A-1-2"], "ben").await.id(201);
    let delta = listener.next().await.unwrap();
    assert_eq!((delta.name.as_str(), delta.id), ("delta", Some(3)));
    assert_eq!(delta.data, json!({"c": [[1, 1], [2, 1]], "plan_version": 1}));
    let counts = listener.next().await.unwrap();
    assert_eq!((counts.name.as_str(), counts.id), ("counts", Some(3)));
    assert_eq!(counts.data, json!({"available": 3, "held": 2, "booked": 1, "blocked": 0}));

    app.confirm(&hold).await.expect(200);
    let booking = app.book(&schedule, &["A-1-6"], "cleo").await.id(200);
    app.cancel(&booking, None).await.expect(200);
    listener.has_the_readers_map(&app, &schedule).await;
    assert_eq!(app.metric("seatlock_stream_listeners").await, 1.0);
}

async fn a_returning_listener_gets_only_the_changes_that_it_missed(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(6).await;
    let mut listener = Listener::begin(&app, &schedule).await;
    listener.until(1).await;
    app.book(&schedule, &["A-1-5"], "anna").await.expect(200);
    app.book(&schedule, &["A-1-1"], "ben").await.expect(200);
    let mut listener = listener.resume(&app, &schedule).await;
    let missed = listener.next().await.unwrap();
    assert_eq!((missed.name.as_str(), missed.id), ("delta", Some(3)));
    assert_eq!(missed.data, json!({"c": [[0, 2], [4, 2]], "plan_version": 1}));
    listener.has_the_readers_map(&app, &schedule).await;
    // Nothing was missed, so the counts arrive immediately.
    let mut listener = listener.resume(&app, &schedule).await;
    assert_eq!(listener.next().await.unwrap().name, "counts");
    listener.has_the_readers_map(&app, &schedule).await;
    assert_eq!(app.metric("seatlock_stream_resumed_total").await, 2.0);
}

async fn a_listener_with_a_version_of_the_future_gets_the_whole_map(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let path = format!("/api/v1/schedules/{schedule}/stream");
    let mut listener = Listener::begin(&app, &schedule).await;
    listener.until(1).await;
    let ahead = listener.last_id.unwrap().replace(".1", ".99");
    let request = app.request(Method::GET, &path).header("last-event-id", &ahead);
    let mut response = app.open(request).await;
    let mut text = String::new();
    while !text.contains("event: ") {
        text += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
    }
    assert!(text.starts_with("retry: "), "{text}");
    let first = format!("event: snapshot\nid: {}\n", ahead.replace(".99", ".1"));
    assert!(text.contains(&first), "{text}");
}

async fn an_invalid_stream_is_refused(on: Stack) {
    let app = on.start_with(&[("STREAMS_MAX", "1")]).await;
    let schedule = app.row_of(3).await;
    app.get("/api/v1/schedules/77/stream").await.problem(404, "not_found");
    let path = format!("/api/v1/schedules/{schedule}/stream");
    let strange = app.request(Method::GET, &path).header("last-event-id", "yesterday");
    app.send(strange).await.problem(400, "invalid_parameter");
    app.post(&path, &json!({})).await.problem(405, "method_not_allowed");
    let mut listener = Listener::begin(&app, &schedule).await;
    listener.until(1).await;
    app.get(&path).await.problem(503, "overloaded");
    drop(listener);
    // The service notices with its next event.
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    let free = |answer: &test_support::Answer| answer.body.contains("_stream_listeners 0\n");
    app.wait_until("/metrics", free).await;
    Listener::begin(&app, &schedule).await.until(2).await;
}

/// A listener that does not read: a small window, and nothing taken from it.
async fn open_and_do_not_read(client: &Client, schedule: &str) -> tokio::net::TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(client.address()).await.unwrap();
    let path = format!("/api/v1/schedules/{schedule}/stream");
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Causes long updates: creates and lifts a large block.
async fn create_and_lift_block(client: &Client, schedule: &str, seats: usize) {
    let labels: Vec<String> = (1..=seats).map(|seat| format!("A-{seat}-1")).collect();
    let blocks = format!("/api/v1/schedules/{schedule}/blocks");
    let block = json!({"seats": labels, "reason": "stage"});
    let id = client.post(&blocks, &block).await.id(201);
    // A change that is undone before the next update is not sent.
    tokio::time::sleep(Duration::from_millis(60)).await;
    client.delete(&format!("{blocks}/{id}")).await.expect(204);
}

async fn a_listener_that_is_too_slow_gets_a_goodbye_and_is_disconnected(on: Stack) {
    let app = on.start_with(&[("SEND_TIMEOUT", "120s")]).await;
    let schedule = app.schedule(&[("A", 1_000, 5)], Value::Null).await;
    let mut slow = open_and_do_not_read(&app, &schedule).await;
    let mut punctual = Listener::begin(&app, &schedule).await;
    let updates = "seatlock_stream_updates_total";
    while app.metric(updates).await < 70.0 {
        create_and_lift_block(&app, &schedule, 1_000).await;
        punctual.has_the_readers_map(&app, &schedule).await;
    }
    let mut read = Vec::new();
    slow.read_to_end(&mut read).await.unwrap();
    let text = String::from_utf8_lossy(&read);
    assert!(text.contains("event: bye\ndata: {\"reason\":\"slow\"}"), "{}", text.len());
    assert_eq!(app.metric("seatlock_stream_ended_total{reason=\"slow\"}").await, 1.0);
    punctual.has_the_readers_map(&app, &schedule).await;
}

async fn a_listener_that_reads_nothing_is_disconnected(on: Stack) {
    let app = on.start_with(&[("SEND_TIMEOUT", "1s")]).await;
    let schedule = app.schedule(&[("A", 1_000, 5)], Value::Null).await;
    let stalled = open_and_do_not_read(&app, &schedule).await;
    app.wait_until("/metrics", |answer| answer.body.contains("_stream_listeners 1\n")).await;
    let end = Instant::now() + Duration::from_secs(60);
    while app.metric("seatlock_stream_listeners").await > 0.0 {
        assert!(Instant::now() < end, "never cut off");
        create_and_lift_block(&app, &schedule, 1_000).await;
    }
    assert_eq!(app.metric("seatlock_stream_ended_total{reason=\"gone\"}").await, 1.0);
    drop(stalled);
}

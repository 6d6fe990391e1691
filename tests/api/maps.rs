//! Maps from memory: their representations and codings, growing versions, and refusals without a query.

use std::io::Read as _;

use reqwest::Method;
use serde_json::Value;

use crate::app::Stack;

on_both_stacks![
    a_map_is_sent_in_the_content_coding_that_the_reader_prefers,
    a_write_names_a_version_that_a_read_can_ask_for,
    a_seat_known_to_be_sold_is_refused_without_asking_the_locks,
    a_request_for_a_version_of_the_future_is_answered_with_the_newest,
    the_states_of_sixty_thousand_seats_take_fifteen_kilobytes,
];

fn read_back(coding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "gzip" => flate2::read::GzDecoder::new(body).read_to_end(&mut plain).map(drop).unwrap(),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain).map(drop).unwrap(),
        _ => plain = zstd::bulk::decompress(body, 1 << 22).unwrap(),
    }
    plain
}

async fn a_map_is_sent_in_the_content_coding_that_the_reader_prefers(on: Stack) {
    let app = on.start().await;
    let schedule = app.schedule(&[("A", 20, 50)], Value::Null).await;
    for resource in ["seats", "availability"] {
        let path = format!("/api/v1/schedules/{schedule}/{resource}");
        let plain = app.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(plain.headers()["vary"], "accept-encoding");
        let mut tags = vec![plain.headers()["etag"].clone()];
        let plain = plain.bytes().await.unwrap();
        for coding in ["gzip", "br", "zstd"] {
            let request = app.request(Method::GET, &path).header("accept-encoding", coding);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.headers()["content-encoding"], coding);
            tags.push(answer.headers()["etag"].clone());
            let body = answer.bytes().await.unwrap();
            assert_eq!(read_back(coding, &body), plain, "{resource} as {coding}");
        }
        tags.sort_by_key(|tag| tag.to_str().unwrap().to_owned());
        tags.dedup();
        assert_eq!(tags.len(), 4, "each coding has a tag of its own");
    }
}

async fn a_write_names_a_version_that_a_read_can_ask_for(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    let booked = app.book(&schedule, &["A-1-1"], "anna").await;
    let version: i64 = booked.header("x-seatlock-version").unwrap().parse().unwrap();
    assert_eq!(version, 2);
    for resource in ["", "/seats", "/availability", "/seats?status=booked"] {
        let mark = if resource.contains('?') { '&' } else { '?' };
        let path = format!("/api/v1/schedules/{schedule}{resource}{mark}min_version={version}");
        let read = app.get(&path).await;
        assert_eq!(read.header("x-seatlock-version"), Some("2"), "{path}");
        assert_eq!(read.expect(200)["version"], 2, "{path}");
    }
    let path = format!("/api/v1/schedules/{schedule}/seats?min_version=soon");
    app.get(&path).await.problem(400, "invalid_parameter");
}

async fn a_request_for_a_version_of_the_future_is_answered_with_the_newest(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    for _ in 0..3 {
        let path = format!("/api/v1/schedules/{schedule}/availability?min_version=99");
        assert_eq!(app.get(&path).await.expect(200)["version"], 1);
    }
}

async fn the_states_of_sixty_thousand_seats_take_fifteen_kilobytes(on: Stack) {
    let app = on.start().await;
    let schedule = app.schedule(&[("A", 100, 600)], Value::Null).await;
    let path = format!("/api/v1/schedules/{schedule}/availability");
    let plain = app.get(&path).await;
    let states = plain.expect(200)["states"].as_str().unwrap().len();
    assert_eq!(states, 15_000 * 4 / 3, "two bits a seat, in base64");
    assert!(plain.body.len() < states + 120, "{}", plain.body.len());
    // Nothing is sold yet, so the states compress to almost nothing.
    for coding in ["gzip", "br", "zstd"] {
        let request = app.request(Method::GET, &path).header("accept-encoding", coding);
        let body = app.open(request).await.bytes().await.unwrap();
        assert!(body.len() < 300, "{} bytes of {coding}", body.len());
    }
}

async fn a_seat_known_to_be_sold_is_refused_without_asking_the_locks(on: Stack) {
    let app = on.start().await;
    let schedule = app.row_of(3).await;
    app.book(&schedule, &["A-1-1"], "anna").await.expect(200);
    let commands = "seatlock_commands_total{kind=\"book\",outcome=\"refused\"}";
    let asked = app.metric(commands).await;
    let mut known = 0;
    for _ in 0..20 {
        app.states(&schedule).await;
        let refused = app.book(&schedule, &["A-1-1", "A-1-2"], "ben").await;
        refused.problem(409, "seats_unavailable");
        assert_eq!(refused.conflicts(), ["A-1-1 booked"]);
        known += 1;
    }
    assert_eq!(app.metric(commands).await, asked, "none of {known} came to the booking engine");
    app.book(&schedule, &["A-1-2"], "ben").await.expect(200);
}

//! Sends one operation to one process, and reads how it ended.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use test_support::Client;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::history::{Action, Answer, End};

/// Longer than any time-out of the service.
pub(crate) const PATIENCE: Duration = Duration::from_secs(12);

/// The label of a seat.
pub(crate) fn label(seat: u32) -> String {
    format!("A-1-{}", seat + 1)
}

fn number(label: &Value) -> u32 {
    let last = label.as_str().and_then(|label| label.rsplit('-').next());
    last.and_then(|text| text.parse::<u32>().ok()).expect("labels are ours") - 1
}

fn labels(seats: &[u32]) -> Vec<String> {
    seats.iter().copied().map(label).collect()
}

/// The request for an action.
fn request(client: &Client, key: Option<&str>, action: &Action) -> RequestBuilder {
    let to = |method, path: &str| client.request(method, &format!("/api/v1/{path}"));
    let post = |path: &str, body: Value| to(Method::POST, path).json(&body);
    let request = match action {
        Action::Book { schedule, seats, customer } => post(
            "bookings",
            json!({"schedule_id": schedule, "seats": labels(seats), "customer_id": customer}),
        ),
        Action::Hold { schedule, seats, customer, ttl_s } => {
            let seats = labels(seats);
            let who = json!({"schedule_id": schedule, "seats": seats, "customer_id": customer,
                "ttl_s": ttl_s});
            post("holds", who)
        }
        Action::Confirm { hold } => post("bookings", json!({ "hold_id": hold })),
        Action::Extend { hold, ttl_s } => {
            post(&format!("holds/{hold}/extend"), json!({ "ttl_s": ttl_s }))
        }
        Action::Release { hold } => to(Method::DELETE, &format!("holds/{hold}")),
        Action::Cancel { booking, seats } => {
            let body = seats.as_ref().map_or(json!({}), |seats| json!({"seats": labels(seats)}));
            post(&format!("bookings/{booking}/cancel"), body)
        }
        Action::Map { schedule, min_version } => {
            to(Method::GET, &format!("schedules/{schedule}/seats?min_version={min_version}"))
        }
        Action::Find { booking } => to(Method::GET, &format!("bookings/{booking}")),
    };
    match key {
        Some(key) => request.header("idempotency-key", key),
        None => request,
    }
}

/// An end, and the version of the seats that came with it.
pub(crate) async fn perform(
    client: &Client,
    (key, action): (Option<&str>, &Action),
    patience: Duration,
) -> (End, Option<i64>) {
    match client.try_send(request(client, key, action).timeout(patience)).await {
        Ok(answer) => {
            let version = answer.header("x-seatlock-version");
            let version = version.and_then(|version| version.parse().ok());
            (end(action, answer.status, answer.body), version)
        }
        // The request was not received.
        Err(error) if error.is_connect() => {
            (End::Fail { status: 0, code: "no_connection".to_owned() }, None)
        }
        Err(error) => (End::Info { why: error.to_string() }, None),
    }
}

fn end(action: &Action, status: u16, body: String) -> End {
    let json: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
    if !(200..300).contains(&status) {
        let code = json["code"].as_str().unwrap_or("no problem").to_owned();
        return match json["effect"].as_str() {
            Some("none") => End::Fail { status, code },
            _ => End::Info { why: format!("{status} {code}") },
        };
    }
    let answer = match action {
        Action::Map { .. } => map(&json),
        Action::Release { .. } => Answer::Nothing,
        _ => claim(&json),
    };
    // The states are enough of a map; its text would be most of the record.
    let body = if matches!(answer, Answer::Map { .. }) { String::new() } else { body };
    End::Ok { answer, body }
}

fn claim(json: &Value) -> Answer {
    let text = |field: &str| json[field].as_str().map(str::to_owned);
    let id = text("id").expect("claims have ids");
    let listed = |field: &str| json[field].as_array().cloned().unwrap_or_default();
    let mut seats: Vec<u32> = listed("seats").iter().map(|seat| number(&seat["label"])).collect();
    seats.sort_unstable();
    match text("expires_at") {
        Some(at) => {
            let at = OffsetDateTime::parse(&at, &Rfc3339).expect("times are RFC 3339");
            let until_ms = (at.unix_timestamp_nanos() / 1_000_000).try_into().unwrap();
            Answer::Hold { id, seats, until_ms }
        }
        None => Answer::Booking { id, seats, hold: text("hold_id") },
    }
}

fn map(json: &Value) -> Answer {
    let code = |seat: &Value| match seat["status"].as_str() {
        Some("available") => 0,
        Some("held") => 1,
        Some("booked") => 2,
        _ => 3,
    };
    let states: Vec<u8> = json["seats"].as_array().expect("a map").iter().map(code).collect();
    let counts = [0, 1, 2, 3].map(|code| states.iter().filter(|state| **state == code).count());
    Answer::Map { version: json["version"].as_i64().expect("a version"), states, counts }
}

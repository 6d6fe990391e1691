//! The HTTP client of the tests: a customer, a shop or a box office.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::wait::eventually;

/// Longer than any answer takes; a request that hangs fails its test.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// How long tests wait for a condition.
pub const SOON: Duration = Duration::from_secs(20);

/// A client of one address of the service.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    /// The newest version of each schedule's seats that an answer has carried.
    versions: Arc<Mutex<HashMap<String, i64>>>,
}

/// The schedule of an answer, from its body or from the requested path.
fn schedule_of(path: &str, body: &str) -> Option<String> {
    let body = serde_json::from_str::<Value>(body).unwrap_or_default();
    let named = body["schedule_id"].as_str().map(str::to_owned);
    named.or_else(|| {
        let mut parts =
            path.split('/').skip_while(|part| !["schedules", "holds", "bookings"].contains(part));
        parts.nth(1)?.split('-').next().map(str::to_owned)
    })
}

impl Client {
    /// A client of this address, over connections of its own.
    pub fn of(address: SocketAddr) -> Self {
        Self::with(address, HeaderMap::new())
    }

    /// A client that sends an API key with each request.
    pub fn with_key(address: SocketAddr, key: &str) -> Self {
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {key}")).unwrap();
        headers.insert("authorization", bearer);
        Self::with(address, headers)
    }

    fn with(address: SocketAddr, headers: HeaderMap) -> Self {
        let builder = reqwest::Client::builder().default_headers(headers);
        let builder = builder.timeout(ANSWER_TIMEOUT).no_proxy();
        Self { http: builder.build().unwrap(), address, versions: Arc::default() }
    }

    /// Shares the seen versions: each of the two clients requires maps as new as the other has seen.
    pub fn shares_versions_with(&mut self, other: &Self) {
        self.versions = Arc::clone(&other.versions);
    }

    /// The address of the service.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A request to a path of the server, such as `/livez`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("http://{}{path}", self.address))
    }

    /// Sends a request whose answer is read piece by piece.
    pub async fn open(&self, request: RequestBuilder) -> reqwest::Response {
        self.http.execute(request.build().unwrap()).await.unwrap()
    }

    /// Sends a request that must be answered.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request. If an error's `is_connect()` is true, nothing listened at the address, and the request was not
    /// received; after any other error its outcome is unknown.
    pub async fn try_send(&self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let request = request.build()?;
        let path = request.url().path().to_owned();
        let response = self.http.execute(request).await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, body: response.text().await? };
        if let Some(version) = answer.header("x-seatlock-version")
            && let Some(schedule) = schedule_of(&path, &answer.body)
        {
            let version: i64 = version.parse().unwrap();
            let mut versions = self.versions.lock().unwrap();
            let newest = versions.entry(schedule).or_default();
            *newest = version.max(*newest);
        }
        Ok(answer)
    }

    fn version_seen(&self, schedule: &str) -> Option<i64> {
        self.versions.lock().unwrap().get(schedule).copied()
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a DELETE.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    /// Sends a POST.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// A POST under an Idempotency-Key.
    pub async fn post_keyed(&self, path: &str, key: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("idempotency-key", key);
        self.send(request.json(body)).await
    }

    /// Requests seats through the queue.
    pub async fn queue(&self, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::POST, path).header("prefer", "respond-async");
        self.send(request.json(body)).await
    }

    /// Queues a booking, and returns the path of its request.
    pub async fn queued(&self, schedule: &str, seats: &[&str], customer: &str) -> String {
        let answer = self.queue("/api/v1/bookings", &taking(schedule, seats, customer)).await;
        answer.expect(202);
        answer.header("location").unwrap().to_owned()
    }

    /// The same under a key, with which it is not refused before it is queued.
    pub async fn queued_keyed(&self, key: &str, body: &Value) -> String {
        let request = self.request(Method::POST, "/api/v1/bookings").json(body);
        let request = request.header("prefer", "respond-async").header("idempotency-key", key);
        let answer = self.send(request).await;
        answer.expect(202);
        answer.header("location").unwrap().to_owned()
    }

    /// The final state of a request to the queue.
    pub async fn outcome(&self, place: &str) -> Value {
        let end = Instant::now() + 3 * SOON;
        loop {
            let request = self.request(Method::GET, place).header("prefer", "wait=5");
            let answer = self.send(request).await;
            let status = answer.expect(200);
            if !["queued", "running"].contains(&status["status"].as_str().unwrap()) {
                assert_eq!(answer.header("retry-after"), None);
                return status;
            }
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert!(Instant::now() < end, "it is never decided: {status}");
        }
    }

    /// Creates an event.
    pub async fn event(&self, name: &str) -> String {
        self.post("/api/v1/events", &json!({ "name": name })).await.id(201)
    }

    /// Creates a schedule with these sections, `(name, rows, seats_per_row)` at 1,000 a seat. `more` overrides the
    /// default fields.
    pub async fn schedule(&self, sections: &[(&str, u32, u32)], more: Value) -> String {
        let sections: Vec<Value> = sections
            .iter()
            .map(|(name, rows, seats_per_row)| {
                json!({"name": name, "rows": rows, "seats_per_row": seats_per_row, "price": 1_000})
            })
            .collect();
        self.schedule_of(json!({ "sections": sections }), more).await
    }

    /// Creates a schedule with this plan.
    pub async fn schedule_of(&self, plan: Value, more: Value) -> String {
        let event = self.event("The Tempest").await;
        let mut body = json!({"starts_at": "2030-01-01T20:00:00Z", "seat_plan": plan});
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.post(&format!("/api/v1/events/{event}/schedules"), &body).await.id(201)
    }

    /// Creates a schedule with seats `A-1-1` to `A-1-n` and the default rules.
    pub async fn row_of(&self, seats: u32) -> String {
        self.schedule(&[("A", 1, seats)], Value::Null).await
    }

    /// Books seats.
    pub async fn book(&self, schedule: &str, seats: &[&str], customer: &str) -> Answer {
        self.post("/api/v1/bookings", &taking(schedule, seats, customer)).await
    }

    /// Holds seats.
    pub async fn hold(&self, schedule: &str, seats: &[&str], customer: &str) -> Answer {
        self.post("/api/v1/holds", &taking(schedule, seats, customer)).await
    }

    /// Changes the seats of a hold: `{"add": […], "remove": […]}`.
    pub async fn change(&self, hold: &str, change: &Value) -> Answer {
        let request = self.request(Method::PATCH, &format!("/api/v1/holds/{hold}"));
        self.send(request.json(change)).await
    }

    /// Confirms a hold.
    pub async fn confirm(&self, hold: &str) -> Answer {
        self.post("/api/v1/bookings", &json!({ "hold_id": hold })).await
    }

    /// Cancels a booking, or only these seats of it.
    pub async fn cancel(&self, booking: &str, seats: Option<&[&str]>) -> Answer {
        let body = seats.map_or(json!({}), |seats| json!({ "seats": seats }));
        self.post(&format!("/api/v1/bookings/{booking}/cancel"), &body).await
    }

    /// A map of a schedule (`seats?status=held`), not older than the newest version that this client has seen.
    pub async fn map(&self, schedule: &str, which: &str) -> Answer {
        let mark = if which.contains('?') { '&' } else { '?' };
        let seen = self.version_seen(schedule);
        let at_least = seen.map(|version| format!("{mark}min_version={version}"));
        let at_least = at_least.unwrap_or_default();
        self.get(&format!("/api/v1/schedules/{schedule}/{which}{at_least}")).await
    }

    /// A schedule with its counts, not older than the newest version that this client has seen.
    pub async fn schedule_now(&self, schedule: &str) -> Value {
        let seen = self.version_seen(schedule).unwrap_or_default();
        let path = format!("/api/v1/schedules/{schedule}");
        let caught_up = |answer: &Answer| answer.expect(200)["version"].as_i64() >= Some(seen);
        self.wait_until(&path, caught_up).await.json()
    }

    /// The states of a schedule's seats, label and status in plan order.
    pub async fn seats(&self, schedule: &str) -> Vec<(String, String)> {
        let map = self.map(schedule, "seats").await.expect(200);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let seats = map["seats"].as_array().unwrap();
        seats.iter().map(|seat| (text(&seat["label"]), text(&seat["status"]))).collect()
    }

    /// The states of a schedule's seats in plan order, a letter each.
    pub async fn states(&self, schedule: &str) -> String {
        self.seats(schedule).await.iter().map(|(_, status)| status[..2].to_owned() + " ").collect()
    }

    /// All items of a list, page after page.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("{path}{cursor}")).await.expect(200);
            items.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else { return items };
            cursor = format!("&cursor={next}");
        }
    }

    /// The value of a metric's series, as `/metrics` writes it.
    pub async fn metric(&self, series: &str) -> f64 {
        let answer = self.get("/metrics").await;
        answer.metric(series).unwrap_or_else(|| panic!("no {series} in {}", answer.body))
    }

    /// Waits until a series is above a value.
    pub async fn metric_above(&self, series: &str, value: f64) {
        let above = |answer: &Answer| answer.metric(series).is_some_and(|found| found > value);
        self.wait_until("/metrics", above).await;
    }

    /// Checks that the row locks alone have kept every invariant: no later guard has acted.
    pub async fn no_later_guard_stepped_in(&self) {
        for guard in ["unique_index", "row_count"] {
            let saves = format!("seatlock_guard_saves_total{{guard=\"{guard}\"}}");
            assert_eq!(self.metric(&saves).await, 0.0, "{guard}");
        }
    }

    /// Repeats a GET until its answer fulfils the condition.
    pub async fn wait_until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        eventually(path, SOON, async || {
            match self.try_send(self.request(Method::GET, path)).await {
                Ok(answer) if wanted(&answer) => Ok(answer),
                other => Err(other),
            }
        })
        .await
    }
}

/// The body of a request for seats.
pub fn taking(schedule: &str, seats: &[&str], customer: &str) -> Value {
    json!({"schedule_id": schedule, "seats": seats, "customer_id": customer})
}

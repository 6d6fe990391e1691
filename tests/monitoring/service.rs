//! The service under test, as separate processes.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};
use test_support::{Process, eventually};
use tokio::task::block_in_place;

use crate::prometheus::SOON;

/// A running process of the service, ended on drop.
pub(crate) struct Service {
    _process: Process,
    pub(crate) address: SocketAddr,
    http: reqwest::Client,
}

impl Service {
    /// Starts a process with these variables and waits until it is ready.
    pub(crate) async fn start(variables: &[(&str, &str)]) -> Self {
        let usual = [("BIND", "127.0.0.1:0"), ("LOG_FORMAT", "text")];
        let program = Path::new(env!("CARGO_BIN_EXE_seatlock"));
        let prefix = "listening on http://";
        let (process, line) = block_in_place(|| {
            let process = Process::spawn(program, &[&usual, variables].concat());
            let line = process.wait_for_line(|line| line.contains(prefix), SOON);
            (process, line)
        });
        let address = line.split_once(prefix).unwrap().1;
        let address = address.split([' ', '"']).next().unwrap().parse().unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(SOON).build().unwrap();
        let service = Self { _process: process, address, http };
        eventually("a ready service", SOON, async || {
            let metrics = service.get("/metrics").await;
            if metrics.contains("\nseatlock_ready 1\n") { Ok(()) } else { Err(metrics) }
        })
        .await;
        service
    }

    /// The text at a path.
    pub(crate) async fn get(&self, path: &str) -> String {
        let url = format!("http://{}{path}", self.address);
        self.http.get(url).send().await.unwrap().text().await.unwrap()
    }

    /// Status and body of a POST.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("http://{}{path}", self.address);
        let answer = self.http.post(url).json(body).send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// Creates a schedule with rows of 100 seats, and returns its id.
    pub(crate) async fn schedule(&self, rows: u32) -> String {
        let id = |(status, body): (u16, Value)| {
            assert_eq!(status, 201, "{body}");
            body["id"].as_str().unwrap().to_owned()
        };
        let event = id(self.post("/api/v1/events", &json!({"name": "The Tempest"})).await);
        let section = json!({"name": "A", "rows": rows, "seats_per_row": 100, "price": 1_000});
        let body =
            json!({"starts_at": "2999-01-01T20:00:00Z", "seat_plan": {"sections": [section]}});
        id(self.post(&format!("/api/v1/events/{event}/schedules"), &body).await)
    }

    /// Books one seat, and returns the status.
    pub(crate) async fn book(&self, schedule: &str, seat: &str) -> u16 {
        let body = json!({"schedule_id": schedule, "seats": [seat], "customer_id": "anna"});
        self.post("/api/v1/bookings", &body).await.0
    }
}

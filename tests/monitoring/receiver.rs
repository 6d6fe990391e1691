//! A pager: takes what Alertmanager sends to a webhook.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::prometheus::SOON;

/// One alert of a notification.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Where it was sent: `/pages` or `/tickets`.
    pub(crate) path: String,
    /// Whether it is over.
    pub(crate) resolved: bool,
    /// `labels` and `annotations` among others.
    pub(crate) alert: Value,
}

impl Told {
    pub(crate) fn name(&self) -> &str {
        self.alert["labels"]["alertname"].as_str().unwrap_or_default()
    }
}

/// A webhook on a free port, for as long as the test's runtime lives.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let kept = Arc::clone(&told);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { port, told }
    }

    /// All that was told up to now, in order.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits until an alert was told to have begun, or to be over.
    pub(crate) async fn until(&self, name: &str, resolved: bool) -> Told {
        let end = Instant::now() + SOON;
        loop {
            let told = self.told();
            let found = told.iter().find(|told| told.name() == name && told.resolved == resolved);
            if let Some(found) = found {
                return found.clone();
            }
            assert!(Instant::now() < end, "nobody tells of {name} ({resolved}): {told:#?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Takes the requests of one connection.
async fn serve(stream: TcpStream, told: Arc<Mutex<Vec<Told>>>) {
    let mut stream = BufReader::new(stream);
    while let Some((path, body)) = request(&mut stream).await {
        let notification: Value = serde_json::from_slice(&body).unwrap();
        let alerts = notification["alerts"].as_array().unwrap().iter();
        let alerts = alerts.map(|alert| Told {
            path: path.clone(),
            resolved: alert["status"] == "resolved",
            alert: alert.clone(),
        });
        told.lock().unwrap().extend(alerts);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
            return;
        }
    }
}

/// Path and body of the next request; none at the connection's end.
async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_ascii_lowercase());
    }
    let path = lines.first()?.split(' ').nth(1)?.to_owned();
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "))?;
    let mut body = vec![0; length.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    Some((path, body))
}

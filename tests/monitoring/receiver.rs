//! A webhook that receives the notifications of Alertmanager.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use test_support::eventually;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::prometheus::SOON;

/// One alert of a notification.
#[derive(Debug, Clone)]
pub(crate) struct Notification {
    /// Where it was sent: `/pages` or `/tickets`.
    pub(crate) path: String,
    /// Whether the alert has ended.
    pub(crate) resolved: bool,
    /// `labels` and `annotations` among others.
    pub(crate) alert: Value,
}

impl Notification {
    pub(crate) fn name(&self) -> &str {
        self.alert["labels"]["alertname"].as_str().unwrap_or_default()
    }
}

/// A webhook on a free port, for as long as the test's runtime lives.
pub(crate) struct Receiver {
    pub(crate) port: u16,
    received: Arc<Mutex<Vec<Notification>>>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let received: Arc<Mutex<Vec<Notification>>> = Arc::default();
        let kept = Arc::clone(&received);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&kept)));
            }
        });
        Self { port, received }
    }

    /// All notifications so far, in order.
    pub(crate) fn notifications(&self) -> Vec<Notification> {
        self.received.lock().unwrap().clone()
    }

    /// Waits for the notification that an alert fires or, if `resolved`, has ended.
    pub(crate) async fn until(&self, name: &str, resolved: bool) -> Notification {
        let what = format!("a notification of {name} (resolved: {resolved})");
        let is_it = |sent: &&Notification| sent.name() == name && sent.resolved == resolved;
        eventually(&what, SOON, async || {
            let received = self.notifications();
            received.iter().find(is_it).cloned().ok_or(received)
        })
        .await
    }
}

/// Serves the requests of one connection.
async fn serve(stream: TcpStream, received: Arc<Mutex<Vec<Notification>>>) {
    let mut stream = BufReader::new(stream);
    while let Some((path, body)) = request(&mut stream).await {
        let notification: Value = serde_json::from_slice(&body).unwrap();
        let alerts = notification["alerts"].as_array().unwrap().iter();
        let alerts = alerts.map(|alert| Notification {
            path: path.clone(),
            resolved: alert["status"] == "resolved",
            alert: alert.clone(),
        });
        received.lock().unwrap().extend(alerts);
        if stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.is_err() {
            return;
        }
    }
}

/// Path and body of the next request; `None` at the end of the connection.
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

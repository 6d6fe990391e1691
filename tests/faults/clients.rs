//! Slow clients and huge requests: their connections are closed, and other customers can still buy.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{SLACK, Scene, Setup};

/// How long a slow client is served at most: the time-outs of head and body together.
const CUT_OFF: Duration = Duration::from_secs(4);

async fn connect(scene: &Scene) -> TcpStream {
    TcpStream::connect(scene.services[0].address()).await.unwrap()
}

/// Sends a byte of `text` each second until the server hangs up; gives how long that took.
async fn drip(mut stream: TcpStream, start: &str, text: &str) -> Duration {
    let began = Instant::now();
    stream.write_all(start.as_bytes()).await.unwrap();
    for byte in text.bytes().cycle() {
        let mut answer = [0; 512];
        let heard =
            tokio::time::timeout(Duration::from_millis(500), stream.read(&mut answer)).await;
        if matches!(heard, Ok(Ok(0) | Err(_))) || stream.write_all(&[byte]).await.is_err() {
            break;
        }
    }
    began.elapsed()
}

/// What the server answers to a request that may be cut off half way.
async fn answer_to(scene: &Scene, request: &str, filler: &str, times: usize) -> String {
    let (mut from, mut to) = connect(scene).await.into_split();
    let (request, filler) = (request.to_owned(), filler.to_owned());
    let writing = tokio::spawn(async move {
        let mut written = to.write_all(request.as_bytes()).await;
        for _ in 0..times {
            if written.is_err() {
                return;
            }
            written = to.write_all(filler.as_bytes()).await;
        }
    });
    let mut answer = vec![0; 4096];
    let length = from.read(&mut answer).await.unwrap_or(0);
    writing.abort();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_huge_requests_are_cut_off() {
    let setup = Setup::of("slow and huge clients").set("HEADER_TIMEOUT", "2s");
    let scene = setup.set("BODY_TIMEOUT", "2s").start().await;
    let schedule = scene.schedule(1, 40).await;
    let head =
        "POST /api/v1/bookings HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let slow_body = format!("{head}Content-Length: 1000\r\n\r\n{{");
    let mut slow = Vec::new();
    for number in 0..600 {
        let stream = connect(&scene).await;
        let start = if number % 2 == 0 { "GET / HTTP/1.1\r\nX-A: " } else { slow_body.as_str() };
        slow.push(drip(stream, start, "a"));
    }
    // Customers who behave buy meanwhile.
    let client = scene.client(0);
    let buy = async {
        let mut slowest = Duration::ZERO;
        for seat in 1..=30 {
            let began = Instant::now();
            let label = format!("A-1-{seat}");
            scene.ledger.book(&client, &schedule, &[&label]).await.unwrap().expect(200);
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        slowest
    };
    let (cut_off, slowest) = tokio::join!(join_all(slow), buy);
    let last = cut_off.into_iter().max().unwrap();
    assert!(last < CUT_OFF + SLACK, "a slow client was let in for {last:?}");

    let huge = format!("{head}Content-Length: 1073741824\r\n\r\n");
    let piece = "x".repeat(1 << 16);
    let answer = answer_to(&scene, &huge, &piece, 1 << 14).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n");
    let chunk = format!("{:x}\r\n{piece}\r\n", piece.len());
    let answer = answer_to(&scene, &chunked, &chunk, 1 << 14).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let headers = "X-Many: yes\r\n".repeat(50);
    let answer =
        answer_to(&scene, "GET /livez HTTP/1.1\r\nHost: localhost\r\n", &headers, 200).await;
    let refused = ["HTTP/1.1 400", "HTTP/1.1 413", "HTTP/1.1 431"];
    assert!(answer.is_empty() || refused.iter().any(|start| answer.starts_with(start)), "{answer}");
    scene.inject(&format!(
        "300 slow heads and 300 slow bodies (cut off within {last:.1?}; others at most {slowest:.1?}), \
         1 GiB bodies (413), 10,000 headers"
    ));
    scene.finish().await;
}

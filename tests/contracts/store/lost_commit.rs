//! A COMMIT whose answer is lost: the batch's identifier tells what became of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use seatlock::metrics::Metrics;
use seatlock::store::Store;
use test_support::Postgres;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::commands::{book, booked, is_done, keyed};
use super::stage::{Stage, run, settings};

/// What the wire does to the next COMMIT.
#[derive(Clone, Copy, PartialEq)]
#[repr(u8)]
enum Fault {
    None,
    /// It reaches the server; the answer does not come back.
    AnswerLost,
    /// It does not even reach the server.
    NeverSent,
}

/// A wire to the server that can be cut at a COMMIT.
struct Wire {
    port: u16,
    fault: Arc<AtomicU8>,
}

impl Wire {
    async fn to(server_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let fault = Arc::new(AtomicU8::new(Fault::None as u8));
        let next = Arc::clone(&fault);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server_port, Arc::clone(&next)));
            }
        });
        Self { port, fault }
    }

    fn will(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    fn has_struck(&self) -> bool {
        self.fault.load(Ordering::SeqCst) == Fault::None as u8
    }
}

async fn carry(client: TcpStream, server_port: u16, fault: Arc<AtomicU8>) {
    let server = TcpStream::connect(("127.0.0.1", server_port)).await.unwrap();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = tokio::spawn(async move {
        drop(tokio::io::copy(&mut from_server, &mut to_client).await);
        from_server
    });
    let mut bytes = vec![0; 1 << 16];
    while let Ok(length @ 1..) = from_client.read(&mut bytes).await {
        let sent = &bytes[..length];
        if sent.windows(7).any(|part| part == b"COMMIT\0") {
            let struck = fault.swap(Fault::None as u8, Ordering::SeqCst);
            if struck == Fault::AnswerLost as u8 {
                // Nobody reads the answer: the way back ends before the COMMIT is sent on.
                back.abort();
                drop(back.await);
                drop(to_server.write_all(sent).await);
                // Until the server has read it and hung up by itself, or a reset would stop it.
                drop(to_server.shutdown().await);
                return;
            }
            if struck == Fault::NeverSent as u8 {
                back.abort();
                return;
            }
        }
        if to_server.write_all(sent).await.is_err() {
            return;
        }
    }
}

/// A stage, and a store on the same database behind a wire.
async fn wired() -> (Stage, Arc<Store>, Wire) {
    let stage = Stage::full().await;
    let wire = Wire::to(Postgres::shared().port()).await;
    let name: Vec<String> = stage.database.column("SELECT current_database()::text").await;
    let url = format!("postgres://app@127.0.0.1:{}/{}", wire.port, name[0]);
    let metrics = Arc::new(Metrics::new().unwrap());
    let store = Store::open(settings(&[("WRITE_DB_URL", &url)]), metrics).await.unwrap();
    (stage, store, wire)
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_commit_whose_answer_is_lost_counts_once() {
        for fault in [Fault::AnswerLost, Fault::NeverSent] {
            let (stage, store, wire) = wired().await;
            let schedule = stage.schedule(4).await;
            for (round, unkeyed) in [(0, true), (1, false)] {
                let seats = [2 * round, 2 * round + 1];
                let command = book(schedule, &seats, "anna");
                let command = if unkeyed { command } else { keyed(command, "k") };
                wire.will(fault);
                let result = run(&store, vec![command]).await.remove(0);
                assert!(wire.has_struck());
                assert!(is_done(&result), "{result:?}");
                let booking = booked(&result);
                assert_eq!(stage.store.booking(booking.row.id).await, Ok(Some(booking)));
            }
            assert_eq!(stage.states(schedule).await, "2222");
            assert_eq!(stage.version(schedule).await, 3);
            assert_eq!(stage.database.number("SELECT count(*) FROM batch").await, 2);
            stage.database.audit().await;
        }
    }
}

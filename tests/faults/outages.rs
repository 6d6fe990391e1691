//! PostgreSQL is killed, stopped, disconnected or demoted: writes are refused immediately, maps can be read, and
//! selling resumes without help.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use test_support::Client;

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Scene, Setup, blocking, until};

/// The promises: the time until writes are refused immediately, and the time until they are accepted again.
const REFUSED: Duration = Duration::from_secs(3);
const TAKEN: Duration = Duration::from_secs(5);

/// The longest time of an immediate refusal.
const IMMEDIATE: Duration = Duration::from_millis(500);

/// The life of a hold that ends during the outage.
const HOLD_S: u64 = 4;

/// An outage, and what clients may expect of it.
struct Outage {
    name: &'static str,
    injected: &'static str,
    length: Duration,
    /// Whether maps can still be read from the database.
    readable: bool,
}

impl Outage {
    async fn passes(&self, setup: Setup, inject: impl Fn(&Scene), heal: impl Fn(&Scene)) {
        let scene = setup.own_postgres(&[]).processes(2).start().await;
        let schedule = scene.schedule(1, 40).await;
        let probes = scene.schedule(1, 4).await;
        let clients = [scene.client(0), scene.client(1)];
        for client in &clients {
            client.map(&schedule, "seats").await.expect(200);
            client.map(&probes, "seats").await.expect(200);
        }
        let crowd = Crowd::of(&scene, 12, &schedule, 39);
        scene.sells(10).await;
        let hold = scene.ledger.hold(&clients[0], &schedule, &["A-1-40"], HOLD_S).await;
        let (hold, held) = (hold.unwrap().id(201), Instant::now());

        blocking(|| inject(&scene));
        let began = Instant::now();
        for client in &clients {
            until("writes are refused immediately", LONG, async || {
                refused_immediately(&scene, client, &schedule).await
            })
            .await;
        }
        // A batch may have noticed it first; the health probes decide on the mode.
        for service in &scene.services {
            let is_read_only = |line: &str| line.contains("the primary is read-only");
            blocking(|| service.process().wait_for_line(is_read_only, LONG));
        }
        let refused_after = began.elapsed();
        assert!(refused_after < REFUSED + SLACK, "refused immediately after {refused_after:?}");
        while began.elapsed() < self.length {
            for client in &clients {
                self.reads_and_refuses(client, &schedule).await;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        blocking(|| heal(&scene));
        let healed = Instant::now();
        for client in &clients {
            let again = async || {
                let booked = scene.ledger.book_or_leave(client, &probes, &["A-1-1"], IMMEDIATE * 2);
                booked.await.is_some_and(|answer| answer.status == 200 || answer.status == 409)
            };
            until("writes are accepted again", LONG, again).await;
        }
        let taken_after = healed.elapsed();
        assert!(taken_after < TAKEN + SLACK, "taken again after {taken_after:?}");
        assert!(held.elapsed() > Duration::from_secs(HOLD_S), "the hold ended in the outage");
        let confirmed = scene.ledger.confirm(&clients[1], &hold).await;
        assert_eq!(confirmed.map(|answer| answer.status), Some(200), "a hold died of the outage");
        crowd.stop().await;
        scene.inject(&format!(
            "{}; read-only after {refused_after:.1?}, back after {taken_after:.1?}",
            self.injected
        ));
        let longest = scene.ledger.longest();
        assert!(longest < Duration::from_secs(12) + SLACK, "a request took {longest:?}");
        scene.finish().await;
    }

    /// Checks the answers during the outage.
    async fn reads_and_refuses(&self, client: &Client, schedule: &str) {
        let began = Instant::now();
        let map = client.get(&format!("/api/v1/schedules/{schedule}/seats")).await;
        assert_eq!(map.status, 200, "{map:?}");
        assert!(self.readable || map.header("x-seatlock-stale").is_some(), "{:?}", map.headers);
        let ready = client.get("/readyz").await.expect(200);
        assert_eq!(ready["status"], "degraded");
        assert!(ready["reasons"].to_string().contains("write database"), "{ready}");
        assert_eq!(client.get("/livez").await.status, 200);
        let booking = client.book(schedule, &["A-1-40"], "anna").await;
        assert_eq!(booking.problem(503, "read_only")["effect"], json!("none"));
        assert!(began.elapsed() < SLACK * 2, "{}: {:?}", self.name, began.elapsed());
    }
}

async fn refused_immediately(scene: &Scene, client: &Client, schedule: &str) -> bool {
    let booked = scene.ledger.book_or_leave(client, schedule, &["A-1-40"], IMMEDIATE).await;
    booked.is_some_and(|answer| answer.json()["code"] == "read_only")
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_primary_is_killed() {
        let outage = Outage {
            name: "killed",
            injected: "kill -9 of all its processes, 6 s, restart",
            length: Duration::from_secs(6),
            readable: false,
        };
        let setup = Setup::of("primary killed");
        outage.passes(setup, |scene| scene.primary.kill(), |scene| scene.primary.restart()).await;
    }
}

/// A batch hangs with the primary; the requests behind it are answered as soon as the primary is known to hang.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_waits_behind_a_batch_that_hangs() {
    let scene = Setup::of("behind a batch that hangs").own_postgres(&[]).start().await;
    let schedule = scene.schedule(1, 40).await;
    let client = scene.client(0);
    // From now on the lane has its connection.
    scene.ledger.book(&client, &schedule, &["A-1-40"]).await.unwrap().expect(200);
    blocking(|| scene.primary.pause());
    let began = Instant::now();
    let order = async |seat: u32| {
        tokio::time::sleep(Duration::from_millis(if seat == 1 { 0 } else { 300 })).await;
        let label = format!("A-1-{seat}");
        drop(scene.ledger.book(&client, &schedule, &[&label]).await);
        began.elapsed()
    };
    let mut waited = join_all((1..=30).map(order)).await;
    let first = waited.remove(0);
    let longest = waited.into_iter().max().unwrap();
    assert!(longest < REFUSED + SLACK, "a request took {longest:?}");
    blocking(|| scene.primary.resume());
    scene.inject(&format!(
        "SIGSTOP; the batch ended after {first:.1?}, those behind it {longest:.1?}"
    ));
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_stopped() {
    let outage = Outage {
        name: "stopped",
        injected: "SIGSTOP of postmaster and backends for 20 s",
        length: Duration::from_secs(20),
        readable: false,
    };
    let setup = Setup::of("primary SIGSTOP");
    outage.passes(setup, |scene| scene.primary.pause(), |scene| scene.primary.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_cut_off() {
    let outage = Outage {
        name: "cut",
        injected: "connections reset and refused for 8 s",
        length: Duration::from_secs(8),
        readable: false,
    };
    let setup = Setup::of("primary cut off");
    let inject = |scene: &Scene| scene.network.postgres.cut();
    outage.passes(setup, inject, |scene| scene.network.postgres.heal()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_behind_a_black_hole() {
    let outage = Outage {
        name: "black hole",
        injected: "black hole for 15 s, then all of it delivered",
        length: Duration::from_secs(15),
        readable: false,
    };
    let setup = Setup::of("primary black hole");
    let inject = |scene: &Scene| scene.network.postgres.black_hole();
    outage.passes(setup, inject, |scene| scene.network.postgres.heal()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_is_demoted() {
    let outage = Outage {
        name: "demoted",
        injected: "default_transaction_read_only for 6 s (25006)",
        length: Duration::from_secs(6),
        readable: true,
    };
    let set = |scene: &Scene, sql: &str| {
        scene.primary.psql("postgres", sql);
        scene.primary.psql("postgres", "SELECT pg_reload_conf()");
    };
    let inject = |scene: &Scene| set(scene, "ALTER SYSTEM SET default_transaction_read_only = on");
    let heal = |scene: &Scene| set(scene, "ALTER SYSTEM RESET default_transaction_read_only");
    outage.passes(Setup::of("primary read-only"), inject, heal).await;
}

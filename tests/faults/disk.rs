//! The disk of the database is full: nothing acknowledged is lost, and selling comes back when there is room.

use std::time::{Duration, Instant};

use test_support::Postgres;

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Setup, blocking, until};

/// Settings that keep the write-ahead log small, so that its disk is soon full.
const SMALL_LOG: [(&str, &str); 3] =
    [("max_wal_size", "48MB"), ("min_wal_size", "32MB"), ("restart_after_crash", "on")];

/// Without room for its log PostgreSQL breaks down, and cannot recover either until there is room again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_the_log_is_full() {
    let (postgres, disk) = blocking(|| Postgres::start_on_small_disk("pg_wal", 80, &SMALL_LOG));
    let scene = Setup::of("disk of pg_wal full").on(postgres).processes(2).start().await;
    let schedule = scene.schedule(1, 40).await;
    let client = scene.client(0);
    client.map(&schedule, "seats").await.expect(200);
    let crowd = Crowd::of(&scene, 12, &schedule, 40);
    scene.sells(20).await;
    blocking(|| disk.fill());
    let full = Instant::now();
    // Each switch needs a new segment; the one that finds no room is the end of the server.
    blocking(|| {
        std::thread::scope(|threads| {
            let switch = threads.spawn(|| {
                for _ in 0..100 {
                    scene.primary.psql(&scene.url, "SELECT pg_switch_wal()");
                    scene.primary.psql(&scene.url, "CREATE TABLE IF NOT EXISTS ballast (a int)");
                    scene.primary.psql(&scene.url, "INSERT INTO ballast VALUES (1)");
                }
            });
            assert!(switch.join().is_err(), "there was room all the time");
        });
    });
    client.wait_until("/readyz", |ready| ready.body.contains("write database")).await;
    until("writes are refused", LONG, async || scene.ledger.count("read_only") > 20).await;
    let map = client.get(&format!("/api/v1/schedules/{schedule}/seats")).await;
    assert_eq!(map.status, 200, "{map:?}");
    let refused_after = full.elapsed();
    assert!(blocking(|| scene.primary.log()).contains("No space left on device"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    blocking(|| disk.free());
    blocking(|| scene.primary.restart());
    let again = scene.sells(0).await;
    assert!(again < Duration::from_secs(5) + SLACK, "selling again after {again:?}");
    crowd.stop().await;
    scene.inject(&format!(
        "pg_wal on a full tmpfs (PANIC), read-only {refused_after:.1?} after the disk was full, back \
         {again:.1?} after the restart"
    ));
    scene.finish().await;
}

/// Without room for its tables PostgreSQL still runs, and refuses what needs more of it (53100).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disk_of_the_tables_is_full() {
    let (postgres, disk) = blocking(|| Postgres::start_on_small_disk("base", 100, &[]));
    let scene = Setup::of("disk of the tables full").on(postgres).processes(2).start().await;
    let schedule = scene.schedule(1, 40).await;
    let client = scene.client(0);
    let crowd = Crowd::of(&scene, 12, &schedule, 40);
    scene.sells(20).await;
    blocking(|| disk.fill());
    // What pages have free is used up first.
    until("there is no room", LONG, async || scene.ledger.count("dependency_unavailable") > 50)
        .await;
    assert!(blocking(|| scene.primary.log()).contains("No space left on device"));
    let map = client.get(&format!("/api/v1/schedules/{schedule}/seats")).await;
    assert_eq!(map.status, 200, "{map:?}");
    client.get("/readyz").await.expect(200);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.ledger.count("unknown"), 0);
    let refused = scene.ledger.longest();
    assert!(refused < SLACK, "a request took {refused:?}");
    blocking(|| disk.free());
    let again = scene.sells(10).await;
    assert!(again < Duration::from_secs(5) + SLACK, "selling again after {again:?}");
    crowd.stop().await;
    scene.inject(&format!("base/ on a full tmpfs (53100), back {again:.1?} after there was room"));
    scene.finish().await;
}

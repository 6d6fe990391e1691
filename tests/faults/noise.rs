//! Other programs in the same database: locks on whole tables, rows locked in another order.

use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Setup, blocking, until};

/// The time of an answer that waits for no row lock.
const PROMPT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sessions_lock_the_seats() {
    let scene = Setup::of("20 x LOCK TABLE").own_postgres(&[]).processes(2).start().await;
    let schedule = scene.schedule(1, 40).await;
    let client = scene.client(0);
    client.map(&schedule, "seats").await.expect(200);
    let booking = scene.ledger.book(&client, &schedule, &["A-1-1"]).await.unwrap().id(200);
    let url = scene.url.clone();
    let crowd = Crowd::of(&scene, 12, &schedule, 40);
    let locked = Instant::now();
    let slowest = blocking(|| {
        std::thread::scope(|threads| {
            let sql = "BEGIN; LOCK TABLE seat; SELECT pg_sleep(0.3); COMMIT";
            for _ in 0..20 {
                threads.spawn(|| scene.primary.psql(&url, sql));
            }
            // Meanwhile, on a thread of this test's runtime.
            tokio::runtime::Handle::current().block_on(async {
                let mut slowest = Duration::ZERO;
                while locked.elapsed() < Duration::from_secs(6) {
                    let began = Instant::now();
                    client.get(&format!("/api/v1/schedules/{schedule}/seats")).await.expect(200);
                    assert_eq!(client.get("/livez").await.status, 200);
                    assert_eq!(client.get("/readyz").await.status, 200);
                    let prompt_for = began.elapsed();
                    // What has to read the seats waits for the lock's time-out and no longer.
                    client.get(&format!("/api/v1/bookings/{booking}")).await;
                    assert!(began.elapsed() < PROMPT + SLACK, "{:?}", began.elapsed());
                    slowest = prompt_for.max(slowest);
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                slowest
            })
        })
    });
    assert!(slowest < PROMPT, "reads took {slowest:?}");
    let again = scene.sells(0).await;
    assert!(again < SLACK, "selling again after {again:?}");
    crowd.stop().await;
    assert!(scene.ledger.count("dependency_unavailable") > 0, "no request met the locks");
    assert_eq!(scene.ledger.count("unknown"), 0);
    // One batch waits for the lock's time-out, and the next one, which gathered meanwhile, for its own.
    let longest = scene.ledger.longest();
    assert!(longest < PROMPT * 2 + SLACK, "a request took {longest:?}");
    scene.inject(&format!(
        "LOCK TABLE seat by 20 sessions for 6 s; maps and probes within {slowest:.1?}"
    ));
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_are_locked_in_another_order() {
    // The rogue never notices a deadlock itself, so it is always a batch that has to give way.
    let setup = Setup::of("deadlocks").own_postgres(&[("deadlock_timeout", "50ms")]);
    let scene = setup.processes(2).start().await;
    let schedule = scene.schedule(1, 12).await;
    let crowd = Crowd::of(&scene, 12, &schedule, 12);
    scene.sells(10).await;
    let sql = format!(
        "DO $$ BEGIN SET deadlock_timeout = '60s'; FOR turn IN 1..80 LOOP
             PERFORM 1 FROM seat WHERE schedule_id = {schedule} AND number = 11 FOR UPDATE;
             PERFORM pg_sleep(0.02);
             PERFORM 1 FROM seat WHERE schedule_id = {schedule} AND number <> 11
                 ORDER BY number DESC FOR UPDATE;
             COMMIT;
             PERFORM pg_sleep(0.03);
         END LOOP; END $$"
    );
    blocking(|| scene.primary.psql(&scene.url, &sql));
    crowd.stop().await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    let counted = async || blocking(|| scene.primary.psql(&scene.url, deadlocks)) != "0";
    until("deadlocks are counted", LONG, counted).await;
    let deadlocks = blocking(|| scene.primary.psql(&scene.url, deadlocks));
    let retried = scene.metric("seatlock_batches_total{outcome=\"retried\"}").await;
    let failed = scene.ledger.count("dependency_unavailable");
    assert!(retried > 0.0);
    assert!(failed * 50 <= scene.ledger.operations(), "{failed} failed");
    scene.inject(&format!(
        "a rogue in reverse order: {deadlocks} deadlocks, {retried} batches again"
    ));
    scene.finish().await;
}

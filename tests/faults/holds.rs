//! The end of a hold against its confirmation.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use test_support::Postgres;

use crate::harness::{Scene, Setup, blocking};

/// The life of a hold at the boundary.
const TTL: Duration = Duration::from_secs(1);

/// How far from its end a hold is confirmed, and its seat asked for by another customer, at most.
const AROUND_MS: u64 = 60;

/// How one round at the boundary ended.
#[derive(Debug, Default)]
struct Boundary {
    confirmed: u32,
    expired: u32,
}

/// Holds a seat; at its end the owner confirms on one process and a rival books on the other.
async fn boundary(scene: &Scene, schedule: &str, seat: &str) -> bool {
    let (owner, rival) = (scene.client(0), scene.client(1));
    let held = Instant::now();
    let hold = scene.ledger.hold(&owner, schedule, &[seat], TTL.as_secs()).await.unwrap().id(201);
    let about = |late_ms| {
        TTL + Duration::from_millis(fastrand::u64(..2 * AROUND_MS) + late_ms)
            - Duration::from_millis(AROUND_MS)
    };
    // Before the end the rival is refused: a little later the race is more even.
    let (confirm_at, book_at) = (held + about(40), held + about(20));
    let confirm = async {
        tokio::time::sleep_until(confirm_at.into()).await;
        scene.ledger.confirm(&owner, &hold).await.unwrap()
    };
    let book = async {
        tokio::time::sleep_until(book_at.into()).await;
        scene.ledger.book(&rival, schedule, &[seat]).await.unwrap()
    };
    let (confirmed, booked) = tokio::join!(confirm, book);
    match (confirmed.status, booked.status) {
        (200, 409) => {}
        (409, 200) => {
            let problem = confirmed.problem(409, "hold_expired");
            assert_eq!(problem["conflicts"][0]["label"], seat, "{problem}");
        }
        _ => panic!("{seat}: {confirmed:?} {booked:?}"),
    }
    confirmed.status == 200
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_hold_is_confirmed_at_its_very_end() {
        let setup = Setup::of("confirm at the boundary").set("SWEEP_INTERVAL", "10ms");
        let scene = setup.processes(2).start().await;
        let schedule = scene.schedule(10, 50).await;
        let mut ends = Boundary::default();
        for row in 1..=10 {
            let rounds = (1..=40).map(|seat| {
                let (scene, schedule) = (&scene, &schedule);
                async move { boundary(scene, schedule, &format!("A-{row}-{seat}")).await }
            });
            for confirmed in join_all(rounds).await {
                match confirmed {
                    true => ends.confirmed += 1,
                    false => ends.expired += 1,
                }
            }
        }
        assert!(ends.confirmed > 20 && ends.expired > 20, "one-sided: {ends:?}");
        scene.inject(&format!("400 holds, within 60 ms of their end, sweeper at 10 ms: {ends:?}"));
        scene.finish().await;
    }
}

/// Locks rows for so long, in a session of its own.
fn lock_rows(primary: &'static Postgres, url: &str, rows: &str, seconds: u32) {
    let sql = format!("BEGIN; SELECT 1 FROM {rows} FOR UPDATE; SELECT pg_sleep({seconds}); COMMIT");
    let url = url.to_owned();
    std::thread::spawn(move || primary.psql(&url, &sql));
}

async fn until_locked(scene: &Scene) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep%' AND wait_event = 'PgSleep'";
    crate::harness::until("rows are locked", crate::harness::LONG, async || {
        blocking(|| scene.primary.psql(&scene.url, sql)) == "1"
    })
    .await;
}

/// A confirm that waits for a row lock past the hold's end is judged by the clock behind the lock: as a late
/// one, which succeeds while the seats are free, and names the seats that are not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_confirm_waits_past_the_end_of_its_hold() {
    // The sweeper would wait for the hold's row, too, and all requests in its lane behind it.
    let setup = Setup::of("confirm waits past the end").set("SWEEP_INTERVAL", "60s");
    let setup = setup.set("DB_LOCK_TIMEOUT", "6s").set("DB_STATEMENT_TIMEOUT", "7s");
    let scene = setup.processes(2).start().await;
    let schedule = scene.schedule(1, 4).await;
    let client = scene.client(0);
    for (seat, sold_meanwhile) in [("A-1-1", false), ("A-1-2", true)] {
        let hold = scene.ledger.hold(&client, &schedule, &[seat], 1).await.unwrap().id(201);
        // The hold's row only: its seat can still be taken over.
        let rows = format!("hold WHERE schedule_id = {schedule} AND status = 0");
        lock_rows(Postgres::shared(), &scene.url, &rows, 3);
        until_locked(&scene).await;
        let rival = async {
            tokio::time::sleep(Duration::from_millis(1_700)).await;
            if sold_meanwhile {
                let booked = scene.ledger.book(&scene.client(1), &schedule, &[seat]).await;
                assert_eq!(booked.unwrap().status, 200);
            }
        };
        let began = Instant::now();
        let (confirmed, ()) = tokio::join!(scene.ledger.confirm(&client, &hold), rival);
        assert!(began.elapsed() > TTL, "it did not wait");
        match sold_meanwhile {
            false => assert_eq!(confirmed.unwrap().status, 200),
            true => drop(confirmed.unwrap().problem(409, "hold_expired")),
        }
    }
    scene.inject("the hold's row locked over its end, once with the seat sold meanwhile");
    scene.finish().await;
}

//! A standby takes the place of the primary, and the old primary comes back.

use std::time::Duration;

use test_support::Standby;

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Scene, Setup, blocking, until};

const TAKEN: Duration = Duration::from_secs(5);

/// A primary with a standby that has everything, and processes that have sold something.
async fn with_standby(name: &'static str) -> (Scene, Standby, String) {
    let scene = Setup::of(name).own_postgres(&[]).processes(2).start().await;
    let standby = blocking(|| scene.primary.standby());
    let schedule = scene.schedule(1, 40).await;
    let crowd = Crowd::of(&scene, 12, &schedule, 40);
    scene.sells(20).await;
    crowd.stop().await;
    blocking(|| standby.wait_until_caught_up(LONG));
    (scene, standby, schedule)
}

/// Waits until both processes sell again; gives how long it took.
pub(crate) async fn both_sell(scene: &Scene, schedule: &str) -> Duration {
    let mut longest = Duration::ZERO;
    for number in 0..2 {
        let client = scene.client(number);
        let took = until("selling again", LONG, async || {
            let seat = format!("A-1-{}", fastrand::u32(1..=40));
            let patience = Duration::from_secs(1);
            let answer = scene.ledger.book_or_leave(&client, schedule, &[&seat], patience).await;
            answer.is_some_and(|answer| answer.status == 200)
        });
        longest = longest.max(took.await);
    }
    longest
}

/// Sends both processes to another server, over new connections.
fn send_to(scene: &Scene, port: u16) {
    scene.network.postgres.lead_to(port);
    scene.network.postgres.cut();
    scene.network.postgres.heal();
}

fn sold(standby: &Standby, scene: &Scene) -> String {
    blocking(|| standby.psql(&scene.url, "SELECT count(*) FROM booking"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_promoted_and_the_old_primary_returns() {
    let (mut scene, standby, schedule) = with_standby("failover, old primary returns").await;
    let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
    blocking(|| scene.primary.psql("postgres", read_only));
    blocking(|| scene.primary.kill());
    blocking(|| standby.promote());
    send_to(&scene, standby.port());
    let failed_over = both_sell(&scene, &schedule).await;
    assert!(failed_over < TAKEN + SLACK, "selling again after {failed_over:?}");
    let crowd = Crowd::of(&scene, 12, &schedule, 40);
    scene.sells(20).await;
    crowd.stop().await;

    // The old primary: first it is read-only, then it accepts writes again.
    blocking(|| scene.primary.restart());
    let there = "SELECT count(*) FROM booking";
    let stays = blocking(|| scene.primary.psql(&scene.url, there));
    let on_new = sold(&standby, &scene);
    for sql in ["SELECT 1", "ALTER SYSTEM RESET default_transaction_read_only"] {
        blocking(|| scene.primary.psql("postgres", sql));
        blocking(|| scene.primary.psql("postgres", "SELECT pg_reload_conf()"));
        send_to(&scene, scene.primary.port());
        for number in 0..2 {
            let client = scene.client(number);
            let refused = |ready: &test_support::Answer| ready.body.contains("write database");
            client.wait_until("/readyz", refused).await;
            for _ in 0..20 {
                let answer = scene.ledger.book(&client, &schedule, &["A-1-1"]).await.unwrap();
                assert!(answer.status == 503 || answer.status == 409, "{answer:?}");
            }
        }
        assert_eq!(
            blocking(|| scene.primary.psql(&scene.url, there)),
            stays,
            "sold on a lost history"
        );
    }
    assert_eq!(sold(&standby, &scene), on_new);
    send_to(&scene, standby.port());
    let returned = both_sell(&scene, &schedule).await;
    assert!(returned < TAKEN + SLACK, "selling again after {returned:?}");
    scene.inject(&format!(
        "kill -9, promotion, old primary back read-only, then read-write; selling again after \
         {failed_over:.1?} and {returned:.1?}"
    ));
    scene.url = standby.url(&scene.url);
    scene.finish().await;
}

/// A planned switch: the old primary is made read-only and still answers. No connection is closed; the service must
/// leave it without help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_demoted_primary_are_given_up() {
    let (mut scene, standby, schedule) = with_standby("switchover without a cut").await;
    let crowd = Crowd::of(&scene, 6, &schedule, 40);
    blocking(|| {
        scene.primary.psql("postgres", "ALTER SYSTEM SET default_transaction_read_only = on")
    });
    blocking(|| scene.primary.psql("postgres", "SELECT pg_reload_conf()"));
    for number in 0..2 {
        let refused = |ready: &test_support::Answer| ready.body.contains("write database");
        scene.client(number).wait_until("/readyz", refused).await;
    }
    blocking(|| standby.wait_until_caught_up(LONG));
    blocking(|| standby.promote());
    scene.network.postgres.lead_to(standby.port());
    let switched = both_sell(&scene, &schedule).await;
    assert!(switched < TAKEN + SLACK, "selling again after {switched:?}");
    crowd.stop().await;
    scene.inject(&format!(
        "old primary read-only and alive, standby promoted, no connection cut; selling again after \
         {switched:.1?}"
    ));
    scene.url = standby.url(&scene.url);
    scene.finish().await;
}

//! A COMMIT whose answer is lost, that is never sent, or that hangs: never two bookings, and the owner is never
//! refused.

use std::time::{Duration, Instant};

use test_support::Strike;

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Scene, Setup, blocking, until};

/// How often a process has noticed that a COMMIT's answer was lost.
fn noticed(scene: &Scene) -> usize {
    let lines = scene.services.iter().map(|service| service.process().output());
    lines.map(|output| output.matches("the answer to a COMMIT was lost").count()).sum()
}

/// Cuts the connection at one COMMIT after another while a crowd buys: every customer gets a definite answer.
async fn struck(name: &'static str, strike: Strike) {
    let scene = Setup::of(name).processes(2).start().await;
    let schedule = scene.schedule(1, 40).await;
    let crowd = Crowd::of(&scene, 16, &schedule, 40);
    scene.sells(10).await;
    let (mut strikes, end) = (0, Instant::now() + LONG);
    // COMMITs of heartbeats are hit, too.
    while noticed(&scene) < 30 {
        assert!(Instant::now() < end, "only {} of {strikes} hit a batch", noticed(&scene));
        scene.network.postgres.strike_commit(strike);
        until("a COMMIT comes", LONG, async || scene.network.postgres.has_struck()).await;
        strikes += 1;
        // The outcome of a batch that is hit each time would be unknown at last.
        scene.sells(0).await;
    }
    crowd.stop().await;
    let noticed = noticed(&scene);
    // The batches were looked up by their identifiers.
    assert_eq!(scene.ledger.count("unknown"), 0);
    scene.inject(&format!("{strikes} connections cut at their COMMIT, {noticed} of batches"));
    scene.finish().await;
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_commit_is_cut_before_the_server_has_it() {
        struck("COMMIT never sent", Strike::NeverSent).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_commit_is_cut_after_the_server_has_it() {
        struck("COMMIT's answer lost", Strike::AnswerLost).await;
    }
}

/// Without the database after the COMMIT its outcome cannot be looked up: `unknown`, until the same key
/// asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_be_looked_up_is_unknown_until_its_key_is_repeated() {
    let scene = Setup::of("COMMIT that cannot be looked up").quick().processes(2).start().await;
    let schedule = scene.schedule(1, 8).await;
    let client = scene.client(0);
    let mut rounds = 0;
    while scene.ledger.count("unknown") < 3 {
        assert!(rounds < 8, "the heartbeat's COMMIT was struck each time");
        rounds += 1;
        let seat = format!("A-1-{rounds}");
        scene.network.postgres.strike_commit(Strike::LineLost);
        scene.ledger.book(&client, &schedule, &[&seat]).await;
        scene.network.postgres.heal();
        client.wait_until("/readyz", |ready| ready.body.contains("\"ok\"")).await;
        // The same key on the other process, which knows nothing of it.
        scene.ledger.resolve(&scene.client(1), LONG).await;
    }
    assert_eq!(scene.ledger.count("seats_unavailable"), 0, "the owner was refused");
    scene.inject(&format!("{rounds} COMMITs delivered into a black hole"));
    scene.finish().await;
}

/// The batch of one more process is held before its COMMIT until the COMMIT has to wait for the standby.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_waits_for_a_missing_standby_is_unknown() {
    let setup = Setup::of("COMMIT hangs on a missing standby").quick();
    let scene = setup.own_postgres(&[]).processes(2).start().await;
    let (schedule, other) = (scene.schedule(1, 40).await, scene.schedule(1, 1).await);
    // No sweep, so that the first batch is the booking.
    let hold = [("SEATLOCK_FAULTS", "before_commit=pause:1s@1"), ("SWEEP_INTERVAL", "60s")];
    let held = scene.launch(&hold).await;
    let database = scene.database().await;
    let wait_for = async |standby: &str| {
        let sql = format!("ALTER SYSTEM SET synchronous_standby_names = '{standby}'");
        database.execute(&sql).await;
    };
    let reload = async || database.execute("SELECT pg_reload_conf()").await;
    let crowd = Crowd::of(&scene, 12, &schedule, 40);
    scene.sells(10).await;
    wait_for("nosuch").await;
    let order = scene.order(held.client().clone(), &other, "A-1-1");
    blocking(|| held.process().wait_for_line(|line| line.contains("a fault: Pause"), LONG));
    reload().await;
    let hung = Instant::now();
    let client = scene.client(0);
    client.wait_until("/readyz", |ready| ready.body.contains("write database")).await;
    let degraded = hung.elapsed();
    until("writes are refused", LONG, async || scene.ledger.count("read_only") > 0).await;
    client.map(&schedule, "seats").await.expect(200);
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(hung.elapsed())).await;
    assert_eq!(order.await.unwrap(), None, "the outcome of the held batch is known");
    wait_for("").await;
    reload().await;
    let again = scene.sells(0).await;
    assert!(again < Duration::from_secs(5) + SLACK, "selling again after {again:?}");
    crowd.stop().await;
    drop(held);
    assert!(scene.ledger.count("unknown") > 0, "no client got an unknown outcome");
    assert!(scene.ledger.longest() < Duration::from_millis(3_500) + SLACK);
    scene.inject(&format!(
        "synchronous_standby_names = 'nosuch' for 6 s; degraded after {degraded:.1?}, back after {again:.1?}"
    ));
    scene.finish().await;
}

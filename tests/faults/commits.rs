//! A COMMIT whose answer is lost, that was never sent, or that hangs: never two bookings, and never a refusal
//! to the owner.

use std::time::{Duration, Instant};

use test_support::Strike;

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Scene, Setup, calmly, until};

/// How often a process has noticed that a COMMIT's answer was lost.
fn noticed(scene: &Scene) -> usize {
    let lines = scene.services.iter().map(|service| service.process.output());
    lines.map(|output| output.matches("the answer to a COMMIT was lost").count()).sum()
}

/// Strikes COMMIT after COMMIT while a crowd buys: everybody gets a plain answer all the same.
async fn struck(name: &'static str, strike: Strike) {
    let scene = Setup::of(name).processes(2).start().await;
    let schedule = scene.schedule(1, 40).await;
    let crowd = Crowd::of(&scene, 16, &schedule, 40);
    until("selling", LONG, async || scene.ledger.told("200") > 10).await;
    let (mut strikes, end) = (0, Instant::now() + Duration::from_secs(6));
    while Instant::now() < end {
        scene.database_line.strike_commit(strike);
        until("a COMMIT comes", LONG, async || scene.database_line.has_struck()).await;
        strikes += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    crowd.stop().await;
    let noticed = noticed(&scene);
    assert!(noticed >= 20, "only {noticed} batches were hit");
    // The batch's identifier has told what became of it.
    assert_eq!(scene.ledger.told("unknown"), 0);
    scene.inject(&format!("{strikes} connections cut at their COMMIT, {noticed} of batches"));
    scene.finish().await;
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn t13_a_commit_is_cut_before_the_server_has_it() {
        struck("T13 COMMIT never sent", Strike::NeverSent).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn t14_a_commit_is_cut_after_the_server_has_it() {
        struck("T14 COMMIT's answer lost", Strike::AnswerLost).await;
    }
}

/// With the database gone after the COMMIT nobody can say what became of it: `unknown`, until the same key
/// asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t14_a_commit_nobody_can_ask_about_is_unknown_until_its_key_is_repeated() {
    let scene = Setup::of("T14 COMMIT, then nobody to ask").quick().processes(2).start().await;
    let schedule = scene.schedule(1, 8).await;
    let client = scene.client(0);
    let mut rounds = 0;
    while scene.ledger.told("unknown") < 3 {
        assert!(rounds < 8, "the heartbeat's COMMIT was struck each time");
        rounds += 1;
        let seat = format!("A-1-{rounds}");
        scene.database_line.strike_commit(Strike::LineLost);
        scene.ledger.book(&client, &schedule, &[&seat]).await;
        scene.database_line.heal();
        client.wait_until("/readyz", |ready| ready.body.contains("\"ok\"")).await;
        // The same key on the other process, which knows nothing of it.
        scene.ledger.resolve(&scene.client(1), LONG).await;
    }
    assert_eq!(scene.ledger.told("seats_unavailable"), 0, "the owner was refused");
    scene.inject(&format!("{rounds} COMMITs delivered into a black hole"));
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t15_a_commit_waits_for_a_standby_that_is_not_there() {
    let setup = Setup::of("T15 COMMIT hangs on a missing standby").quick();
    let scene = setup.own_postgres(&[]).processes(2).start().await;
    let schedule = scene.schedule(1, 40).await;
    let set = |value: &str| {
        let sql = format!("ALTER SYSTEM SET synchronous_standby_names = '{value}'");
        calmly(|| scene.primary.psql("postgres", &sql));
        calmly(|| scene.primary.psql("postgres", "SELECT pg_reload_conf()"));
    };
    let crowd = Crowd::of(&scene, 12, &schedule, 40);
    until("selling", LONG, async || scene.ledger.told("200") > 10).await;
    set("nosuch");
    let hung = Instant::now();
    let client = scene.client(0);
    client.wait_until("/readyz", |ready| ready.body.contains("write database")).await;
    let degraded = hung.elapsed();
    until("writes are refused", LONG, async || scene.ledger.told("read_only") > 0).await;
    client.map(&schedule, "seats").await.expect(200);
    tokio::time::sleep(Duration::from_secs(6).saturating_sub(hung.elapsed())).await;
    set("");
    let healed = Instant::now();
    let before = scene.ledger.told("200");
    until("selling again", LONG, async || scene.ledger.told("200") > before).await;
    let again = healed.elapsed();
    assert!(again < Duration::from_secs(5) + SLACK, "selling again after {again:?}");
    crowd.stop().await;
    assert!(scene.ledger.told("unknown") > 0, "nobody was told that the outcome is unknown");
    assert!(scene.ledger.longest() < Duration::from_millis(3_500) + SLACK);
    scene.inject(&format!(
        "synchronous_standby_names = 'nosuch' for 6 s; degraded after {degraded:.1?}, back after {again:.1?}"
    ));
    scene.finish().await;
}

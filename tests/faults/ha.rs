//! A cluster under Patroni, etcd and HAProxy, run from the shipped files (`packaging/patroni/`): it loses its leader, its
//! synchronous standby or etcd while two processes sell. Nothing that was acknowledged is lost, and selling resumes
//! within 15 seconds.
//!
//! `make test-ha`

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use test_support::Patroni;
use tokio::task::JoinHandle;

use crate::crowd::Crowd;
use crate::failover::both_sell;
use crate::harness::{LONG, SLACK, Scene, Setup, blocking, until};
use crate::ledger::Ledger;

/// The promise: the longest time in which no seat is sold.
const RESUMED: Duration = Duration::from_secs(15);

/// The seats that customers buy and give back.
const SEATS: u32 = 40;

/// How long etcd is unavailable: longer than the lease of the leader.
const WITHOUT_ETCD: Duration = Duration::from_secs(20);

/// A scenario on a cluster, and customers of both processes.
struct Sale {
    scene: Scene,
    schedule: String,
    crowd: Crowd,
    pauses: Pauses,
}

/// Measures the times without a sale.
struct Pauses {
    stop: Arc<AtomicBool>,
    longest: JoinHandle<Duration>,
}

impl Pauses {
    fn begin(ledger: &Arc<Ledger>) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let longest = tokio::spawn(longest_pause(Arc::clone(ledger), Arc::clone(&stop)));
        Self { stop, longest }
    }

    async fn longest(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.longest.await.unwrap()
    }
}

async fn longest_pause(ledger: Arc<Ledger>, stop: Arc<AtomicBool>) -> Duration {
    let (mut sold, mut since, mut longest) = (ledger.count("200"), Instant::now(), Duration::ZERO);
    while !stop.load(Ordering::Relaxed) {
        longest = longest.max(since.elapsed());
        let now = ledger.count("200");
        if now > sold {
            (sold, since) = (now, Instant::now());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    longest
}

impl Sale {
    async fn begin(name: &'static str) -> Self {
        let scene = Setup::of(name).cluster().processes(2).start().await;
        let schedule = scene.schedule(1, SEATS).await;
        let crowd = Crowd::of(&scene, 12, &schedule, SEATS);
        scene.sells(50).await;
        let pauses = Pauses::begin(&scene.ledger);
        Self { scene, schedule, crowd, pauses }
    }

    fn cluster(&self) -> &Patroni {
        self.scene.cluster()
    }

    fn node_with(&self, role: &str) -> usize {
        blocking(|| self.cluster().node_with(role))
    }

    /// Waits until each process has sold again.
    async fn both_sell(&self) {
        both_sell(&self.scene, &self.schedule).await;
    }

    /// Ends the sale when the cluster is complete again: checks the longest pause, and what was acknowledged.
    async fn end(self, injected: &str, limit: Duration) {
        let Self { scene, crowd, pauses, .. } = self;
        blocking(|| scene.cluster().wait_until_complete());
        scene.sells(50).await;
        let pause = pauses.longest().await;
        let logs = scene.cluster().logs();
        assert!(pause < limit, "{}: no seat was sold for {pause:?}\n{logs}", scene.name);
        crowd.stop().await;
        scene.inject(&format!("{injected}; sold nothing for {pause:.1?}"));
        scene.finish().await;
    }
}

mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_machine_of_the_leader_is_lost() {
        let sale = Sale::begin("leader's machine lost").await;
        let leader = sale.node_with("Leader");
        blocking(|| sale.cluster().kill(leader));
        sale.both_sell().await;
        blocking(|| sale.cluster().restart(leader));
        sale.end("kill -9 of the leader and its Patroni, both started again", RESUMED).await;
    }
}

/// Without a watchdog the old leader answers again for a moment. It has no synchronous standby by then, so that it
/// acknowledges nothing, and HAProxy has closed its connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_of_the_leader_is_paused_and_continues() {
    let sale = Sale::begin("leader's machine paused").await;
    let leader = sale.node_with("Leader");
    blocking(|| sale.cluster().freeze(leader));
    sale.both_sell().await;
    blocking(|| sale.cluster().thaw(leader));
    let on_the_old =
        blocking(|| sale.cluster().psql_on(leader, "CREATE TABLE written_too_late ()"));
    let logs = || sale.cluster().logs();
    assert!(on_the_old.is_err(), "the old leader has committed something\n{}", logs());
    sale.both_sell().await;
    let found = "SELECT count(*) FROM pg_tables WHERE tablename = 'written_too_late'";
    assert_eq!(sale.scene.database().await.number(found).await, 0);
    sale.end("SIGSTOP of the leader and its Patroni, SIGCONT while another one sells", RESUMED)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_is_switched_over() {
    let sale = Sale::begin("switchover").await;
    for _ in 0..2 {
        let (leader, standby) = (sale.node_with("Leader"), sale.node_with("Sync Standby"));
        blocking(|| sale.cluster().switch_over(leader, standby));
        sale.both_sell().await;
        blocking(|| sale.cluster().wait_until_complete());
        assert_eq!(sale.node_with("Leader"), standby);
    }
    sale.end("patronictl switchover, twice", RESUMED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_of_the_leader_crashes() {
    let sale = Sale::begin("leader's PostgreSQL crashed").await;
    let leader = sale.node_with("Leader");
    blocking(|| sale.cluster().kill_postgresql(leader));
    sale.both_sell().await;
    assert_ne!(sale.node_with("Leader"), leader, "it was started again instead of replaced");
    sale.end("kill -9 of the leader's PostgreSQL alone", RESUMED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_machine_of_the_synchronous_standby_is_paused() {
    let sale = Sale::begin("standby's machine paused").await;
    let standby = sale.node_with("Sync Standby");
    blocking(|| sale.cluster().freeze(standby));
    let replaced = async || sale.node_with("Sync Standby") != standby;
    until("the other standby confirms commits", LONG, replaced).await;
    sale.both_sell().await;
    blocking(|| sale.cluster().thaw(standby));
    sale.end("SIGSTOP of the synchronous standby and its Patroni", RESUMED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_is_lost_and_the_leader_keeps_selling() {
    let sale = Sale::begin("etcd lost").await;
    let leader = sale.node_with("Leader");
    blocking(|| sale.cluster().kill_etcd());
    tokio::time::sleep(WITHOUT_ETCD).await;
    sale.both_sell().await;
    blocking(|| sale.cluster().restart_etcd());
    blocking(|| sale.cluster().wait_until_complete());
    assert_eq!(sale.node_with("Leader"), leader);
    sale.end("kill -9 of all members of etcd, back after 20 s", SLACK * 2).await;
}

//! A process of the service is killed, stopped, left by its clients, replaced: nothing acknowledged is lost, and
//! nothing refused has an effect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use test_support::Client;

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Scene, Setup, blocking, until};
use crate::ledger::Ledger;

/// The fail points, in the order in which a booking reaches them.
const POINTS: [&str; 8] = [
    "after_lock",
    "after_begin",
    "after_row_lock",
    "before_commit",
    "after_commit",
    "before_snapshot",
    "before_unlock",
    "before_answer",
];

/// Sessions of the service that are in a transaction and do nothing.
fn idle_in_transaction(scene: &Scene) -> String {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
               AND state LIKE 'idle in transaction%'";
    blocking(|| scene.primary.psql(&scene.url, sql))
}

/// Buys, and does not wait for the answer for longer than a moment; reads, too.
async fn impatient(client: Client, ledger: Arc<Ledger>, schedule: String, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        let patience = Duration::from_millis(fastrand::u64(..=50));
        let seat = format!("A-{}-{}", fastrand::u32(1..=20), fastrand::u32(1..=50));
        if fastrand::bool() {
            drop(ledger.book_or_leave(&client, &schedule, &[&seat], patience).await);
        } else {
            let path = format!("/api/v1/bookings?schedule_id={schedule}");
            let read = client.try_send(client.request(Method::GET, &path));
            drop(tokio::time::timeout(patience, read).await);
        }
    }
}

pub(crate) mod smoke {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn clients_leave_at_any_moment() {
        let setup = Setup::of("clients leave").set("WRITE_DB_POOL", "2");
        let scene = setup.set("READ_DB_POOL", "2").start().await;
        let schedule = scene.schedule(20, 50).await;
        let stop = Arc::new(AtomicBool::new(false));
        let customers: Vec<_> = (0..32)
            .map(|_| {
                let ledger = Arc::clone(&scene.ledger);
                let (schedule, stop) = (schedule.clone(), Arc::clone(&stop));
                tokio::spawn(impatient(scene.client(0), ledger, schedule, stop))
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(6)).await;
        stop.store(true, Ordering::Relaxed);
        for customer in customers {
            customer.await.unwrap();
        }
        let idle = async || idle_in_transaction(&scene) == "0";
        until("no session is idle in a transaction", SLACK, idle).await;
        assert!(!scene.primary.log().contains("current transaction is aborted"));
        assert!(scene.ledger.count("left") > 100, "no client left");
        // No place in a queue has leaked.
        for actor in ["booking", "seat_lock"] {
            let waiting = format!("seatlock_actor_pending{{actor=\"{actor}\"}}");
            assert_eq!(scene.metric(&waiting).await, 0.0, "{actor}");
        }
        scene.inject("32 clients, each gone after 0 to 50 ms, pools of 2");
        scene.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_killed_at_every_point() {
    let mut scene = Setup::of("kill -9 at each point").quick().processes(0).start().await;
    scene.add(&[]).await;
    let schedule = scene.schedule(1, 20).await;
    for (number, point) in POINTS.into_iter().enumerate() {
        scene.relaunch(0, &[("SEATLOCK_FAULTS", &format!("{point}=kill@2"))]).await;
        let client = scene.client(0);
        let seats = [format!("A-1-{}", 2 * number + 1), format!("A-1-{}", 2 * number + 2)];
        let first = scene.ledger.book(&client, &schedule, &[&seats[0]]).await;
        assert_eq!(first.map(|answer| answer.status), Some(200), "{point}");
        let second = scene.ledger.book(&client, &schedule, &[&seats[1]]).await;
        assert!(second.is_none(), "{point}: {second:?}");
        assert_ne!(scene.services[0].ended(LONG), 0, "{point}");
        scene.relaunch(0, &[]).await;
        scene.ledger.resolve(&scene.client(0), LONG).await;
        assert_eq!(scene.ledger.bookings().len(), 2 * number + 2, "{point}");
    }
    assert_eq!(scene.ledger.count("seats_unavailable"), 0, "an owner was refused");
    scene.inject("one death at each of 9 points, between two bookings");
    scene.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_fails_at_every_point() {
    let mut scene = Setup::of("error at each point").quick().processes(0).start().await;
    scene.add(&[]).await;
    let schedule = scene.schedule(1, 20).await;
    for (number, point) in POINTS.into_iter().enumerate() {
        scene.relaunch(0, &[("SEATLOCK_FAULTS", &format!("{point}=error@2"))]).await;
        let client = scene.client(0);
        let seats = [format!("A-1-{}", 2 * number + 1), format!("A-1-{}", 2 * number + 2)];
        for seat in &seats {
            scene.ledger.book(&client, &schedule, &[seat]).await;
            assert!(scene.services[0].process().is_running(), "{point}");
        }
        let process = scene.services[0].process();
        blocking(|| process.wait_for_line(|line| line.contains("a fault: Error"), LONG));
        scene.ledger.resolve(&client, LONG).await;
        assert_eq!(scene.ledger.bookings().len(), 2 * number + 2, "{point}");
    }
    assert_eq!(scene.ledger.count("seats_unavailable"), 0, "an owner was refused");
    scene.inject("one failed or panicking step at each of 9 points");
    scene.finish().await;
}

/// Stopped in the middle of its transaction for longer than every time-out, a process neither keeps the seat
/// from others nor says afterwards that it was sold.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_is_stopped_past_every_timeout() {
    let mut scene = Setup::of("SIGSTOP in a transaction").quick().processes(1).start().await;
    scene.add(&[("SEATLOCK_FAULTS", "before_commit=pause:2s@1")]).await;
    let schedule = scene.schedule(1, 4).await;
    let (healthy, stopped) = (scene.client(0), scene.client(1));
    let order = scene.order(stopped, &schedule, "A-1-1");
    let in_transaction = async || idle_in_transaction(&scene) == "1";
    until("it is about to commit", LONG, in_transaction).await;
    blocking(|| scene.services[1].process().pause());
    let stopped_at = Instant::now();
    let free_again = async || {
        let booked = scene.ledger.book(&healthy, &schedule, &["A-1-1"]).await;
        booked.is_some_and(|answer| answer.status == 200)
    };
    let sold_after = until("another customer has the seat", LONG, free_again).await;
    tokio::time::sleep(Duration::from_secs(9).saturating_sub(stopped_at.elapsed())).await;
    blocking(|| scene.services[1].process().resume());
    let answer = order.await.unwrap();
    assert!(answer.is_none_or(|answer| answer.status != 200), "it acknowledged the seat");
    scene.inject(&format!(
        "SIGSTOP before COMMIT for 9 s; the seat was sold elsewhere after {sold_after:.1?}"
    ));
    scene.finish().await;
}

/// A lock may end before its request releases it, and belong to another request by then. It stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_release_leaves_the_next_lock_alone() {
    let mut scene = Setup::of("lock ends before its release").quick().processes(1).start().await;
    scene.add(&[("SEATLOCK_FAULTS", "before_unlock=pause:7s@1")]).await;
    let schedule = scene.schedule(1, 4).await;
    let (healthy, late) = (scene.client(0), scene.client(1));
    let order = scene.order(late, &schedule, "A-1-1");
    // Once it is sold, the shop gives it back, and holds it for another customer when the lock has ended.
    let sold = "SELECT schedule_id || '-' || replace(id::text, '-', '') FROM booking";
    let booking = || blocking(|| scene.primary.psql(&scene.url, sold));
    until("it is sold", LONG, async || !booking().is_empty()).await;
    healthy.cancel(&booking(), None).await.expect(200);
    let mut hold = String::new();
    let held = async || {
        let answer = scene.ledger.hold(&healthy, &schedule, &["A-1-1"], 30).await.unwrap();
        answer.status == 201 && {
            hold = answer.id(201);
            true
        }
    };
    until("the lock has ended", LONG, held).await;
    assert_eq!(order.await.unwrap().map(|answer| answer.status), Some(200));
    let key = format!("{{sch:{schedule}}}:seat:0");
    let lost = async || scene.metric("seatlock_seat_lock_lost_total").await == 1.0;
    until("the release found the lock gone", SLACK, lost).await;
    assert!(
        !blocking(|| scene.redis.cli(&["get", &key])).is_empty(),
        "the next one's lock is gone"
    );
    scene.ledger.confirm(&healthy, &hold).await.unwrap().expect(200);
    scene.inject("a release 7 s after its lock of 5 s was taken");
    scene.finish().await;
}

/// Where requests are sent: processes that say they are ready, as a load balancer would ask them.
struct Balancer {
    ready: Vec<Arc<AtomicBool>>,
}

impl Balancer {
    fn of(scene: &Scene) -> Self {
        let ready = scene.services.iter().map(|service| {
            let ready = Arc::new(AtomicBool::new(true));
            let (client, shared) = (service.client().clone(), Arc::clone(&ready));
            tokio::spawn(async move {
                // Until the scenario ends.
                while Arc::strong_count(&shared) > 1 {
                    let answer = client.try_send(client.request(Method::GET, "/readyz")).await;
                    let is_ready = answer.is_ok_and(|answer| answer.status == 200);
                    shared.store(is_ready, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
            ready
        });
        Self { ready: ready.collect() }
    }

    fn any(&self) -> usize {
        let start = fastrand::usize(..self.ready.len());
        let all = (0..self.ready.len()).map(|number| (start + number) % self.ready.len());
        all.into_iter().find(|number| self.ready[*number].load(Ordering::SeqCst)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_are_replaced_in_turn_under_load() {
    let setup = Setup::of("rolling restart").set("DRAIN_DELAY", "2s");
    let scene = setup.processes(2).start().await;
    let schedule = scene.schedule(40, 50).await;
    let balancer = Arc::new(Balancer::of(&scene));
    let stop = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..16u32)
        .map(|customer| {
            let clients = [scene.client(0), scene.client(1)];
            let (ledger, schedule) = (Arc::clone(&scene.ledger), schedule.clone());
            let (balancer, stop) = (Arc::clone(&balancer), Arc::clone(&stop));
            tokio::spawn(async move {
                for seat in 0..120 {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let place = customer * 120 + seat;
                    let label = format!("A-{}-{}", place / 50 + 1, place % 50 + 1);
                    let client = &clients[balancer.any()];
                    let answer = ledger.book(client, &schedule, &[&label]).await;
                    assert_eq!(answer.map(|answer| answer.status), Some(200), "{label}");
                    tokio::time::sleep(Duration::from_millis(fastrand::u64(60..140))).await;
                }
            })
        })
        .collect();
    let mut drained = Duration::ZERO;
    for number in 0..2 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let began = Instant::now();
        scene.services[number].process().terminate();
        assert_eq!(scene.services[number].ended(Duration::from_secs(30)), 0);
        drained = drained.max(began.elapsed());
        scene.relaunch(number, &[]).await;
        let ready = async || balancer.ready[number].load(Ordering::SeqCst);
        until("the balancer has noticed", LONG, ready).await;
    }
    stop.store(true, Ordering::Relaxed);
    for ended in join_all(customers).await {
        ended.unwrap();
    }
    scene.never(&["no answer", "unknown", "draining", "dependency_unavailable"]);
    scene.until_no_locks(SLACK).await;
    scene.inject(&format!("SIGTERM to each of two in turn, ended within {drained:.1?}"));
    scene.finish().await;
}

/// Without a load balancer: what was acknowledged before the end is stored, and no lock is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_under_load_loses_nothing() {
    let setup = Setup::of("SIGTERM under load").set("DRAIN_DELAY", "200ms");
    let scene = setup.start().await;
    let schedule = scene.schedule(1, 40).await;
    for _ in 0..3 {
        let crowd = Crowd::of(&scene, 32, &schedule, 40);
        scene.sells(20).await;
        scene.services[0].process().terminate();
        let asked = Instant::now();
        assert_eq!(scene.services[0].ended(Duration::from_secs(30)), 0);
        assert!(asked.elapsed() < Duration::from_secs(17), "it took {:?}", asked.elapsed());
        crowd.stop().await;
        scene.until_no_locks(SLACK).await;
        scene.relaunch(0, &[]).await;
    }
    assert_eq!(scene.ledger.count("unknown"), 0);
    scene.inject("three times SIGTERM");
    scene.finish().await;
}

//! Injects faults into the servers and processes, one after another, and ends each.

use std::time::Duration;

use fastrand::Rng;
use test_support::Citus;
use tokio::task::block_in_place;
use tokio::time::sleep;

use crate::history::What;
use crate::workload::Fixture;
use crate::world::PODS;

/// The faults of single servers, by the names in the record. A cluster has `worker_terminate` as well.
pub(crate) const FAULTS: [&str; 10] = [
    "redis_kill",
    "redis_pause",
    "redis_flush",
    "redis_lost_locks",
    "redis_relay_cut",
    "postgres_terminate",
    "postgres_relay_cut",
    "postgres_black_hole",
    "pod_kill",
    "postgres_kill",
];

/// Injects each of the faults once, in an order that the seed decides.
pub(crate) async fn strike(fixture: &Fixture, faults: &[&str], rng: &mut Rng) {
    let mut order = faults.to_vec();
    rng.shuffle(&mut order);
    for fault in order {
        let name = fault.to_owned();
        fixture.recorder.note("nemesis", What::Fault { name: name.clone(), begins: true });
        inflict(fixture, fault, rng).await;
        fixture.recorder.note("nemesis", What::Fault { name, begins: false });
        sleep(Duration::from_millis(rng.u64(500..1_500))).await;
    }
}

async fn inflict(fixture: &Fixture, fault: &str, rng: &mut Rng) {
    let world = &fixture.world;
    let while_ = Duration::from_millis(rng.u64(800..2_000));
    let place = rng.usize(..PODS);
    let network = world.network(place);
    match fault {
        "redis_kill" => {
            block_in_place(|| world.redis.kill());
            sleep(while_).await;
            block_in_place(|| world.redis.restart());
        }
        "redis_pause" => {
            block_in_place(|| world.redis.pause());
            sleep(while_).await;
            block_in_place(|| world.redis.resume());
        }
        "redis_flush" => {
            for _ in 0..10 {
                block_in_place(|| world.redis.cli(&["flushall"]));
                sleep(Duration::from_millis(100)).await;
            }
        }
        "redis_lost_locks" => lose_locks(fixture, rng).await,
        "redis_relay_cut" => {
            block_in_place(|| network.redis.cut());
            sleep(while_).await;
            network.redis.heal();
        }
        "postgres_terminate" => {
            for _ in 0..8 {
                terminate_some(fixture);
                sleep(Duration::from_millis(rng.u64(50..300))).await;
            }
        }
        "postgres_relay_cut" => {
            block_in_place(|| network.postgres.cut());
            sleep(while_).await;
            network.postgres.heal();
        }
        "postgres_black_hole" => {
            network.postgres.black_hole();
            sleep(while_ * 2).await;
            block_in_place(|| network.postgres.cut());
            network.postgres.heal();
        }
        "pod_kill" => {
            world.kill_pod(place).await;
            sleep(while_).await;
            world.start_pod(place).await;
        }
        "postgres_kill" => {
            block_in_place(|| world.postgres.kill());
            sleep(while_).await;
            block_in_place(|| world.postgres.restart());
        }
        "worker_terminate" => {
            let cluster = Citus::given().unwrap();
            for _ in 0..8 {
                let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND backend_type = 'client backend' AND random() < 0.5";
                block_in_place(|| cluster.on_workers(world.database(), sql));
                sleep(Duration::from_millis(rng.u64(50..300))).await;
            }
        }
        other => panic!("no fault is called {other}"),
    }
}

/// Deletes some of the locks, and ends others early.
async fn lose_locks(fixture: &Fixture, rng: &mut Rng) {
    let redis = &fixture.world.redis;
    for _ in 0..12 {
        let keys = block_in_place(|| redis.cli(&["--raw", "keys", "{sch:*"]));
        for key in keys.lines() {
            if rng.bool() {
                continue;
            }
            let loss: &[&str] = if rng.bool() { &["del", key] } else { &["pexpire", key, "1"] };
            block_in_place(|| redis.cli(loss));
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn terminate_some(fixture: &Fixture) {
    let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE application_name = 'seatlock' AND pid <> pg_backend_pid() AND random() < 0.5";
    block_in_place(|| fixture.world.postgres.psql(fixture.world.database(), sql));
}

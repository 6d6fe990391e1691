//! Random faults that overlap and begin and end at random, round after round.

use std::time::{Duration, Instant};

use fastrand::Rng;
use test_support::Strike;

use crate::crowd::Crowd;
use crate::harness::{LONG, SLACK, Scene, Setup, blocking};

/// How long it takes unless `SWIZZLE_SECONDS` is set.
const USUAL_S: u64 = 45;

/// What goes wrong, and what ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    RedisKilled,
    RedisStopped,
    RedisBlackHole,
    DatabaseKilled,
    DatabaseStopped,
    DatabaseCut,
    DatabaseBlackHole,
    CommitNeverSent,
    CommitAnswerLost,
    ProcessKilled(usize),
    ProcessStopped(usize),
}

const FAULTS: [Fault; 13] = [
    Fault::RedisKilled,
    Fault::RedisStopped,
    Fault::RedisBlackHole,
    Fault::DatabaseKilled,
    Fault::DatabaseStopped,
    Fault::DatabaseCut,
    Fault::DatabaseBlackHole,
    Fault::CommitNeverSent,
    Fault::CommitAnswerLost,
    Fault::ProcessKilled(0),
    Fault::ProcessKilled(1),
    Fault::ProcessStopped(0),
    Fault::ProcessStopped(1),
];

impl Fault {
    fn begin(self, scene: &Scene) {
        match self {
            Self::RedisKilled => scene.redis.kill(),
            Self::RedisStopped => scene.redis.pause(),
            Self::RedisBlackHole => scene.network.redis.black_hole(),
            Self::DatabaseKilled => scene.primary.kill(),
            Self::DatabaseStopped => scene.primary.pause(),
            Self::DatabaseCut => scene.network.postgres.cut(),
            Self::DatabaseBlackHole => scene.network.postgres.black_hole(),
            Self::CommitNeverSent => scene.network.postgres.strike_commit(Strike::NeverSent),
            Self::CommitAnswerLost => scene.network.postgres.strike_commit(Strike::AnswerLost),
            Self::ProcessKilled(number) => scene.services[number].process().kill(),
            Self::ProcessStopped(number) => scene.services[number].process().pause(),
        }
    }

    fn end(self, scene: &Scene) {
        match self {
            Self::RedisKilled => blocking(|| scene.redis.restart()),
            Self::RedisStopped => blocking(|| scene.redis.resume()),
            Self::RedisBlackHole => scene.network.redis.heal(),
            Self::DatabaseKilled => blocking(|| scene.primary.restart()),
            Self::DatabaseStopped => blocking(|| scene.primary.resume()),
            Self::DatabaseCut | Self::DatabaseBlackHole => scene.network.postgres.heal(),
            Self::CommitNeverSent | Self::CommitAnswerLost => {}
            Self::ProcessKilled(number) => scene.start_again(number, &[]),
            Self::ProcessStopped(number) => blocking(|| scene.services[number].process().resume()),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_faults_together() {
    let read = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = read("SWIZZLE_SEED").unwrap_or_else(|| fastrand::u64(..));
    let length = Duration::from_secs(read("SWIZZLE_SECONDS").unwrap_or(USUAL_S));
    let mut random = Rng::with_seed(seed);
    let setup = Setup::of("random faults together").quick().set("OUTAGE_GRACE", "1s");
    let setup = setup.own_postgres(&[]);
    let scene = setup.processes(2).start().await;
    let schedule = scene.schedule(1, 40).await;
    let hold = scene.ledger.hold(&scene.client(0), &schedule, &["A-1-40"], 3_000).await;
    let hold = hold.unwrap().id(201);
    let crowd = Crowd::of(&scene, 16, &schedule, 40);
    let (began, mut rounds, mut count) = (Instant::now(), 0, 0);
    let (mut up, mut worst) = (Duration::ZERO, Duration::ZERO);
    while began.elapsed() < length {
        let mut faults = FAULTS.to_vec();
        random.shuffle(&mut faults);
        faults.truncate(random.usize(1..=4));
        for fault in &faults {
            blocking(|| fault.begin(&scene));
            tokio::time::sleep(Duration::from_millis(random.u64(..1_500))).await;
        }
        random.shuffle(&mut faults);
        for fault in &faults {
            tokio::time::sleep(Duration::from_millis(random.u64(..1_500))).await;
            fault.end(&scene);
        }
        (rounds, count) = (rounds + 1, count + faults.len());
        // As a platform does: without its database a start fails.
        let healed = Instant::now();
        while !scene.are_up().await {
            assert!(healed.elapsed() < LONG, "seed {seed}: {faults:?}: a process does not start");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        up = up.max(healed.elapsed());
        let again = scene.sells(0).await;
        worst = worst.max(again);
        assert!(again < Duration::from_secs(10) + SLACK, "seed {seed}: {faults:?}: {again:?}");
    }
    crowd.stop().await;
    for service in &scene.services {
        service.ready().await;
    }
    scene.ledger.resolve(&scene.client(1), LONG).await;
    let confirmed = scene.ledger.confirm(&scene.client(1), &hold).await.unwrap();
    assert_eq!(confirmed.status, 200, "seed {seed}: {confirmed:?}");
    assert!(scene.ledger.count("200") > 100, "seed {seed}: hardly anything was sold");
    scene.inject(&format!(
        "{count} faults in {rounds} rounds, seed {seed}; all up after {up:.1?} and selling {worst:.1?} later \
         at most"
    ));
    scene.finish().await;
}

//! A run from its seed to the result of the checkers: warm, chaos, heal, resolve, quiesce, final.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use test_support::Database;
use tokio::time::sleep;

use crate::checks::{self, Expected};
use crate::client::PATIENCE;
use crate::history::{Action, Answer, End, Evidence, History, Phase, Violation, What};
use crate::recorder::Recorder;
use crate::verdict::verdict;
use crate::workload::{Buyer, Fixture};
use crate::world::{PODS, SEATS, SOON, World};
use crate::{dump, nemesis};

/// The program with all its guards.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_seatlock");

/// What to run.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// The test, for the command that repeats the run.
    pub(crate) test: String,
    pub(crate) program: PathBuf,
    pub(crate) buyers: usize,
    pub(crate) warm: Duration,
    /// Each once a round.
    pub(crate) faults: Vec<&'static str>,
    pub(crate) rounds: usize,
    pub(crate) expected: Expected,
}

/// The result of a run.
pub(crate) struct Finished {
    pub(crate) evidence: Evidence,
    pub(crate) violations: Vec<Violation>,
    pub(crate) verdict: String,
}

/// How often a key whose outcome is unknown is repeated.
const RESOLVE_TRIES: usize = 60;

/// The seed that the environment asks for, or another one each time.
pub(crate) fn seed() -> u64 {
    let asked = std::env::var("HISTORY_SEED").ok();
    asked.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..1_000_000))
}

/// Runs it.
pub(crate) async fn run(plan: &Plan) -> Finished {
    let (seed, test) = (plan.seed, &plan.test);
    let file = format!("history-{seed}-{}.jsonl", test.replace("::", "-"));
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let world = World::start(&plan.program).await;
    let fixture = Arc::new(Fixture {
        world,
        recorder: Recorder::create(&path),
        stop: AtomicBool::new(false),
        unknown: Mutex::default(),
    });
    let auditing = tokio::spawn(audit_on(Arc::clone(&fixture)));
    act(&fixture, plan).await;
    resolve(&fixture).await;
    fixture.phase(Phase::Quiesce);
    disturb(&fixture).await;
    come_late(&fixture).await;
    let evidence = finish(&fixture, auditing).await;

    let history = History::of(&fixture.recorder.events());
    let mut violations = checks::check(&history, &evidence);
    violations.extend(checks::coverage(&history, &evidence, &plan.expected));
    let features = "faults,rabbitmq,kafka";
    let replay = format!(
        "HISTORY_SEED={seed} cargo test --features {features} --test history -- {test} --nocapture"
    );
    let verdict = verdict(&fixture, &history, &violations, &replay);
    let (ops, audits) = (history.ops.len(), history.audits.len());
    let guards = &evidence.guard_saves;
    eprintln!("{test}, seed {seed}: {ops} operations, {audits} audits, guards {guards:?}");
    Finished { evidence, violations, verdict }
}

/// Warm, chaos and heal, with all buyers buying.
async fn act(fixture: &Arc<Fixture>, plan: &Plan) {
    fixture.phase(Phase::Warm);
    let buyers: Vec<_> = (0..plan.buyers)
        .map(|number| tokio::spawn(Buyer::new(fixture, number, plan.seed).run()))
        .collect();
    sleep(plan.warm).await;
    fixture.phase(Phase::Chaos);
    let mut rng = Rng::with_seed(plan.seed);
    for _ in 0..plan.rounds {
        nemesis::strike(fixture, &plan.faults, &mut rng).await;
    }
    fixture.phase(Phase::Heal);
    sleep(plan.warm).await;
    fixture.stop.store(true, Ordering::SeqCst);
    for buyer in buyers {
        buyer.await.unwrap();
    }
}

/// Audits the database about once a second.
async fn audit_on(fixture: Arc<Fixture>) {
    let mut database = None;
    loop {
        sleep(Duration::from_secs(1)).await;
        let known = match &database {
            Some(known) => known,
            None => database.insert(Database::postgres(fixture.world.database()).await),
        };
        // While the database is unavailable an audit fails.
        if let Ok(violations) = known.violations(PROGRAM).await {
            fixture.recorder.note("auditor", What::Audit { violations });
        }
    }
}

/// Repeats every key whose outcome is unknown until it is known.
async fn resolve(fixture: &Arc<Fixture>) {
    fixture.phase(Phase::Resolve);
    let mut unknown = std::mem::take(&mut *fixture.unknown.lock().unwrap());
    unknown.sort_by(|one, other| one.0.cmp(&other.0));
    unknown.dedup_by(|one, other| one.0 == other.0);
    for (key, action) in unknown {
        for attempt in 0..RESOLVE_TRIES {
            let asked = (Some(key.clone()), action.clone());
            let (end, _) = fixture.perform("resolver", attempt % PODS, asked, PATIENCE).await;
            match end {
                End::Ok { .. } => break,
                End::Fail { status, code }
                    if (1..500).contains(&status) && code != "request_in_progress" =>
                {
                    break;
                }
                _ => {}
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
    // The record has the keys whose outcome is still unknown.
    fixture.unknown.lock().unwrap().clear();
}

/// Replaces the seat lock of a hold by a lock of another owner, and ends or extends the hold: the other lock
/// must stay.
async fn disturb(fixture: &Arc<Fixture>) {
    let redis =
        |arguments: &[&str]| tokio::task::block_in_place(|| fixture.world.redis.cli(arguments));
    for round in 0..20_u32 {
        let schedule = fixture.world.schedules[1];
        let seat = round % SEATS;
        let key = format!("disturbed-{round}");
        let hold = Action::Hold { schedule, seats: vec![seat], customer: key.clone(), ttl_s: 2 };
        let asked = (Some(key), hold);
        let (end, _) = fixture.perform("disturber", 0, asked, PATIENCE).await;
        let End::Ok { answer: Answer::Hold { id, .. }, .. } = end else { continue };
        let lock = format!("{{sch:{schedule}}}:seat:{seat}");
        let token = format!("{:032x}", 0xbad_0000 + round);
        // Only if there is a lock: without Redis the service takes none.
        let planted = redis(&["set", &lock, &token, "xx", "px", "60000"]) == "OK";
        let (key, action) = match round % 2 {
            0 => (None, Action::Release { hold: id }),
            _ => {
                let key = format!("extended-{round}");
                (Some(key), Action::Extend { hold: id, ttl_s: 3 })
            }
        };
        fixture.perform("disturber", 0, (key, action), PATIENCE).await;
        sleep(Duration::from_millis(200)).await;
        if planted {
            let left_alone = redis(&["get", &lock]) == token;
            fixture.recorder.note("nemesis", What::Stranger { left_alone });
            redis(&["del", &lock]);
        }
    }
}

/// Extends some holds that have ended, and confirms others after another customer has taken their seat.
async fn come_late(fixture: &Arc<Fixture>) {
    let schedule = fixture.world.schedules[2];
    let ask = async |name: String, action: Action| {
        fixture.perform("latecomer", 0, (Some(name), action), PATIENCE).await.0
    };
    let hold = async |name: String, seat: u32, ttl_s: u64| {
        let customer = name.clone();
        let action = Action::Hold { schedule, seats: vec![seat], customer, ttl_s };
        match ask(name, action).await {
            End::Ok { answer: Answer::Hold { id, .. }, .. } => Some(id),
            _ => None,
        }
    };
    let mut ended = Vec::new();
    for seat in 0..SEATS {
        let id = hold(format!("late-{seat}"), seat, 1).await;
        ended.extend(id.map(|id| (seat, id)));
    }
    // Past their ends, and past the sweeper.
    sleep(Duration::from_millis(2_500)).await;
    for (seat, id) in ended {
        let name = format!("return-{seat}");
        if seat % 2 == 0 {
            ask(name, Action::Extend { hold: id, ttl_s: 2 }).await;
        } else if hold(format!("other-{seat}"), seat, 3).await.is_some() {
            ask(name, Action::Confirm { hold: id }).await;
        }
    }
}

/// Waits until no hold or lock is left, reads the evidence, asks for every seat, and reads the evidence again.
async fn finish(fixture: &Arc<Fixture>, auditing: tokio::task::JoinHandle<()>) -> Evidence {
    let quiet = |evidence: &Evidence| {
        let held = |row: &crate::history::ScheduleRow| row.seats.iter().any(|seat| seat.0 == 1);
        evidence.locks.is_empty() && !evidence.schedules.values().any(held)
    };
    let end = Instant::now() + SOON / 2;
    let mut before = dump::evidence(&fixture.world).await;
    while !quiet(&before) && Instant::now() < end {
        sleep(Duration::from_millis(300)).await;
        before = dump::evidence(&fixture.world).await;
    }
    fixture.phase(Phase::Final);
    for name in ["last", "too-late"] {
        for (schedule, row) in &before.schedules {
            for (seat, (state, _)) in row.seats.iter().enumerate() {
                if name == "last" && *state == 0 || name == "too-late" {
                    let customer = format!("{name}-{schedule}-{seat}");
                    let seats = vec![seat.try_into().unwrap()];
                    let action =
                        Action::Book { schedule: *schedule, seats, customer: customer.clone() };
                    fixture.perform("last", seat % PODS, (Some(customer), action), PATIENCE).await;
                }
            }
        }
    }
    auditing.abort();
    drop(auditing.await);
    let database = Database::postgres(fixture.world.database()).await;
    let violations = database.violations(PROGRAM).await.unwrap();
    fixture.recorder.note("auditor", What::Audit { violations });
    for place in 0..PODS {
        fixture.world.read_counters(place).await;
    }
    let mut evidence = dump::evidence(&fixture.world).await;
    evidence.locks = before.locks;
    evidence.idle_in_transaction = before.idle_in_transaction;
    dump::count(&fixture.world, &mut evidence);
    evidence
}

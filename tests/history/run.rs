//! A run from its seed to what the checkers say: warm, chaos, heal, resolve, quiesce, final.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use seatlock::store::AuditScope;
use tokio::time::sleep;

use crate::checks::{self, Wanted};
use crate::client::PATIENCE;
use crate::database::Database;
use crate::history::{Action, End, Evidence, History, Phase, Told, Violation, What};
use crate::recorder::Recorder;
use crate::verdict::verdict;
use crate::workload::{Buyer, Stage};
use crate::world::{PODS, SEATS, SOON, World};
use crate::{dump, nemesis};

/// What to run.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Guards switched off, by name, separated by commas.
    pub(crate) mutant: &'static str,
    pub(crate) buyers: usize,
    pub(crate) warm: Duration,
    /// Each once a round.
    pub(crate) faults: Vec<&'static str>,
    pub(crate) rounds: usize,
    pub(crate) wanted: Wanted,
}

/// What came of it.
pub(crate) struct Finished {
    pub(crate) evidence: Evidence,
    pub(crate) violations: Vec<Violation>,
    pub(crate) verdict: String,
}

/// How often a key of unknown end is repeated.
const RESOLVE_TRIES: usize = 60;

/// The seed that the environment asks for, or another one each time.
pub(crate) fn seed() -> u64 {
    let asked = std::env::var("HISTORY_SEED").ok();
    asked.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..1_000_000))
}

/// Runs it. `replay` is the command that runs it again.
pub(crate) async fn run(plan: &Plan, replay: &str) -> Finished {
    let name = if plan.mutant.is_empty() { "none" } else { plan.mutant };
    let file = format!("history-{}-{name}.jsonl", plan.seed);
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(file);
    let world = World::start(plan.mutant).await;
    let stage = Arc::new(Stage {
        world,
        recorder: Recorder::create(&path),
        stop: AtomicBool::new(false),
        unknown: Mutex::default(),
    });
    let auditing = tokio::spawn(audit_on(Arc::clone(&stage)));
    act(&stage, plan).await;
    resolve(&stage).await;
    stage.phase(Phase::Quiesce);
    disturb(&stage).await;
    come_late(&stage).await;
    let evidence = finish(&stage, auditing).await;

    let history = History::of(&stage.recorder.events());
    let mut violations = checks::check(&history, &evidence);
    violations.extend(checks::vacuity(&history, &evidence, &plan.wanted));
    let replay = format!("HISTORY_SEED={} {replay}", plan.seed);
    let verdict = verdict(&stage, &history, &violations, &replay);
    eprintln!(
        "{name}, seed {}: {} operations, {} audits, guards {:?}",
        plan.seed,
        history.ops.len(),
        history.audits.len(),
        evidence.guard_saves
    );
    Finished { evidence, violations, verdict }
}

/// Warm, chaos and heal, with all buyers buying.
async fn act(stage: &Arc<Stage>, plan: &Plan) {
    stage.phase(Phase::Warm);
    let buyers: Vec<_> = (0..plan.buyers)
        .map(|number| tokio::spawn(Buyer::new(stage, number, plan.seed).run()))
        .collect();
    sleep(plan.warm).await;
    stage.phase(Phase::Chaos);
    let mut rng = Rng::with_seed(plan.seed);
    for _ in 0..plan.rounds {
        nemesis::strike(stage, &plan.faults, &mut rng).await;
    }
    stage.phase(Phase::Heal);
    sleep(plan.warm).await;
    stage.stop.store(true, Ordering::SeqCst);
    for buyer in buyers {
        buyer.await.unwrap();
    }
}

/// One audit after another, about one a second, of whatever is there.
async fn audit_on(stage: Arc<Stage>) {
    let mut database = None;
    loop {
        sleep(Duration::from_secs(1)).await;
        let known = match &database {
            Some(known) => known,
            None => database.insert(Database::postgres(stage.world.database()).await),
        };
        // While the database is away there is nothing to be seen.
        if let Ok(found) = known.try_violations(AuditScope::Everything).await {
            let violations = found.iter().map(ToString::to_string).collect();
            stage.recorder.note("auditor", What::Audit { violations });
        }
    }
}

/// Repeats every key of unknown end until its end is known.
async fn resolve(stage: &Arc<Stage>) {
    stage.phase(Phase::Resolve);
    let mut unknown = std::mem::take(&mut *stage.unknown.lock().unwrap());
    unknown.sort_by(|one, other| one.0.cmp(&other.0));
    unknown.dedup_by(|one, other| one.0 == other.0);
    for (key, action) in unknown {
        for attempt in 0..RESOLVE_TRIES {
            let asked = (Some(key.clone()), action.clone());
            let (end, _) = stage.perform("resolver", attempt % PODS, asked, PATIENCE).await;
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
    // What is unknown even now is in the record.
    stage.unknown.lock().unwrap().clear();
}

/// Puts a stranger's lock where a hold's is, and ends or extends the hold: the stranger's must stay.
async fn disturb(stage: &Arc<Stage>) {
    let redis =
        |arguments: &[&str]| tokio::task::block_in_place(|| stage.world.redis.cli(arguments));
    for round in 0..20_u32 {
        let schedule = stage.world.schedules[1];
        let seat = round % SEATS;
        let key = format!("disturbed-{round}");
        let hold = Action::Hold { schedule, seats: vec![seat], customer: key.clone(), ttl_s: 2 };
        let asked = (Some(key), hold);
        let (end, _) = stage.perform("disturber", 0, asked, PATIENCE).await;
        let End::Ok { told: Told::Hold { id, .. }, .. } = end else { continue };
        let lock = format!("{{sch:{schedule}}}:seat:{seat}");
        let token = format!("{:032x}", 0xbad_0000 + round);
        // Only where there is a lock: while the service goes without, there is nothing to disturb.
        let planted = redis(&["set", &lock, &token, "xx", "px", "60000"]) == "OK";
        let (key, action) = match round % 2 {
            0 => (None, Action::Release { hold: id }),
            _ => {
                let key = format!("extended-{round}");
                (Some(key), Action::Extend { hold: id, ttl_s: 3 })
            }
        };
        stage.perform("disturber", 0, (key, action), PATIENCE).await;
        sleep(Duration::from_millis(200)).await;
        if planted {
            let left_alone = redis(&["get", &lock]) == token;
            stage.recorder.note("nemesis", What::Stranger { left_alone });
            redis(&["del", &lock]);
        }
    }
}

/// Comes back to holds that have ended: one is extended, another confirmed when its seat is somebody
/// else's.
async fn come_late(stage: &Arc<Stage>) {
    let schedule = stage.world.schedules[2];
    let ask = async |name: String, action: Action| {
        stage.perform("latecomer", 0, (Some(name), action), PATIENCE).await.0
    };
    let hold = async |name: String, seat: u32, ttl_s: u64| {
        let customer = name.clone();
        let action = Action::Hold { schedule, seats: vec![seat], customer, ttl_s };
        match ask(name, action).await {
            End::Ok { told: Told::Hold { id, .. }, .. } => Some(id),
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

/// Waits until all is quiet, reads what there is, asks for every seat, and reads the rest.
async fn finish(stage: &Arc<Stage>, auditing: tokio::task::JoinHandle<()>) -> Evidence {
    let quiet = |evidence: &Evidence| {
        let held = |row: &crate::history::ScheduleRow| row.seats.iter().any(|seat| seat.0 == 1);
        evidence.locks.is_empty() && !evidence.schedules.values().any(held)
    };
    let end = Instant::now() + SOON / 2;
    let mut before = dump::evidence(&stage.world).await;
    while !quiet(&before) && Instant::now() < end {
        sleep(Duration::from_millis(300)).await;
        before = dump::evidence(&stage.world).await;
    }
    stage.phase(Phase::Final);
    for name in ["last", "too-late"] {
        for (schedule, row) in &before.schedules {
            for (seat, (state, _)) in row.seats.iter().enumerate() {
                if name == "last" && *state == 0 || name == "too-late" {
                    let customer = format!("{name}-{schedule}-{seat}");
                    let seats = vec![seat.try_into().unwrap()];
                    let action =
                        Action::Book { schedule: *schedule, seats, customer: customer.clone() };
                    stage.perform("last", seat % PODS, (Some(customer), action), PATIENCE).await;
                }
            }
        }
    }
    auditing.abort();
    drop(auditing.await);
    let database = Database::postgres(stage.world.database()).await;
    let found = database.violations(AuditScope::Everything).await;
    let violations = found.iter().map(ToString::to_string).collect();
    stage.recorder.note("auditor", What::Audit { violations });
    for place in 0..PODS {
        stage.world.read_counters(place).await;
    }
    let mut evidence = dump::evidence(&stage.world).await;
    evidence.locks = before.locks;
    evidence.idle_in_transaction = before.idle_in_transaction;
    dump::count(&stage.world, &mut evidence);
    evidence
}

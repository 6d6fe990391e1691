//! Lines that processes share in Redis. Everything here is help, not truth: what Redis does not answer in
//! time is left out.
//!
//! Keys of schedule 42: `{sch:42}:queue` (the line, a sorted set), `{sch:42}:queue:last` (its last number),
//! `{sch:42}:queue:of:<hash>` (a customer's requests), `{sch:42}:queue:running`, `{sch:42}:queue:pace`.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{oneshot, watch};

use crate::breaker::BreakerState;
use crate::domain::ids::{RequestId, ScheduleId};
use crate::redis::{Cmd, Redis, Script, Value, cmd};

use crate::batcher::{Batcher, BatcherLimits};

use super::{Entry, QueueEntry, QueuePosition, WaitingListLimits};

/// Requests that enter in one round trip.
const ENTRIES: BatcherLimits = BatcherLimits { batch_max: 256, pending_max: 8_192 };

/// A line is kept for this long after the last has entered.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// A pace is believed for this long.
const PACE_KEPT: Duration = Duration::from_secs(60);

/// A request that enters.
struct Entering {
    call: Cmd,
    reply: oneshot::Sender<Option<Value>>,
}

pub(super) struct RedisWaitingLists {
    way: Way,
    enter: Script,
    entering: Batcher<Entering>,
    limits: WaitingListLimits,
}

/// The way to Redis, as long as it is good.
#[derive(Clone)]
struct Way {
    redis: Redis,
    breaker: watch::Receiver<BreakerState>,
    budget: Duration,
}

impl Way {
    /// The answers, one for each command, unless Redis is bypassed, away or slow.
    async fn ask(&self, commands: &[Cmd], scripts: &[&Script]) -> Option<Vec<Option<Value>>> {
        if *self.breaker.borrow() != BreakerState::Closed {
            return None;
        }
        let asked = tokio::time::timeout(self.budget, self.redis.send_with(commands, scripts));
        // Who judges Redis, and says so, are the seat locks.
        let answers = asked.await.ok()?.ok()?;
        Some(answers.into_iter().map(Result::ok).collect())
    }
}

impl RedisWaitingLists {
    pub(super) fn start(
        redis: Redis,
        breaker: watch::Receiver<BreakerState>,
        budget: Duration,
        limits: WaitingListLimits,
    ) -> Self {
        let way = Way { redis, breaker, budget };
        let enter = Script::new(include_str!("scripts/enter.lua"));
        let (asking, script) = (way.clone(), enter.clone());
        let entering = Batcher::start(ENTRIES, move |gathered: Vec<Entering>| {
            let (way, script) = (asking.clone(), script.clone());
            async move {
                let calls: Vec<Cmd> =
                    gathered.iter().map(|entering| entering.call.clone()).collect();
                let answers = way.ask(&calls, &[&script]).await.unwrap_or_default();
                let mut answers = answers.into_iter();
                for entering in gathered {
                    drop(entering.reply.send(answers.next().flatten()));
                }
            }
        });
        Self { way, enter, entering, limits }
    }

    /// None if Redis is of no help.
    pub(super) async fn enter(&self, newcomer: &QueueEntry) -> Option<Entry> {
        if *self.way.breaker.borrow() != BreakerState::Closed {
            return None;
        }
        let schedule = newcomer.id.schedule;
        let keys =
            [line(schedule), key(schedule, "last"), of_customer(schedule, &newcomer.customer)];
        let mut call = self.enter.call(keys.into_iter());
        call.arg(member(newcomer.id)).arg(newcomer.now.0).arg(newcomer.until.0);
        call.arg(self.limits.customer_max).arg(self.limits.max).arg(ms(KEPT));
        let (reply, answer) = oneshot::channel();
        self.entering.push(Entering { call, reply }).ok()?;
        match answer.await.ok()?? {
            Value::Int(-1) => Some(Entry::CustomerFull),
            Value::Int(-2) => Some(Entry::Full),
            Value::Int(place) => Some(Entry::At(u64::try_from(place).ok()?)),
            _ => None,
        }
    }

    pub(super) async fn start_running(&self, until: RequestId) {
        let mut set = cmd("SET");
        set.arg(key(until.schedule, "running")).arg(member(until)).arg("PX").arg(ms(KEPT));
        drop(self.way.ask(&[set], &[]).await);
    }

    pub(super) async fn leave(
        &self,
        schedule: ScheduleId,
        requests: &[(RequestId, String)],
        per_second: Option<f64>,
    ) {
        let mut commands = Vec::with_capacity(requests.len() + 2);
        let mut remove = cmd("ZREM");
        remove.arg(line(schedule));
        for (id, _) in requests {
            remove.arg(member(*id));
        }
        commands.push(remove);
        for (id, customer) in requests {
            let mut remove = cmd("ZREM");
            remove.arg(of_customer(schedule, customer)).arg(member(*id));
            commands.push(remove);
        }
        if let Some(per_second) = per_second {
            let mut set = cmd("SET");
            set.arg(key(schedule, "pace")).arg(per_second.to_string());
            set.arg("PX").arg(ms(PACE_KEPT));
            commands.push(set);
        }
        drop(self.way.ask(&commands, &[]).await);
    }

    /// None if it is not in the line, or Redis is of no help.
    pub(super) async fn standing(&self, id: RequestId) -> Option<QueuePosition> {
        let (mut rank, mut running, mut pace) = (cmd("ZRANK"), cmd("GET"), cmd("GET"));
        rank.arg(line(id.schedule)).arg(member(id));
        running.arg(key(id.schedule, "running"));
        pace.arg(key(id.schedule, "pace"));
        let answers = self.way.ask(&[rank, running, pace], &[]).await?;
        let [Some(Value::Int(rank)), running, pace] = answers.as_slice() else { return None };
        let per_second = text(pace).and_then(|pace| pace.parse().ok());
        // Version 7 uuids sort by their time, as texts too.
        let running = text(running).is_some_and(|until| member(id).as_str() <= until);
        Some(QueuePosition { place: u64::try_from(*rank).ok()? + 1, running, per_second })
    }
}

fn line(schedule: ScheduleId) -> String {
    format!("{{sch:{schedule}}}:queue")
}

fn key(schedule: ScheduleId, what: &str) -> String {
    format!("{{sch:{schedule}}}:queue:{what}")
}

/// A customer's name may be long, and is nobody's business.
fn of_customer(schedule: ScheduleId, customer: &str) -> String {
    let hash = Sha256::digest(customer.as_bytes());
    let short: String = hash.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    key(schedule, &format!("of:{short}"))
}

fn text(value: &Option<Value>) -> Option<&str> {
    match value {
        Some(Value::BulkString(bytes)) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn member(id: RequestId) -> String {
    id.uuid.simple().to_string()
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

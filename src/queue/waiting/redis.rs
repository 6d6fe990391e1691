//! Waiting lists that processes share in Redis. An operation that Redis does not answer in time is skipped.
//!
//! Keys of schedule 42: `{sch:42}:queue` (the list, a sorted set), `{sch:42}:queue:last` (its last number),
//! `{sch:42}:queue:of:<hash>` (a customer's requests), `{sch:42}:queue:running`, `{sch:42}:queue:pace` (the
//! throughput).

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::sync::{oneshot, watch};

use crate::breaker::BreakerState;
use crate::domain::ids::{RequestId, ScheduleId};
use crate::redis::{Cmd, Redis, Script, Value, cmd};

use crate::batcher::{Batcher, BatcherLimits};

use super::{Entry, QueueEntry, QueuePosition, WaitingListLimits};

/// The most requests that are added in one round trip, and the most that wait for one.
const ADDS: BatcherLimits = BatcherLimits { batch_max: 256, pending_max: 8_192 };

/// The TTL of a list, which additions renew.
const LIST_TTL: Duration = Duration::from_secs(24 * 3_600);

/// The TTL of a stored throughput.
const THROUGHPUT_TTL: Duration = Duration::from_secs(60);

struct PendingAdd {
    call: Cmd,
    reply: oneshot::Sender<Option<Value>>,
}

pub(super) struct RedisWaitingLists {
    connection: BoundedRedis,
    script: Script,
    adds: Batcher<PendingAdd>,
    limits: WaitingListLimits,
}

/// A client of Redis with a time limit, which sends commands only while the breaker is closed.
#[derive(Clone)]
struct BoundedRedis {
    redis: Redis,
    breaker: watch::Receiver<BreakerState>,
    budget: Duration,
}

impl BoundedRedis {
    fn is_usable(&self) -> bool {
        *self.breaker.borrow() == BreakerState::Closed
    }

    /// Sends commands. Returns one answer for each command, or `None` if Redis is bypassed, unavailable or too slow.
    /// The seat locks, not this module, update the breaker and report the state of Redis.
    async fn send(&self, commands: &[Cmd], scripts: &[&Script]) -> Option<Vec<Option<Value>>> {
        if !self.is_usable() {
            return None;
        }
        let sent = tokio::time::timeout(self.budget, self.redis.send_with(commands, scripts));
        Some(sent.await.ok()?.ok()?.into_iter().map(Result::ok).collect())
    }
}

impl RedisWaitingLists {
    pub(super) fn start(
        redis: Redis,
        breaker: watch::Receiver<BreakerState>,
        budget: Duration,
        limits: WaitingListLimits,
    ) -> Self {
        let connection = BoundedRedis { redis, breaker, budget };
        let script = Script::new(include_str!("scripts/add.lua"));
        let shared = (connection.clone(), script.clone());
        let adds = Batcher::start(ADDS, move |batch: Vec<PendingAdd>| {
            let (connection, script) = shared.clone();
            async move {
                let calls: Vec<Cmd> = batch.iter().map(|pending| pending.call.clone()).collect();
                let answers = connection.send(&calls, &[&script]).await.unwrap_or_default();
                let mut answers = answers.into_iter();
                for pending in batch {
                    drop(pending.reply.send(answers.next().flatten()));
                }
            }
        });
        Self { connection, script, adds, limits }
    }

    /// Adds a request. `None` if Redis is not usable.
    pub(super) async fn add(&self, entry: &QueueEntry) -> Option<Entry> {
        if !self.connection.is_usable() {
            return None;
        }
        let schedule = entry.id.schedule;
        let keys =
            [list_key(schedule), key(schedule, "last"), customer_key(schedule, &entry.customer)];
        let mut call = self.script.call(keys.into_iter());
        call.arg(member(entry.id)).arg(entry.now.0).arg(entry.until.0);
        call.arg(self.limits.customer_max).arg(self.limits.max).arg(ms(LIST_TTL));
        let (reply, answer) = oneshot::channel();
        self.adds.push(PendingAdd { call, reply }).ok()?;
        match answer.await.ok()?? {
            Value::Int(-1) => Some(Entry::CustomerFull),
            Value::Int(-2) => Some(Entry::Full),
            Value::Int(position) => Some(Entry::At(u64::try_from(position).ok()?)),
            _ => None,
        }
    }

    pub(super) async fn mark_running(&self, id: RequestId) {
        let mut set = cmd("SET");
        set.arg(key(id.schedule, "running")).arg(member(id)).arg("PX").arg(ms(LIST_TTL));
        drop(self.connection.send(&[set], &[]).await);
    }

    pub(super) async fn remove(
        &self,
        schedule: ScheduleId,
        requests: &[(RequestId, String)],
        per_second: Option<f64>,
    ) {
        let mut commands = Vec::with_capacity(requests.len() + 2);
        let mut remove = cmd("ZREM");
        remove.arg(list_key(schedule));
        for (id, _) in requests {
            remove.arg(member(*id));
        }
        commands.push(remove);
        for (id, customer) in requests {
            let mut remove = cmd("ZREM");
            remove.arg(customer_key(schedule, customer)).arg(member(*id));
            commands.push(remove);
        }
        if let Some(per_second) = per_second {
            let mut set = cmd("SET");
            set.arg(key(schedule, "pace")).arg(per_second.to_string());
            set.arg("PX").arg(ms(THROUGHPUT_TTL));
            commands.push(set);
        }
        drop(self.connection.send(&commands, &[]).await);
    }

    /// The position of a request. `None` if the request is not in the list, or Redis is not usable.
    pub(super) async fn position(&self, id: RequestId) -> Option<QueuePosition> {
        let mut rank = cmd("ZRANK");
        let mut running = cmd("GET");
        let mut throughput = cmd("GET");
        rank.arg(list_key(id.schedule)).arg(member(id));
        running.arg(key(id.schedule, "running"));
        throughput.arg(key(id.schedule, "pace"));
        let answers = self.connection.send(&[rank, running, throughput], &[]).await?;
        let [Some(Value::Int(rank)), running, throughput] = answers.as_slice() else { return None };
        let per_second = text(throughput).and_then(|rate| rate.parse().ok());
        // UUIDs of version 7 sort by their time, also in their text form.
        let running = text(running).is_some_and(|newest| member(id).as_str() <= newest);
        Some(QueuePosition { position: u64::try_from(*rank).ok()? + 1, running, per_second })
    }
}

fn list_key(schedule: ScheduleId) -> String {
    format!("{{sch:{schedule}}}:queue")
}

fn key(schedule: ScheduleId, name: &str) -> String {
    format!("{{sch:{schedule}}}:queue:{name}")
}

/// The key of a customer's requests. The id of the customer is hashed, because it may be long and is private.
fn customer_key(schedule: ScheduleId, customer: &str) -> String {
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

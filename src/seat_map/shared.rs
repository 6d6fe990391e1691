//! What processes tell each other of seat maps, through Redis: maps to begin with, and news of commits.
//!
//! Nothing here is believed. A shared map saves the reading of all seats; it counts only after the journal
//! has led on from it to the newest version. News make a process ask the journal at once instead of a fifth
//! of a second later.
//!
//! Keys: `{sch:42}:map` (hash: epoch, version, whose it is, the map) and `{sch:42}:map:told` (the newest
//! version told of, below which no map is kept: a slow reader cannot put an old map back). What is told
//! while Redis is bypassed is lost, so when the breaker closes a new epoch begins, in which the maps of
//! earlier ones do not count.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt as _};
use tokio::sync::watch;

use crate::domain::catalogue::Schedule;
use crate::domain::clock::EpochMs;
use crate::domain::ids::ScheduleId;
use crate::metrics::Metrics;
use crate::metrics::cache::{CacheLook, CacheShare};
use crate::metrics::lock::BreakerState;
use crate::redis::{Cmd, Redis, RedisFailure, Script, Value, cmd};

use super::wire::{self, Seats};

const EPOCH: &str = "seatlock:map-epoch";
const CHANNEL: &str = "seatlock:maps";

/// Maps shared in a Redis.
pub struct SharedMaps {
    redis: Redis,
    /// While it is not closed nothing is asked.
    breaker: watch::Receiver<BreakerState>,
    life: Duration,
    channel: String,
    share: Script,
    moved: Script,
    metrics: Arc<Metrics>,
}

/// What is shared of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The epoch at the time; a map read from the database after this look is shared under it.
    pub epoch: u64,
    /// The newest version that somebody has told of; 0 if nobody has.
    pub told: i64,
    /// A map of this epoch, with its version.
    pub map: Option<(i64, Seats)>,
}

impl SharedMaps {
    /// Maps in this Redis, which live for `life`, give or take a tenth. Pub/sub knows no database numbers,
    /// so the number is part of the channel's name.
    #[must_use]
    pub fn new(
        redis: Redis,
        database: u16,
        breaker: watch::Receiver<BreakerState>,
        life: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            redis,
            breaker,
            life,
            channel: format!("{CHANNEL}:{database}"),
            share: Script::new(include_str!("scripts/share.lua")),
            moved: Script::new(include_str!("scripts/moved.lua")),
            metrics,
        }
    }

    /// What is shared of a schedule; `None` if that cannot be learned.
    pub async fn look(&self, schedule: &Schedule) -> Option<Shared> {
        let found = self.find(schedule).await;
        match &found {
            Some(Shared { map: None, .. }) => self.metrics.cache.looked(CacheLook::Miss),
            Some(_) => {}
            None => self.metrics.cache.looked(CacheLook::Failed),
        }
        found
    }

    /// Whether the map that was found was of use.
    pub(super) fn used(&self, useful: bool) {
        let outcome = if useful { CacheLook::Hit } else { CacheLook::Stale };
        self.metrics.cache.looked(outcome);
    }

    async fn find(&self, schedule: &Schedule) -> Option<Shared> {
        let mut map = cmd("HMGET");
        map.arg(map_key(schedule.id)).arg("epoch").arg("version").arg("of").arg("map");
        let answers = self.ask(&[get(EPOCH), get(&told_key(schedule.id)), map], &[]).await?;
        let [epoch, told, map] = answers.as_slice() else { return None };
        let epoch = number(epoch).unwrap_or(0);
        let map = match map {
            Value::Array(fields) => match fields.as_slice() {
                [of_epoch, version, of, Value::BulkString(map)]
                    if number(of_epoch) == Some(epoch) && text(of) == Some(&owner(schedule)) =>
                {
                    number(version).zip(wire::decode(map))
                }
                _ => None,
            },
            _ => None,
        };
        Some(Shared { epoch, told: number(told).unwrap_or(0), map })
    }

    /// Shares a map that was read after a look at this epoch. False if it is not the newest known, or
    /// cannot be shared.
    pub async fn share(
        &self,
        schedule: &Schedule,
        epoch: u64,
        version: i64,
        seats: &[(u8, Option<EpochMs>)],
    ) -> bool {
        let keys = [map_key(schedule.id), told_key(schedule.id)];
        let mut call = self.share.call(keys.into_iter());
        call.arg(epoch).arg(version).arg(owner(schedule)).arg(wire::encode(seats));
        call.arg(self.jittered_ms());
        let kept = match self.ask(&[call], &[&self.share]).await.as_deref() {
            Some([Value::Int(1)]) => CacheShare::Kept,
            Some(_) => CacheShare::Refused,
            None => CacheShare::Failed,
        };
        self.metrics.cache.shared(kept);
        kept == CacheShare::Kept
    }

    /// The epoch now; `None` if that cannot be learned.
    pub async fn epoch(&self) -> Option<u64> {
        let answers = self.ask(&[get(EPOCH)], &[]).await?;
        Some(answers.first().and_then(number).unwrap_or(0))
    }

    /// Tells of commits, each schedule with its newest version.
    pub async fn tell(&self, moved: &[(ScheduleId, i64)]) {
        let call = |(id, version): &(ScheduleId, i64)| {
            let mut call = self.moved.call([told_key(*id)].into_iter());
            // A tenth longer than any map lives.
            let memory = self.life.mul_f64(1.2).as_millis();
            call.arg(version).arg(u64::try_from(memory).unwrap_or(u64::MAX));
            call.arg(&self.channel).arg(format!("{id}:{version}"));
            call
        };
        let calls: Vec<Cmd> = moved.iter().map(call).collect();
        drop(self.ask(&calls, &[&self.moved]).await);
    }

    /// Other processes' commits from now on; ends when the connection does.
    pub async fn news(
        &self,
    ) -> Result<impl Stream<Item = (ScheduleId, i64)> + Unpin + use<>, RedisFailure> {
        let messages = self.redis.subscribe(&self.channel).await?;
        let metrics = Arc::clone(&self.metrics);
        Ok(messages.filter_map(move |message| {
            let news = parse(&message);
            if news.is_some() {
                metrics.cache.news_total.inc();
            }
            std::future::ready(news)
        }))
    }

    /// Waits until the breaker has closed again after it was open. False if there is no breaker any more.
    pub async fn recovered(&self) -> bool {
        let mut breaker = self.breaker.clone();
        let opened = breaker.wait_for(|state| *state != BreakerState::Closed).await.is_ok();
        opened && breaker.wait_for(|state| *state == BreakerState::Closed).await.is_ok()
    }

    /// Begins a new epoch: no map shared so far counts any more. False if Redis did not take it.
    pub async fn begin_epoch(&self) -> bool {
        let mut count = cmd("INCR");
        count.arg(EPOCH);
        let begun = self.ask(&[count], &[]).await.is_some();
        if begun {
            self.metrics.cache.epochs_total.inc();
        }
        begun
    }

    /// The answers, unless Redis is bypassed, away, or answers with an error.
    async fn ask(&self, commands: &[Cmd], scripts: &[&Script]) -> Option<Vec<Value>> {
        if *self.breaker.borrow() != BreakerState::Closed {
            return None;
        }
        match self.redis.send_with(commands, scripts).await {
            Ok(answers) => answers.into_iter().collect::<Result<_, _>>().ok(),
            Err(error) => {
                // The locks say so already, and judge.
                log::debug!("maps are not shared now: {error}");
                None
            }
        }
    }

    /// Ends spread out, so that not all maps end at once.
    fn jittered_ms(&self) -> u64 {
        let life = self.life.mul_f64(0.9 + 0.2 * fastrand::f64());
        u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

fn map_key(id: ScheduleId) -> String {
    format!("{{sch:{id}}}:map")
}

fn told_key(id: ScheduleId) -> String {
    format!("{{sch:{id}}}:map:told")
}

fn get(key: &str) -> Cmd {
    let mut command = cmd("GET");
    command.arg(key);
    command
}

/// Tells schedules of one number in two databases apart, such as one before and one after it was made
/// anew.
fn owner(schedule: &Schedule) -> String {
    format!("{}/{}", schedule.created_at.0, schedule.plan.id)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    text(value)?.parse().ok()
}

fn parse(message: &[u8]) -> Option<(ScheduleId, i64)> {
    let (id, version) = std::str::from_utf8(message).ok()?.split_once(':')?;
    Some((id.parse().ok()?, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_name_a_schedule_and_its_version() {
        assert_eq!(parse(b"42:7"), Some((ScheduleId(42), 7)));
        for wrong in [&b""[..], b"42", b"42:", b":7", b"42:x", b"\xff:1"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_keys_of_a_schedule_share_a_slot_of_a_cluster_with_its_locks() {
        assert_eq!(map_key(ScheduleId(42)), "{sch:42}:map");
        assert_eq!(told_key(ScheduleId(42)), "{sch:42}:map:told");
    }
}

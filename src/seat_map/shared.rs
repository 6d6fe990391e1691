//! What processes tell each other of seat maps, through Redis: maps to begin with, and news of commits.
//!
//! Nothing here is believed. A shared map saves the reading of all seats; it counts only after the journal
//! has led on from it to the newest version. News make a process ask the journal at once instead of a fifth
//! of a second later.
//!
//! Keys: `{sch:42}:map` (hash: epoch, version, whose it is, the map), `{sch:42}:map:told` (the newest
//! version told of, below which no map is kept: a slow reader cannot put an old map back) and
//! `{sch:42}:map:freed` (the newest version at which seats were given back: `freed.rs`). News
//! that are sent while Redis is bypassed are lost, so when the breaker closes a new epoch begins, in which the maps of
//! earlier ones do not count.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{Stream, StreamExt as _};
use tokio::sync::watch;

use crate::breaker::BreakerState;
use crate::domain::catalogue::Schedule;
use crate::domain::clock::EpochMs;
use crate::domain::ids::{HistoryId, InHistory, ScheduleId};
use crate::redis::{Cmd, Redis, RedisFailure, Script, Value, cmd};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::cache::{CacheLook, CacheShare};

use super::freed::Freed;
use super::link::{Link, get, number, text};
use super::wire::{self, WireSeats};

const EPOCH: &str = "seatlock:map-epoch";
const CHANNEL: &str = "seatlock:maps";

/// Maps shared in a Redis.
pub struct SharedMaps {
    link: Link,
    life: Duration,
    channel: String,
    share: Script,
    moved: Script,
    freed: Freed,
    metrics: Arc<Metrics>,
}

/// What is shared of a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The epoch at the time; a map read from the database after this look is shared under it.
    pub epoch: u64,
    /// The newest version that somebody has told of; 0 if nobody has.
    pub told: i64,
    /// A map of this epoch, with its version in the history that it was read in.
    pub map: Option<(InHistory<i64>, WireSeats)>,
}

impl SharedMaps {
    /// Maps in this Redis, which live for `life`, give or take a tenth. Pub/sub knows no database numbers,
    /// so the number is part of the channel's name. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        redis: Redis,
        database: u16,
        breaker: watch::Receiver<BreakerState>,
        life: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let link = Link::new(redis, breaker);
        Self {
            freed: Freed::new(link.clone()),
            link,
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
        let answers = self.link.ask(&[get(EPOCH), get(&told_key(schedule.id)), map], &[]).await?;
        let [epoch, told, map] = answers.as_slice() else { return None };
        let epoch = number(epoch).unwrap_or(0);
        let map = match map {
            Value::Array(fields) => match fields.as_slice() {
                [of_epoch, version, of, Value::BulkString(map)]
                    if number(of_epoch) == Some(epoch) =>
                {
                    let history = history_of(text(of), schedule);
                    let at = history.zip(number(version));
                    let at = at.map(|(history, at)| InHistory { history, at });
                    at.zip(wire::decode(map))
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
        at: InHistory<i64>,
        seats: &[(u8, Option<EpochMs>)],
    ) -> bool {
        let keys = [map_key(schedule.id), told_key(schedule.id)];
        let mut call = self.share.call(keys.into_iter());
        let of = format!("{}{}", owner(schedule), at.history);
        call.arg(epoch).arg(at.at).arg(of).arg(wire::encode(seats));
        call.arg(self.jittered_ms());
        let kept = match self.link.ask(&[call], &[&self.share]).await.as_deref() {
            Some([Value::Int(1)]) => CacheShare::Kept,
            Some(_) => CacheShare::Refused,
            None => CacheShare::Failed,
        };
        self.metrics.cache.shared(kept);
        kept == CacheShare::Kept
    }

    /// The epoch now; `None` if that cannot be learned.
    pub async fn epoch(&self) -> Option<u64> {
        let answers = self.link.ask(&[get(EPOCH)], &[]).await?;
        Some(answers.first().and_then(number).unwrap_or(0))
    }

    /// Tells of commits, each schedule with its newest version.
    pub async fn tell(&self, moved: &[(ScheduleId, i64)]) {
        let calls: Vec<Cmd> = moved.iter().map(|moved| self.news_of(*moved)).collect();
        drop(self.link.ask(&calls, &[&self.moved]).await);
    }

    /// Announces commits that freed seats. False if it is not known that every process can learn of all of
    /// them from [`Self::freed`] from now on.
    pub async fn tell_freed(&self, freed: &[(ScheduleId, i64)]) -> bool {
        let calls = freed.iter().flat_map(|(schedule, version)| {
            [self.freed.note(*schedule, *version), self.news_of((*schedule, *version))]
        });
        let calls: Vec<Cmd> = calls.collect();
        self.link.ask(&calls, &[&self.freed.script, &self.moved]).await.is_some()
    }

    /// The newest version at which a process gave seats of a schedule back, asked for from now on; 0 if none did
    /// lately, `None` if that cannot be learned.
    pub async fn freed(&self, schedule: ScheduleId) -> Option<i64> {
        self.freed.newest(schedule).await
    }

    fn news_of(&self, (schedule, version): (ScheduleId, i64)) -> Cmd {
        let mut call = self.moved.call([told_key(schedule)].into_iter());
        // A tenth longer than any map lives.
        let memory = self.life.mul_f64(1.2).as_millis();
        call.arg(version).arg(u64::try_from(memory).unwrap_or(u64::MAX));
        call.arg(&self.channel).arg(format!("{schedule}:{version}"));
        call
    }

    /// Other processes' commits from now on; ends when the connection does.
    pub async fn news(
        &self,
    ) -> Result<impl Stream<Item = (ScheduleId, i64)> + Unpin + use<>, RedisFailure> {
        let messages = self.link.redis.subscribe(&self.channel).await?;
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
        self.link.recovered().await
    }

    /// Begins a new epoch: no map shared so far counts any more. False if Redis did not take it.
    pub async fn begin_epoch(&self) -> bool {
        let mut count = cmd("INCR");
        count.arg(EPOCH);
        let begun = self.link.ask(&[count], &[]).await.is_some();
        if begun {
            self.metrics.cache.epochs_total.inc();
        }
        begun
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

/// Tells schedules of one number in two databases apart, such as one before and one after it was made
/// anew.
fn owner(schedule: &Schedule) -> String {
    format!("{}/{}/", schedule.created_at.0, schedule.plan.id)
}

/// The history in which a map of this schedule was read, if it is one of this schedule.
fn history_of(of: Option<&str>, schedule: &Schedule) -> Option<HistoryId> {
    of?.strip_prefix(&owner(schedule))?.parse().ok()
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

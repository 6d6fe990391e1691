//! Seat maps that processes share through Redis, and announcements of commits.
//!
//! Neither of them is trusted. A process that loads a schedule uses a shared map instead of reading all seats, but only
//! if the journal leads from this map to the newest version. An announcement only makes a process read the journal
//! earlier.
//!
//! Keys: `{sch:42}:map` (hash: epoch, version, owner, map), `{sch:42}:map:told` (the newest announced version; no
//! older map is stored, so a slow reader cannot put an old map back) and `{sch:42}:map:freed` (`freed.rs`).
//! Announcements made while Redis is bypassed are lost. So a new epoch begins when the breaker closes, and maps of
//! earlier epochs are not used.

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
use crate::telemetry::metrics::cache::{CacheRead, CacheShare};

use super::freed::Freed;
use super::link::{Link, get, ms, number, text};
use super::wire::{self, WireSeats};

const EPOCH: &str = "seatlock:map-epoch";
const CHANNEL: &str = "seatlock:maps";

/// Maps shared in a Redis.
pub struct SharedMaps {
    link: Link,
    ttl: Duration,
    channel: String,
    share: Script,
    announce: Script,
    freed: Freed,
    metrics: Arc<Metrics>,
}

/// What the processes share about a schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shared {
    /// The current epoch; a map read from the database after this is shared under it.
    pub epoch: u64,
    /// The newest announced version; 0 if there is none.
    pub announced: i64,
    /// A map of this epoch, with its version in its history.
    pub map: Option<(InHistory<i64>, WireSeats)>,
}

impl SharedMaps {
    /// Shares maps in this Redis. They expire after `ttl`, plus or minus a tenth. The channels of Redis do not belong
    /// to a database number, so the number is part of the channel's name. Must be called inside a tokio runtime.
    #[must_use]
    pub fn new(
        redis: Redis,
        database: u16,
        breaker: watch::Receiver<BreakerState>,
        ttl: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        let link = Link { redis, breaker };
        Self {
            freed: Freed::new(link.clone()),
            link,
            ttl,
            channel: format!("{CHANNEL}:{database}"),
            share: Script::new(include_str!("scripts/share.lua")),
            announce: Script::new(include_str!("scripts/announce.lua")),
            metrics,
        }
    }

    /// Reads what the processes share about a schedule; `None` without an answer.
    pub async fn find(&self, schedule: &Schedule) -> Option<Shared> {
        let found = self.read(schedule).await;
        match &found {
            Some(Shared { map: None, .. }) => self.metrics.cache.count_read(CacheRead::Miss),
            Some(_) => {}
            None => self.metrics.cache.count_read(CacheRead::Failed),
        }
        found
    }

    /// Counts whether a map that was found could be used.
    pub(super) fn count_use(&self, used: bool) {
        self.metrics.cache.count_read(if used { CacheRead::Hit } else { CacheRead::Stale });
    }

    async fn read(&self, schedule: &Schedule) -> Option<Shared> {
        let mut map = cmd("HMGET");
        map.arg(map_key(schedule.id)).arg("epoch").arg("version").arg("of").arg("map");
        let commands = [get(EPOCH), get(&announced_key(schedule.id)), map];
        let answers = self.link.send(&commands, &[]).await?;
        let [epoch, announced, map] = answers.as_slice() else { return None };
        let epoch = number(epoch).unwrap_or(0);
        let map = parse_map(map, epoch, schedule);
        Some(Shared { epoch, announced: number(announced).unwrap_or(0), map })
    }

    /// Shares a map. `epoch` must have been read before the map. Returns false if a newer map is known, or if Redis did
    /// not store the map.
    pub async fn share(
        &self,
        schedule: &Schedule,
        epoch: u64,
        at: InHistory<i64>,
        seats: &[(u8, Option<EpochMs>)],
    ) -> bool {
        let keys = [map_key(schedule.id), announced_key(schedule.id)];
        let mut call = self.share.call(keys.into_iter());
        let of = format!("{}{}", owner(schedule), at.history);
        // The TTL is random, so that the maps do not all expire at the same time.
        let ttl = self.ttl.mul_f64(0.9 + 0.2 * fastrand::f64());
        call.arg(epoch).arg(at.at).arg(of).arg(wire::encode(seats)).arg(ms(ttl).max(1));
        let outcome = match self.link.send(&[call], &[&self.share]).await.as_deref() {
            Some([Value::Int(1)]) => CacheShare::Kept,
            Some(_) => CacheShare::Refused,
            None => CacheShare::Failed,
        };
        self.metrics.cache.shared(outcome);
        outcome == CacheShare::Kept
    }

    /// The current epoch; `None` without an answer.
    pub async fn epoch(&self) -> Option<u64> {
        let answers = self.link.send(&[get(EPOCH)], &[]).await?;
        Some(answers.first().and_then(number).unwrap_or(0))
    }

    /// Announces commits, each schedule with its newest version.
    pub async fn announce(&self, commits: &[(ScheduleId, i64)]) {
        let calls: Vec<Cmd> = commits.iter().map(|commit| self.announcement(*commit)).collect();
        drop(self.link.send(&calls, &[&self.announce]).await);
    }

    /// Announces commits that freed seats. Returns false if it is not certain that from now on every process can read
    /// all of them with [`Self::freed`].
    pub async fn announce_freed(&self, freed: &[(ScheduleId, i64)]) -> bool {
        let calls = freed.iter().flat_map(|(schedule, version)| {
            [self.freed.record(*schedule, *version), self.announcement((*schedule, *version))]
        });
        let calls: Vec<Cmd> = calls.collect();
        self.link.send(&calls, &[&self.freed.script, &self.announce]).await.is_some()
    }

    /// The newest version at which a process freed seats of a schedule, read after this call; 0 if none did within the
    /// last minute, `None` without an answer.
    pub async fn freed(&self, schedule: ScheduleId) -> Option<i64> {
        self.freed.newest(schedule).await
    }

    fn announcement(&self, (schedule, version): (ScheduleId, i64)) -> Cmd {
        let mut call = self.announce.call([announced_key(schedule)].into_iter());
        // The version has a longer TTL than any map.
        call.arg(version).arg(ms(self.ttl.mul_f64(1.2)));
        call.arg(&self.channel).arg(format!("{schedule}:{version}"));
        call
    }

    /// The announcements of all processes from now on. The stream ends when the connection ends.
    pub async fn announcements(
        &self,
    ) -> Result<impl Stream<Item = (ScheduleId, i64)> + Unpin + use<>, RedisFailure> {
        let messages = self.link.redis.subscribe(&self.channel).await?;
        let metrics = Arc::clone(&self.metrics);
        Ok(messages.filter_map(move |message| {
            let commit = parse_announcement(&message);
            if commit.is_some() {
                metrics.cache.news_total.inc();
            }
            std::future::ready(commit)
        }))
    }

    /// Waits until the breaker opens and then closes again. Returns false if the breaker was dropped.
    pub async fn recovered(&self) -> bool {
        let mut breaker = self.link.breaker.clone();
        let opened = breaker.wait_for(|state| *state != BreakerState::Closed).await.is_ok();
        opened && breaker.wait_for(|state| *state == BreakerState::Closed).await.is_ok()
    }

    /// Begins a new epoch, so that maps shared before are not used any more. Returns false if Redis did not confirm it.
    pub async fn begin_epoch(&self) -> bool {
        let mut count = cmd("INCR");
        count.arg(EPOCH);
        let begun = self.link.send(&[count], &[]).await.is_some();
        if begun {
            self.metrics.cache.epochs_total.inc();
        }
        begun
    }
}

fn map_key(id: ScheduleId) -> String {
    format!("{{sch:{id}}}:map")
}

fn announced_key(id: ScheduleId) -> String {
    format!("{{sch:{id}}}:map:told")
}

/// The owner of a map. It differs between schedules with the same number in two databases, or in a database that was
/// created again.
fn owner(schedule: &Schedule) -> String {
    format!("{}/{}/", schedule.created_at.0, schedule.plan.id)
}

/// Parses a stored map; `None` if it is not of this epoch and of this schedule.
fn parse_map(
    fields: &Value,
    epoch: u64,
    schedule: &Schedule,
) -> Option<(InHistory<i64>, WireSeats)> {
    let Value::Array(fields) = fields else { return None };
    let [of_epoch, version, of, Value::BulkString(map)] = fields.as_slice() else { return None };
    if number(of_epoch) != Some(epoch) {
        return None;
    }
    let history: HistoryId = text(of)?.strip_prefix(&owner(schedule))?.parse().ok()?;
    Some((InHistory { history, at: number(version)? }, wire::decode(map)?))
}

fn parse_announcement(message: &[u8]) -> Option<(ScheduleId, i64)> {
    let (id, version) = std::str::from_utf8(message).ok()?.split_once(':')?;
    Some((id.parse().ok()?, version.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_names_a_schedule_and_its_version() {
        assert_eq!(parse_announcement(b"42:7"), Some((ScheduleId(42), 7)));
        for wrong in [&b""[..], b"42", b"42:", b":7", b"42:x", b"\xff:1"] {
            assert_eq!(parse_announcement(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn the_keys_of_a_schedule_share_a_slot_of_a_cluster_with_its_locks() {
        assert_eq!(map_key(ScheduleId(42)), "{sch:42}:map");
        assert_eq!(announced_key(ScheduleId(42)), "{sch:42}:map:told");
    }
}

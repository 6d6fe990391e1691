//! The newest version at which seats of a schedule were freed, shared by the processes through Redis.
//!
//! A process that cancels a booking, releases a hold or removes a block records the version before it sends its answer.
//! A process that would refuse seats from memory reads that version after the request has arrived: a map at that
//! version shows every seat that was freed before. Announcements are not sufficient for this, because a message that
//! Redis has sent may not have been received yet.
//!
//! One read at a time is sent to Redis. It serves all requests that arrived before it was sent.

use std::collections::BTreeSet;

use tokio::sync::oneshot;

use crate::batcher::{Batcher, BatcherLimits};
use crate::domain::ids::ScheduleId;
use crate::redis::{Cmd, Script, Value};

use super::link::{Link, get, ms, number};
use super::times::FREED_TTL;

/// The most requests that share one read, and the most that wait for one.
const READS: BatcherLimits = BatcherLimits { batch_max: 4_096, pending_max: 16_384 };

/// A request for the version of a schedule.
struct FreedRead {
    schedule: ScheduleId,
    reply: oneshot::Sender<Option<i64>>,
}

/// The versions at which seats were freed.
pub(super) struct Freed {
    pub(super) script: Script,
    reads: Batcher<FreedRead>,
}

impl Freed {
    /// Starts the task that reads versions. Must be called inside a tokio runtime.
    pub(super) fn new(link: Link) -> Self {
        let script = Script::new(include_str!("scripts/freed.lua"));
        Self { script, reads: Batcher::start(READS, move |reads| read(link.clone(), reads)) }
    }

    /// The call of [`Self::script`] that records a version.
    pub(super) fn record(&self, schedule: ScheduleId, version: i64) -> Cmd {
        let mut call = self.script.call([key(schedule)].into_iter());
        call.arg(version).arg(ms(FREED_TTL));
        call
    }

    /// The newest version, read after this call; 0 if no seats were freed within the last minute ([`FREED_TTL`]),
    /// `None` without an answer.
    pub(super) async fn newest(&self, schedule: ScheduleId) -> Option<i64> {
        let (reply, answer) = oneshot::channel();
        self.reads.push(FreedRead { schedule, reply }).ok()?;
        answer.await.ok().flatten()
    }
}

/// Reads the version of each schedule once.
async fn read(link: Link, reads: Vec<FreedRead>) {
    let schedules: BTreeSet<ScheduleId> = reads.iter().map(|read| read.schedule).collect();
    let schedules: Vec<ScheduleId> = schedules.into_iter().collect();
    let commands: Vec<Cmd> = schedules.iter().map(|schedule| get(&key(*schedule))).collect();
    let answers = link.send_each(&commands, &[]).await;
    for FreedRead { schedule, reply } in reads {
        let answer = schedules.binary_search(&schedule).ok().and_then(|index| answers.get(index));
        let _ = reply.send(answer.and_then(Option::as_ref).and_then(version));
    }
}

fn version(value: &Value) -> Option<i64> {
    match value {
        Value::Nil => Some(0),
        value => number(value),
    }
}

fn key(schedule: ScheduleId) -> String {
    format!("{{sch:{schedule}}}:map:freed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_key_the_version_is_0_and_any_other_value_is_unknown() {
        assert_eq!(version(&Value::Nil), Some(0));
        assert_eq!(
            version(&Value::BulkString(b"1795372800000123".to_vec())),
            Some(1_795_372_800_000_123)
        );
        for strange in [Value::BulkString(b"soon".to_vec()), Value::Okay, Value::Array(Vec::new())]
        {
            assert_eq!(version(&strange), None, "{strange:?}");
        }
    }

    #[test]
    fn the_key_shares_a_slot_of_a_cluster_with_the_map() {
        assert_eq!(key(ScheduleId(42)), "{sch:42}:map:freed");
    }
}

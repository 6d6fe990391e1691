//! The newest version at which seats of a schedule were given back, as processes that share a Redis know it.
//!
//! A process that cancels a booking, releases a hold or lifts a block writes the version down before its answer
//! leaves. A process that is about to refuse seats from memory asks for that version after the request has come:
//! a map that is at it knows every seat that was given back before. The channel of news is not enough for this,
//! since a message that Redis has sent may still be unread.
//!
//! One question is under way at a time. What comes meanwhile is asked together with the next one.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::batcher::Gather;
use crate::domain::ids::ScheduleId;
use crate::redis::{Cmd, Script, Value};

use super::link::{Link, get, number};

/// How long a version is kept: far longer than a map may refuse without having asked the database.
const LIFE: Duration = Duration::from_secs(60);

/// Questions that are asked together, and those that may wait for it.
const LOOKS: (usize, usize) = (4_096, 16_384);

/// A question that waits.
struct Look {
    schedule: ScheduleId,
    reply: oneshot::Sender<Option<i64>>,
}

/// The versions at which seats were given back.
pub(super) struct Freed {
    pub(super) script: Script,
    looks: Gather<Look>,
}

impl Freed {
    /// Must be called inside a tokio runtime.
    pub(super) fn new(link: Link) -> Self {
        let script = Script::new(include_str!("scripts/freed.lua"));
        Self { script, looks: Gather::start(LOOKS, move |looks| look(link.clone(), looks)) }
    }

    /// The call of [`Self::script`] that writes a version down.
    pub(super) fn note(&self, schedule: ScheduleId, version: i64) -> Cmd {
        let mut call = self.script.call([key(schedule)].into_iter());
        call.arg(version).arg(u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX));
        call
    }

    /// The newest version at this moment or later; 0 if no seats were given back lately, `None` if Redis does
    /// not say.
    pub(super) async fn newest(&self, schedule: ScheduleId) -> Option<i64> {
        let (reply, answer) = oneshot::channel();
        self.looks.push(Look { schedule, reply }).ok()?;
        answer.await.ok().flatten()
    }
}

/// Asks once for each schedule.
async fn look(link: Link, looks: Vec<Look>) {
    let schedules: BTreeSet<ScheduleId> = looks.iter().map(|look| look.schedule).collect();
    let commands: Vec<Cmd> = schedules.iter().map(|schedule| get(&key(*schedule))).collect();
    let answers = link.ask_each(&commands, &[]).await;
    let versions = answers.iter().map(|answer| answer.as_ref().and_then(version));
    let versions: std::collections::BTreeMap<ScheduleId, Option<i64>> =
        schedules.into_iter().zip(versions).collect();
    for Look { schedule, reply } in looks {
        let _ = reply.send(versions.get(&schedule).copied().flatten());
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
    fn no_key_is_version_0_and_a_strange_value_is_unknown() {
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

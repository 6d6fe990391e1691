//! Turns: lanes of several processes that write the same schedules run their batches one after the other, in the order
//! in which they asked.
//!
//! Without a turn, each lane fills its batch and then waits for the rows that another process has locked, so its
//! batch has only the commands that had arrived before the wait. A lane that waits for its turn fills its batch
//! afterwards, with every command that has arrived meanwhile. A turn is an advisory lock of the transaction in which the
//! batch then runs, so it ends with that transaction, even if the process dies. It is taken before any row is locked,
//! and a transaction takes only one, so turns cannot deadlock. No promise depends on them: a lane without its turn waits
//! for the rows.

use std::time::{Duration, Instant};

use crate::domain::ids::ScheduleId;
use crate::domain::rows::JournalEntry;
use crate::store::Store;
use crate::store::connection::{Connections, Db, DbResult, Dialect, Transaction};

/// For how long a lane takes turns after it has last seen another process write its schedules.
const CONTENDED: Duration = Duration::from_secs(1);

/// The most schedules of a batch after which a lane takes turns. Batches of many schedules have few of them in common,
/// and the row locks let some of these batches run at the same time.
const SCHEDULES_MAX: usize = 8;

/// The first part of the key of the advisory locks. An arbitrary number, to which the number of lanes is added.
const TURNS: i32 = 0x5ea7_0000;

/// An open transaction that has the turn.
pub(crate) struct Turn {
    pub(super) transaction: Transaction,
    /// How long the lane has waited for it.
    pub(super) waited: Duration,
}

impl Turn {
    /// Ends the turn. If this fails, the connection is closed, and the turn ends with it.
    pub(super) async fn end(self) {
        drop(self.transaction.rollback().await);
    }
}

/// The turns of one lane.
pub(super) struct Turns {
    /// The advisory lock. Lanes of the same number have the same schedules in all processes with as many lanes.
    key: Option<(i32, i32)>,
    /// The schedules of the last batch that changed any, with the versions that it wrote.
    written: Vec<(ScheduleId, i64)>,
    /// When another process was last seen to write these schedules between two batches of this lane.
    contended_at: Option<Instant>,
    held: Option<Turn>,
}

impl Turns {
    /// The turns of the lane `number` of `lanes`.
    pub(super) fn new(dialect: Dialect, number: usize, lanes: usize) -> Self {
        let key =
            || Some((TURNS.checked_add(i32::try_from(lanes).ok()?)?, i32::try_from(number).ok()?));
        let key = if dialect.has_turns() { key() } else { None };
        Self { key, written: Vec::new(), contended_at: None, held: None }
    }

    /// Waits for the turn if other processes write the same schedules, at most for the time limit of a lock. Returns
    /// whether the lane has it now.
    pub(super) async fn take(&mut self, store: &Store, connections: &Connections) -> bool {
        let is_contended = self.contended_at.is_some_and(|at| at.elapsed() < CONTENDED);
        let Some(key) = self.key.filter(|_| is_contended) else { return false };
        let wait = connections.wait(&store.metrics);
        let taken = wait.measure(begin(store, connections, key));
        let error = match tokio::time::timeout(store.settings.limits.statement_timeout, taken).await
        {
            Ok(Ok(turn)) => {
                self.held = Some(turn);
                return true;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                // The connection is in an unknown state.
                if let Err(error) = connections.renew().await {
                    log::warn!("a write connection could not be replaced: {error}");
                }
                "no answer in time".to_owned()
            }
        };
        log::debug!("a batch runs without its turn: {error}");
        self.contended_at = None;
        false
    }

    /// The turn, if the lane has it. The lane then has it no longer.
    pub(super) fn release(&mut self) -> Option<Turn> {
        self.held.take()
    }

    /// Compares what a batch of so many commands wrote with what the batch before it wrote. One command alone gains
    /// nothing by a turn.
    pub(super) fn note(&mut self, commands: usize, journal: &[JournalEntry]) {
        if journal.is_empty() {
            return;
        }
        let is_foreign = |entry: &JournalEntry| {
            let before = self.written.iter().find(|(schedule, _)| *schedule == entry.schedule);
            before.is_some_and(|(_, version)| entry.version > version + 1)
        };
        let (mut foreign, mut written) = (false, Vec::<(ScheduleId, i64)>::new());
        for entry in journal {
            // A batch that was split has written a schedule several times.
            match written.iter_mut().find(|(schedule, _)| *schedule == entry.schedule) {
                Some((_, version)) => *version = entry.version,
                None => {
                    foreign |= is_foreign(entry);
                    written.push((entry.schedule, entry.version));
                }
            }
            if written.len() > SCHEDULES_MAX {
                self.written.clear();
                return;
            }
        }
        if foreign && commands > 1 {
            self.contended_at = Some(Instant::now());
        }
        self.written = written;
    }
}

/// Begins a transaction and waits for the turn in it.
async fn begin(store: &Store, connections: &Connections, key: (i32, i32)) -> DbResult<Turn> {
    let began = Instant::now();
    let transaction = Db::new(connections.ready().await?, store.dialect).begin().await?;
    let sql = "SELECT pg_advisory_xact_lock($1, $2)";
    match transaction.execute(sql, vec![key.0.into(), key.1.into()]).await {
        Ok(_) => Ok(Turn { transaction, waited: began.elapsed() }),
        Err(error) => {
            drop(transaction.rollback().await);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a batch wrote: schedules and versions.
    fn journal(written: &[(i64, i64)]) -> Vec<JournalEntry> {
        let entry = |&(schedule, version)| JournalEntry {
            schedule: ScheduleId(schedule),
            version,
            changes: Vec::new(),
        };
        written.iter().map(entry).collect()
    }

    /// Whether the lane would wait for its turn after these batches.
    fn is_contended_after(batches: &[(usize, &[(i64, i64)])]) -> bool {
        let mut turns = Turns::new(Dialect::Postgres, 0, 2);
        for (commands, written) in batches {
            turns.note(*commands, &journal(written));
        }
        turns.contended_at.is_some()
    }

    #[test]
    fn a_lane_takes_turns_after_another_process_has_written_between_its_batches() {
        assert!(is_contended_after(&[(9, &[(1, 5)]), (9, &[(1, 7)])]));
        let refused = (9, &[][..]);
        assert!(is_contended_after(&[(9, &[(1, 5), (3, 2)]), refused, (9, &[(3, 9), (5, 1)])]));
    }

    #[test]
    fn a_lane_that_writes_alone_takes_no_turns() {
        assert!(!is_contended_after(&[(9, &[(1, 5)]), (9, &[(1, 6), (3, 8)]), (9, &[(3, 9)])]));
        let split: &[(i64, i64)] = &[(1, 6), (1, 7), (1, 8)];
        assert!(!is_contended_after(&[(9, &[(1, 5)]), (9, split), (9, &[(1, 9)])]));
    }

    #[test]
    fn single_commands_and_batches_of_many_schedules_take_no_turns() {
        assert!(!is_contended_after(&[(1, &[(1, 5)]), (1, &[(1, 7)])]));
        let many = |version| (1..=9).map(|schedule| (schedule, version)).collect::<Vec<_>>();
        assert!(!is_contended_after(&[(9, &many(5)), (9, &many(7))]));
    }

    #[test]
    fn sqlite_has_no_turns() {
        assert!(Turns::new(Dialect::Sqlite, 0, 1).key.is_none());
        let key = |number| Turns::new(Dialect::Postgres, number, 2).key;
        assert!(key(0).is_some() && key(0) != key(1));
    }
}

//! Reading the journal: the changes of a schedule's seats after a version.

use std::time::Duration;

use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{HistoryId, ScheduleId, SeatNumber};
use crate::domain::rows::JournalEntry;
use crate::domain::seat::SeatState;
use crate::store::connection::{Db, DbResult, HISTORY, lineage, rows};
use crate::store::{ReadFrom, Store};

/// The most entries that are read: for more, a snapshot is cheaper.
const ENTRIES_MAX: i64 = 1_000;

/// The journal of a schedule after a version, as one database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The history that the journal was read in.
    pub history: HistoryId,
    /// The version of the schedule in this database. If the last entry leads to an older version, some entries were
    /// not read, or a new history has begun: read a snapshot.
    pub head: i64,
    /// Ascending by version; without the identifiers of claims, which a seat map does not show.
    pub entries: Vec<JournalEntry>,
    /// The age of the newest heartbeat in this database: the data of a lagging replica is at least as old.
    pub behind: Duration,
}

impl Store {
    /// The journal of a schedule after `version`, at most 1,000 entries; `None` if there is no such schedule.
    pub async fn journal_after(
        &self,
        schedule: ScheduleId,
        version: i64,
        from: ReadFrom,
    ) -> StoreResult<Option<Journal>> {
        self.read_from(from, move |db| read(db, schedule, version)).await
    }
}

async fn read(db: Db, schedule: ScheduleId, version: i64) -> DbResult<Option<Journal>> {
    type Columns = (i64, i64, Option<i64>, Option<String>, String);
    let sql = format!(
        "SELECT v.version, (SELECT {} - beat_at FROM heartbeat WHERE id = 1), j.version, j.changes,
             {HISTORY}
         FROM schedule_version v
         LEFT JOIN (SELECT version, changes FROM journal
             WHERE schedule_id = $1 AND version > $2 ORDER BY version LIMIT $3) j ON true
         WHERE v.schedule_id = $1 ORDER BY j.version",
        db.dialect.now()
    );
    let values = vec![schedule.0.into(), version.into(), ENTRIES_MAX.into()];
    let mut journal: Option<Journal> = None;
    for (head, behind, version, changes, history) in db.fetch::<Columns>(sql, values).await? {
        let journal = match &mut journal {
            Some(journal) => journal,
            none => {
                let history = lineage::history(&history)?;
                let behind = Duration::from_millis(u64::try_from(behind).unwrap_or(0));
                none.insert(Journal { history, head, entries: Vec::new(), behind })
            }
        };
        if let (Some(version), Some(changes)) = (version, changes) {
            journal.entries.push(JournalEntry { schedule, version, changes: parse(&changes)? });
        }
    }
    Ok(journal)
}

/// Parses the changes that [`rows::journal_column`] wrote.
pub(crate) fn parse(text: &str) -> DbResult<Vec<(SeatNumber, SeatState)>> {
    let rows: Vec<Vec<i64>> =
        serde_json::from_str(text).map_err(|_| rows::corrupt("journal entry"))?;
    let one = |row: &Vec<i64>| {
        let number = u32::try_from(*row.first()?).ok()?;
        let state = match (row.get(1)?, row.get(2)) {
            (0, None) => SeatState::Available,
            (1, Some(until)) => SeatState::Held { hold: Uuid::nil(), until: EpochMs(*until) },
            (2, None) => SeatState::Booked { booking: Uuid::nil() },
            (3, None) => SeatState::Blocked { block: Uuid::nil() },
            _ => return None,
        };
        Some((SeatNumber(number), state))
    };
    let changes: Option<Vec<_>> = rows.iter().map(one).collect();
    changes.ok_or_else(|| rows::corrupt("journal entry"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_entry_survives_its_column() {
        let held = SeatState::Held { hold: Uuid::nil(), until: EpochMs(17) };
        let booked = SeatState::Booked { booking: Uuid::nil() };
        let changes = vec![
            (SeatNumber(0), SeatState::Available),
            (SeatNumber(7), held),
            (SeatNumber(8), booked),
            (SeatNumber(9), SeatState::Blocked { block: Uuid::nil() }),
        ];
        let entry = JournalEntry { schedule: ScheduleId(1), version: 2, changes };
        let text = rows::journal_column(&entry);
        assert_eq!(text, "[[0,0],[7,1,17],[8,2],[9,3]]");
        assert_eq!(parse(&text).unwrap(), entry.changes);
    }

    #[test]
    fn a_strange_entry_is_no_entry() {
        for wrong in ["", "{}", "[[1]]", "[[1,9]]", "[[-1,0]]", "[[1,1]]", "[[1,2,3]]"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}

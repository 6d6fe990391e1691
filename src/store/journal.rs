//! Reading the journal: what happened to a schedule's seats after a version.

use std::sync::Arc;

use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr};
use uuid::Uuid;

use crate::domain::clock::EpochMs;
use crate::domain::failure::StoreError;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rows::JournalEntry;
use crate::domain::seat::SeatState;

use super::dialect::Dialect;
use super::{ReadFrom, Store, convert};

/// More entries than this are not read: a snapshot is cheaper then.
const ENTRIES_MAX: i64 = 1_000;

impl Store {
    /// The journal of a schedule after `version`, ascending, at most 1,000 entries; the claims in it are
    /// without their identifiers, which a map does not show.
    pub async fn journal_after(
        self: &Arc<Self>,
        schedule: ScheduleId,
        version: i64,
        from: ReadFrom,
    ) -> Result<Vec<JournalEntry>, StoreError> {
        let dialect = self.dialect;
        self.read_from(from, move |db| read(db, dialect, schedule, version)).await
    }
}

async fn read(
    db: DatabaseConnection,
    dialect: Dialect,
    schedule: ScheduleId,
    version: i64,
) -> Result<Vec<JournalEntry>, DbErr> {
    let sql = "SELECT version, changes FROM journal
         WHERE schedule_id = $1 AND version > $2 ORDER BY version LIMIT $3";
    let values = vec![schedule.0.into(), version.into(), ENTRIES_MAX.into()];
    let rows = db.query_all_raw(dialect.statement(sql, values)).await?;
    let one = |row: &sea_orm::QueryResult| {
        let (version, changes) = row.try_get_many_by_index::<(i64, String)>()?;
        Ok(JournalEntry { schedule, version, changes: parse(&changes)? })
    };
    rows.iter().map(one).collect()
}

/// Reads what [`convert::journal_column`] wrote.
fn parse(text: &str) -> Result<Vec<(SeatNumber, SeatState)>, DbErr> {
    let rows: Vec<Vec<i64>> =
        serde_json::from_str(text).map_err(|_| convert::corrupt("journal entry"))?;
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
    changes.ok_or_else(|| convert::corrupt("journal entry"))
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
        let text = convert::journal_column(&entry);
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

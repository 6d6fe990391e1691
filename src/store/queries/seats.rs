//! The states of all seats of a schedule at one version.

use crate::domain::clock::EpochMs;
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{InHistory, ScheduleId};
use crate::store::connection::{Db, DbResult, HISTORY, lineage, rows};
use crate::store::{ReadFrom, Store};

/// The seats of a schedule at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version, in the history that it was read in.
    pub at: InHistory<i64>,
    /// By seat number: the code of the state, and the stored end of a hold.
    pub states: Vec<(u8, Option<EpochMs>)>,
}

impl Store {
    /// All seats of a schedule. They are read in one statement, and so all at one version.
    pub async fn seats(
        &self,
        schedule: ScheduleId,
        from: ReadFrom,
    ) -> StoreResult<Option<Snapshot>> {
        self.read_from(from, move |db| read(db, schedule)).await
    }
}

async fn read(db: Db, schedule: ScheduleId) -> DbResult<Option<Snapshot>> {
    // The history is returned once, with the first seat.
    let sql = format!(
        "SELECT v.version, s.number, s.state, s.held_until,
             CASE s.number WHEN 0 THEN {HISTORY} ELSE '' END
         FROM schedule_version v JOIN seat s ON s.schedule_id = v.schedule_id
         WHERE v.schedule_id = $1 ORDER BY s.number"
    );
    let rows = db.query(db.dialect.statement(sql, vec![schedule.0.into()])).await?;
    let mut snapshot: Option<Snapshot> = None;
    for row in &rows {
        let (version, number, state, until, history) =
            row.try_get_many_by_index::<(i64, i32, i16, Option<i64>, String)>()?;
        let snapshot = match &mut snapshot {
            Some(snapshot) => snapshot,
            none => {
                let at = InHistory { history: lineage::history(&history)?, at: version };
                none.insert(Snapshot { at, states: Vec::with_capacity(rows.len()) })
            }
        };
        if rows::seat_number(number)?.0 as usize != snapshot.states.len() {
            return Err(rows::corrupt("gap in the seat numbers"));
        }
        let code = u8::try_from(state).map_err(|_| rows::corrupt("seat state"))?;
        snapshot.states.push((code, until.map(EpochMs)));
    }
    Ok(snapshot)
}

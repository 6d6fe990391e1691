//! The states of all seats of a schedule at one version.

use std::sync::Arc;

use entity::schedule_version;
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbErr, EntityTrait as _};

use crate::domain::clock::EpochMs;
use crate::domain::failure::StoreError;
use crate::domain::ids::ScheduleId;

use super::dialect::Dialect;
use super::{Store, convert};

/// The seats of a schedule at a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The version.
    pub version: i64,
    /// By number: the state's wire number, and the written end of a hold.
    pub states: Vec<(u8, Option<EpochMs>)>,
}

impl Store {
    /// The version that a schedule's seats are at; `None` if there is no such schedule.
    pub async fn seats_version(
        self: &Arc<Self>,
        schedule: ScheduleId,
    ) -> Result<Option<i64>, StoreError> {
        self.find(move |db| async move {
            let row = schedule_version::Entity::find_by_id(schedule.0).one(&db).await?;
            Ok(row.map(|row| row.version))
        })
        .await
    }

    /// All seats of a schedule, read in one statement and so all at one version.
    pub async fn seats(
        self: &Arc<Self>,
        schedule: ScheduleId,
    ) -> Result<Option<Snapshot>, StoreError> {
        let dialect = self.dialect;
        self.find(move |db| read(db, dialect, schedule)).await
    }
}

async fn read(
    db: DatabaseConnection,
    dialect: Dialect,
    schedule: ScheduleId,
) -> Result<Option<Snapshot>, DbErr> {
    let sql = "SELECT v.version, s.number, s.state, s.held_until
         FROM schedule_version v JOIN seat s ON s.schedule_id = v.schedule_id
         WHERE v.schedule_id = $1 ORDER BY s.number";
    let rows = db.query_all_raw(dialect.statement(sql, vec![schedule.0.into()])).await?;
    let mut snapshot: Option<Snapshot> = None;
    for row in &rows {
        let (version, number, state, until) =
            row.try_get_many_by_index::<(i64, i32, i16, Option<i64>)>()?;
        let snapshot = snapshot
            .get_or_insert_with(|| Snapshot { version, states: Vec::with_capacity(rows.len()) });
        if convert::seat_number(number)?.0 as usize != snapshot.states.len() {
            return Err(convert::corrupt("gap in the seat numbers"));
        }
        let code = u8::try_from(state).map_err(|_| convert::corrupt("seat state"))?;
        snapshot.states.push((code, until.map(EpochMs)));
    }
    Ok(snapshot)
}

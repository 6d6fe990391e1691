//! Reading holds and blocks.

use std::sync::Arc;

use entity::{hold, seat};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseConnection, DbErr, EntityTrait as _,
    QueryFilter as _, QueryOrder as _,
};

use crate::domain::clock::{EpochMs, hold_end};
use crate::domain::effect::{HoldView, PricedSeat};
use crate::domain::failure::StoreError;
use crate::domain::ids::{HoldId, ScheduleId, SeatNumber};

use super::batch::load::outages;
use super::dialect::Dialect;
use super::{Store, convert};

impl Store {
    /// One hold as it stands now; a hold that time has ended is shown with its written status, and its
    /// `ends_at` not after `now` tells the rest.
    /// Read at the version `at_least` of its schedule or later.
    pub async fn hold(
        self: &Arc<Self>,
        id: HoldId,
        at_least: i64,
    ) -> Result<Option<HoldView>, StoreError> {
        let (dialect, grace) = (self.dialect, self.settings.policy.outage_grace);
        let seen = (Some(id.schedule), at_least);
        self.find_since(seen, move |db| async move {
            let Some(row) = hold::Entity::find_by_id((id.schedule.0, id.uuid)).one(&db).await?
            else {
                return Ok(None);
            };
            let row = convert::hold(row)?;
            let (now, text) = clock(&db, dialect).await?;
            let ends_at = hold_end(row.until, &outages(&text)?, grace);
            let seats = priced(&db, id.schedule, &row.seats).await?;
            let currency = currency(&db, id.schedule).await?;
            Ok(Some(HoldView { row, seats, currency, ends_at, now }))
        })
        .await
    }
}

async fn clock(db: &DatabaseConnection, dialect: Dialect) -> Result<(EpochMs, String), DbErr> {
    let sql = format!(
        "SELECT {}, (SELECT string_agg(began_at || ':' || ended_at, ',') FROM outage)",
        dialect.now()
    );
    let row = db.query_one_raw(dialect.statement(sql, Vec::new())).await?;
    let row = row.ok_or_else(|| convert::corrupt("clock"))?;
    let (now, text) = row.try_get_many_by_index::<(i64, Option<String>)>()?;
    Ok((EpochMs(now), text.unwrap_or_default()))
}

/// The seats of a claim, in plan order, with label and price.
pub(crate) async fn priced(
    db: &DatabaseConnection,
    schedule: ScheduleId,
    seats: &[SeatNumber],
) -> Result<Vec<PricedSeat>, DbErr> {
    let numbers = seats.iter().map(|number| convert::number_column(*number));
    let rows = seat::Entity::find()
        .filter(seat::Column::ScheduleId.eq(schedule.0))
        .filter(seat::Column::Number.is_in(numbers))
        .order_by_asc(seat::Column::Number)
        .all(db)
        .await?;
    let one = |row: seat::Model| {
        let number = convert::seat_number(row.number)?;
        Ok(PricedSeat { number, label: row.label, price: row.price })
    };
    rows.into_iter().map(one).collect()
}

pub(crate) async fn currency(
    db: &DatabaseConnection,
    schedule: ScheduleId,
) -> Result<String, DbErr> {
    let row = entity::schedule::Entity::find_by_id(schedule.0).one(db).await?;
    row.map(|row| row.currency).ok_or_else(|| convert::corrupt("schedule"))
}

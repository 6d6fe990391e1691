//! Reading holds and blocks.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use entity::{block, hold};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _, Value};
use uuid::Uuid;

use crate::domain::catalogue::{HoldFilter, Page};
use crate::domain::claims::{BlockRow, HoldRow};
use crate::domain::clock::{EpochMs, hold_end};
use crate::domain::effect::{BlockView, HoldView};
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{BlockId, CustomerId, HoldId, InHistory, ScheduleId};
use crate::domain::rows::SeatKey;
use crate::store::connection::{Db, DbResult, rows};
use crate::store::queries::outages::outages;
use crate::store::queries::priced::Priced;
use crate::store::{ReadFrom, Store};

/// The hold that has a seat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The hold.
    pub hold: HoldId,
    /// The customer of the hold.
    pub customer: CustomerId,
    /// When the hold expires, as stored with the seat.
    pub until: EpochMs,
}

impl Store {
    /// One hold, read at the version `at_least` of its schedule or later. A hold that has expired but was not swept
    /// has its stored status, and its `ends_at` is not after `now`.
    pub async fn hold(&self, id: HoldId, at_least: i64) -> StoreResult<Option<HoldView>> {
        self.hold_of(id, None, at_least).await
    }

    /// Like [`Self::hold`]; with an owner only if it is this customer's.
    pub async fn hold_of(
        &self,
        id: HoldId,
        owner: Option<CustomerId>,
        at_least: i64,
    ) -> StoreResult<Option<HoldView>> {
        let grace = self.settings.policy.outage_grace;
        self.find_since(Some(id.schedule), at_least, move |db| {
            let owner = owner.clone();
            async move {
                let find = hold::Entity::find_by_id((id.schedule.0, id.uuid));
                let find = find.apply_if(owner, |find, owner| {
                    find.filter(hold::Column::CustomerId.eq(owner.as_str()))
                });
                let Some(row) = find.one(&db.connection).await? else { return Ok(None) };
                Ok(views(&db, grace, vec![rows::hold(row)?]).await?.pop())
            }
        })
        .await
    }

    /// The active holds of a customer, by schedule and creation, from at most `limit` rows. A page has fewer items if
    /// holds have expired that no sweep has marked yet. Read at the version `at_least` of their schedule or later.
    pub async fn holds(
        &self,
        filter: HoldFilter,
        at_least: i64,
        limit: usize,
    ) -> StoreResult<Page<HoldView>> {
        let grace = self.settings.policy.outage_grace;
        let filter = Arc::new(filter);
        let cursor = filter.after.map(|after| after.history);
        let (history, from) = self.history_of_page(cursor).await?;
        self.read_since(from, filter.schedule, at_least, |db| {
            let filter = Arc::clone(&filter);
            async move {
                // Each form can be answered by one index alone: `hold_live_of_customer`, whose keys are these expressions,
                // and `hold_listed`.
                let sql = match filter.schedule {
                    Some(_) => format!(
                        "SELECT h.* FROM hold h WHERE {}
                         AND h.customer_id || '' = $1 AND h.status + 0 = 0
                         AND (h.schedule_id + 0, h.id) > ($2, $3) ORDER BY h.id LIMIT $4",
                        db.dialect.of_schedule("h", "$5")
                    ),
                    None => format!(
                        "SELECT h.* FROM hold h WHERE {} AND h.status = 0
                         AND (h.schedule_id + 0, h.id) > ($2, $3)
                         ORDER BY h.customer_id, h.schedule_id + 0, h.id LIMIT $4",
                        db.dialect.only("h.customer_id", "$1")
                    ),
                };
                let after = filter.after.map(|after| after.at);
                let after = after.map_or((0, Uuid::nil()), |id| (id.schedule.0, id.uuid));
                let customer = filter.customer.as_str().to_owned();
                let first: [Value; 4] =
                    [customer.into(), after.0.into(), after.1.into(), rows::more_than(limit)];
                let schedule = filter.schedule.map(|schedule| schedule.0.into());
                let values = first.into_iter().chain(schedule).collect();
                let models = db.models::<hold::Model>(sql, values).await?.into_iter();
                let rows: Vec<HoldRow> = models.map(rows::hold).collect::<DbResult<_>>()?;
                let seats = |row: &HoldRow| row.seats.len();
                let page = Page::of_claims(history, rows, limit, seats, |row| row.id);
                let mut views = views(&db, grace, page.items).await?;
                views.retain(|hold| hold.ends_at > hold.now);
                Ok(Page { items: views, next_cursor: page.next_cursor })
            }
        })
        .await
    }

    /// The holds that have these seats, read on the primary. Seats without a hold are left out.
    pub async fn holders(&self, seats: Vec<SeatKey>) -> StoreResult<HashMap<SeatKey, Holder>> {
        let before = "SELECT s.schedule_id, s.number, s.held_until, t.id, t.customer_id FROM";
        let after = format!(
            "{} {}",
            self.dialect.join_by_key("seat", "s", &["schedule_id", "number"]),
            self.dialect.look_up("hold", "t.schedule_id = r.schedule_id AND t.id = s.hold_id")
        );
        self.read_from(ReadFrom::Primary, |db| {
            let (seats, after) = (rows::seat_keys(seats.iter().copied()), after.clone());
            async move {
                type Columns = (i64, i32, i64, Uuid, String);
                let found = db.fetch_set::<Columns, _>(seats, Vec::new(), before, &after).await?;
                let one = |(schedule, number, until, uuid, customer)| {
                    let schedule = ScheduleId(schedule);
                    let hold = HoldId { schedule, uuid };
                    let customer = rows::customer(customer)?;
                    let until = EpochMs(until);
                    let key = (schedule, rows::seat_number(number)?);
                    Ok((key, Holder { hold, customer, until }))
                };
                found.into_iter().map(one).collect()
            }
        })
        .await
    }

    /// At most `limit` blocks of a schedule that were not lifted, in the order of their creation. Read at the version
    /// `at_least` of the schedule or later.
    pub async fn blocks(
        &self,
        schedule: ScheduleId,
        at_least: i64,
        after: Option<InHistory<BlockId>>,
        limit: usize,
    ) -> StoreResult<Page<BlockView>> {
        let (history, from) = self.history_of_page(after.map(|after| after.history)).await?;
        self.read_since(from, Some(schedule), at_least, move |db| async move {
            // The key of the index `block_listed`. The primary key would read lifted blocks, too.
            let sql = format!(
                "SELECT b.* FROM block b WHERE {} AND b.id > $2
                 AND NOT b.lifted ORDER BY b.id LIMIT $3",
                db.dialect.of_schedule("b", "$1")
            );
            let after = after.map_or(Uuid::nil(), |after| after.at.uuid);
            let values = vec![schedule.0.into(), after.into(), rows::more_than(limit)];
            let models = db.models::<block::Model>(sql, values).await?.into_iter();
            let rows: Vec<BlockRow> = models.map(rows::block).collect::<DbResult<_>>()?;
            let seats = |row: &BlockRow| row.seats.len();
            let page = Page::of_claims(history, rows, limit, seats, |row| row.id);
            let lists = page.items.iter().map(|row| (schedule, row.seats.as_slice()));
            let priced = Priced::of(&db, lists).await?;
            let view = |row: BlockRow| {
                let seats = priced.seats(schedule, &row.seats)?;
                Ok(BlockView { labels: seats.into_iter().map(|seat| seat.label).collect(), row })
            };
            let items = page.items.into_iter().map(view).collect::<DbResult<_>>()?;
            Ok(Page { items, next_cursor: page.next_cursor })
        })
        .await
    }
}

/// Adds labels, prices, currencies and the ends after outages to holds, in a fixed number of statements.
async fn views(db: &Db, grace: Duration, rows: Vec<HoldRow>) -> DbResult<Vec<HoldView>> {
    // An outage that ended more than the grace before the earliest end cannot have extended any of these holds.
    let grace_ms = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
    let earliest = rows.iter().map(|row| row.until.0).min().unwrap_or_default();
    let sql = format!(
        "SELECT {}, (SELECT string_agg(began_at || ':' || ended_at, ',') FROM outage
             WHERE ended_at > $1)",
        db.dialect.now()
    );
    let since = earliest.saturating_sub(grace_ms);
    let clock = db.fetch_one::<(i64, Option<String>)>(sql, vec![since.into()]).await?;
    let (now, outage_text) = clock.ok_or_else(|| rows::corrupt("clock"))?;
    let outages = outages(outage_text.as_deref().unwrap_or_default())?;
    let lists = rows.iter().map(|row| (row.id.schedule, row.seats.as_slice()));
    let priced = Priced::of(db, lists).await?;
    let view = |row: HoldRow| {
        let seats = priced.seats(row.id.schedule, &row.seats)?;
        let currency = priced.currency(row.id.schedule)?;
        let ends_at = hold_end(row.until, &outages, grace);
        Ok(HoldView { row, seats, currency, ends_at, now: EpochMs(now) })
    };
    rows.into_iter().map(view).collect()
}

//! The audit of one schedule: its seats, its journal and its customers, page by page in the order of their keys. Its
//! claims are in `claims`.

use entity::{schedule, seat};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use uuid::Uuid;

use super::page::Pages;
use super::{Auditor, PAGE};
use crate::domain::audit::schedule::{JournalFact, ScheduleAudit, ScheduleFacts};
use crate::domain::audit::{Invariant, Subject, Violation};
use crate::domain::clock::{EpochMs, Outage};
use crate::domain::ids::{CustomerId, ScheduleId, SeatNumber};
use crate::domain::seat::{SeatRow, SeatState};
use crate::store::connection::{DbResult, Dialect, claim_events, rows};
use crate::store::queries::{citus, journal, sweep};

const JOURNAL: Pages = Pages { table: "journal", key: "version", list: "changes" };

/// A batch record whose age is less than [`sweep::BATCH_LIFE_MS`] by at most this may have been purged already.
const PURGE_MARGIN_MS: i64 = 3_600_000;

impl Auditor {
    pub(super) async fn schedule(&mut self, row: &schedule::Model) -> DbResult<()> {
        let id = ScheduleId(row.id);
        let count = |number: i32| u32::try_from(number).unwrap_or(0);
        let facts = ScheduleFacts {
            id,
            seats: count(row.seats),
            version: self.version(id).await?,
            max_seats_per_booking: count(row.max_seats_per_booking),
            now: self.audited.at,
        };
        let mut audit = ScheduleAudit::new(facts);
        self.seats(id, &mut audit).await?;
        self.sales(id, &mut audit).await?;
        self.bookings(id, &mut audit).await?;
        self.unlisted_sales(id, &mut audit).await?;
        self.holds(id, &mut audit).await?;
        self.blocks(id, &mut audit).await?;
        self.journal(id, &mut audit).await?;
        audit.finish();
        self.page_done(&mut audit).await;
        if let Some(max) = row.max_seats_per_customer {
            self.customers(id, max).await?;
        }
        self.audited.schedules += 1;
        self.audited.seats += audit.seat_count() as u64;
        Ok(())
    }

    async fn version(&self, id: ScheduleId) -> DbResult<Option<i64>> {
        let sql = "SELECT version FROM schedule_version WHERE schedule_id = $1";
        self.session.fetch_one(sql, vec![id.0.into()]).await
    }

    async fn seats(&mut self, id: ScheduleId, audit: &mut ScheduleAudit) -> DbResult<()> {
        let mut after = i32::MIN;
        loop {
            let page = seat::Entity::find()
                .filter(seat::Column::ScheduleId.eq(id.0))
                .filter(seat::Column::Number.gt(after))
                .order_by_asc(seat::Column::Number)
                .limit(PAGE)
                .all(&self.session.connection)
                .await?;
            let length = page.len() as u64;
            for row in page {
                after = row.number;
                let columns =
                    (row.state, row.hold_id, row.held_until, row.booking_id, row.block_id);
                let read = rows::seat_number(row.number)
                    .and_then(|number| Ok((number, rows::seat_state(columns)?)));
                let row_key = ("seat", Some(id), row.number.to_string());
                // An unreadable seat is added, too: without it, all later seats would seem to have wrong numbers.
                let (number, state) = self.readable(row_key, read).await.unwrap_or_else(|| {
                    (SeatNumber(u32::try_from(row.number).unwrap_or(0)), SeatState::Available)
                });
                audit.seat(number, SeatRow { label: row.label, price: row.price, state });
            }
            self.page_done(audit).await;
            if length < PAGE {
                return Ok(());
            }
        }
    }

    async fn journal(&mut self, id: ScheduleId, audit: &mut ScheduleAudit) -> DbResult<()> {
        let oldest_ms = self.audited.at.0 - sweep::BATCH_LIFE_MS + PURGE_MARGIN_MS;
        let oldest = sweep::first_uuid_of(oldest_ms);
        let sql = format!(
            "SELECT j.version, j.batch_id, j.changes, j.events, b.attempt FROM journal j
             LEFT JOIN batch b ON b.id = j.batch_id {}
             WHERE j.schedule_id = $1 AND j.version > $2 AND j.version <= $3 ORDER BY j.version",
            self.session.dialect.same_schedule("b", "j")
        );
        let mut after = i64::MIN;
        while let Some(last) = self.end_of_page(JOURNAL, id, after).await? {
            let values = vec![id.0.into(), after.into(), last.into()];
            type Columns = (i64, Uuid, String, Option<String>, Option<i16>);
            let page = self.session.fetch::<Columns>(&sql, values).await?;
            after = last;
            self.audited.journal += page.len() as u64;
            for (version, batch, changes, events, attempt) in page {
                let row_key = || ("journal", Some(id), version.to_string());
                let changes = self.readable(row_key(), journal::parse(&changes)).await;
                let changes = changes.unwrap_or_default();
                let events = events.map(|events| claim_events::parse(&events)).transpose();
                let events = self.readable(row_key(), events).await.flatten();
                let has_batch = attempt.is_some().then_some(true);
                let has_batch = has_batch.or_else(|| (batch >= oldest).then_some(false));
                audit.journal(&JournalFact { version, has_batch, changes, events });
            }
            self.page_done(audit).await;
        }
        Ok(())
    }

    /// Reports customers above the schedule's limit. Holds that an outage may have extended are left out, and the
    /// bookings that they became: the customer may have taken other seats after the stored end of such a hold and
    /// before the outage was recorded.
    async fn customers(&self, id: ScheduleId, max: i32) -> DbResult<()> {
        let grace = i64::try_from(self.policy.outage_grace.as_millis()).unwrap_or(i64::MAX);
        let mut values = vec![
            id.0.into(),
            i64::from(max).into(),
            self.audited.at.0.into(),
            grace.into(),
            PAGE.into(),
        ];
        let dialect = self.session.dialect;
        let outages = match dialect {
            // The workers, which have the claims, do not have the table.
            Dialect::Citus => {
                let sql = "SELECT began_at, ended_at FROM outage";
                let found = self.session.fetch::<(i64, i64)>(sql, Vec::new()).await?.into_iter();
                let found = found
                    .map(|(began, ended)| Outage { began: EpochMs(began), ended: EpochMs(ended) });
                let found: Vec<Outage> = found.collect();
                citus::outage_rows(&found).source(dialect, &mut values)
            }
            Dialect::Postgres | Dialect::Sqlite => "outage r".to_owned(),
        };
        let in_outage = format!(
            "EXISTS (SELECT 1 FROM {outages} WHERE h.held_until >= r.began_at
             AND h.created_at < r.ended_at + $4)"
        );
        let sql = format!(
            "SELECT customer_id, CAST(sum(seats) AS BIGINT) FROM (
                 SELECT b.customer_id, b.live_seats AS seats FROM booking b
                 WHERE b.schedule_id = $1 AND b.live_seats > 0 AND NOT EXISTS (
                     SELECT 1 FROM hold h WHERE h.schedule_id = b.schedule_id
                     AND h.id = b.hold_id AND {in_outage})
                 UNION ALL
                 SELECT h.customer_id, h.seat_count AS seats FROM hold h
                 WHERE h.schedule_id = $1 AND h.status = 0 AND h.held_until > $3
                 AND NOT {in_outage}) AS owned
             GROUP BY customer_id HAVING sum(seats) > $2 ORDER BY customer_id LIMIT $5"
        );
        for (customer, seats) in self.session.fetch::<(String, i64)>(sql, values).await? {
            let row_key = ("booking", Some(id), customer.clone());
            let read = CustomerId::parse(customer).map_err(|_| rows::corrupt("customer"));
            let Some(customer) = self.readable(row_key, read).await else { continue };
            let violation = Violation {
                invariant: Invariant::CustomerLimitIsKept,
                schedule: Some(id),
                subject: Subject::Customer(customer),
                expected: format!("{max} seats at most"),
                found: seats.to_string(),
            };
            self.report(vec![violation]).await;
        }
        Ok(())
    }
}

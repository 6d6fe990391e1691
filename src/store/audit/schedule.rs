//! One schedule's rows, page by page in the order of their keys.

use std::collections::HashMap;

use entity::{block, booking, hold, schedule, seat};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DbErr, EntityTrait as _, FromQueryResult as _,
    QueryFilter as _, QueryOrder as _, QueryResult, QuerySelect as _, Value,
};
use uuid::Uuid;

use crate::domain::audit::schedule::{JournalFact, ScheduleAudit, ScheduleFacts};
use crate::domain::audit::{Invariant, Subject, Violation};
use crate::domain::claims::BookingRow;
use crate::domain::clock::EpochMs;
use crate::domain::ids::{BookingId, CustomerId, ScheduleId, SeatNumber};
use crate::domain::rows::BookedSeat;
use crate::domain::seat::{SeatRow, SeatState};
use crate::store::dialect::{Column, RowSet};
use crate::store::{convert, journal, sweep};

use super::{Auditor, PAGE};

/// A record of a batch as old as this may be being purged right now.
const PURGE_MARGIN_MS: i64 = 3_600_000;

impl Auditor {
    pub(super) async fn schedule(&mut self, row: &schedule::Model) -> Result<(), DbErr> {
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
        self.holds(id, &mut audit).await?;
        self.blocks(id, &mut audit).await?;
        self.journal(id, &mut audit).await?;
        audit.finish();
        self.tell(audit.take_found()).await;
        if let Some(max) = row.max_seats_per_customer {
            self.customers(id, max).await?;
        }
        self.audited.schedules += 1;
        self.audited.seats += audit.seat_count() as u64;
        Ok(())
    }

    async fn rows(&self, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>, DbErr> {
        self.transaction.query_all_raw(self.dialect.statement(sql, values)).await
    }

    async fn version(&self, id: ScheduleId) -> Result<Option<i64>, DbErr> {
        let sql = "SELECT version FROM schedule_version WHERE schedule_id = $1";
        let rows = self.rows(sql, vec![id.0.into()]).await?;
        rows.first().map(|row| row.try_get_by_index(0)).transpose()
    }

    async fn seats(&self, id: ScheduleId, audit: &mut ScheduleAudit) -> Result<(), DbErr> {
        let mut after = i32::MIN;
        loop {
            let page = seat::Entity::find()
                .filter(seat::Column::ScheduleId.eq(id.0))
                .filter(seat::Column::Number.gt(after))
                .order_by_asc(seat::Column::Number)
                .limit(PAGE)
                .all(&self.transaction)
                .await?;
            let length = page.len() as u64;
            for row in page {
                after = row.number;
                let columns =
                    (row.state, row.hold_id, row.held_until, row.booking_id, row.block_id);
                let read = convert::seat_number(row.number)
                    .and_then(|number| Ok((number, convert::seat_state(columns)?)));
                let place = ("seat", Some(id), row.number.to_string());
                // One that cannot be read still has its place, or all behind it would seem wrong.
                let (number, state) = self.readable(place, read).await.unwrap_or_else(|| {
                    (SeatNumber(u32::try_from(row.number).unwrap_or(0)), SeatState::Available)
                });
                audit.seat(number, SeatRow { label: row.label, price: row.price, state });
            }
            if length < PAGE {
                return Ok(());
            }
        }
    }

    async fn sales(&self, id: ScheduleId, audit: &mut ScheduleAudit) -> Result<(), DbErr> {
        let sql = "SELECT s.number, s.booking_id, s.released_at, b.seats FROM booking_seat s
             LEFT JOIN booking b ON b.schedule_id = s.schedule_id AND b.id = s.booking_id
             WHERE s.schedule_id = $1 AND (s.number, s.booking_id) > ($2, $3)
             ORDER BY s.number, s.booking_id LIMIT $4";
        let mut after = (-1_i32, Uuid::nil());
        loop {
            let values = vec![id.0.into(), after.0.into(), after.1.into(), PAGE.into()];
            let page = self.rows(sql, values).await?;
            for row in &page {
                let (number, booking, released, listed) =
                    row.try_get_many_by_index::<(i32, Uuid, Option<i64>, Option<String>)>()?;
                after = (number, booking);
                // What cannot be read is told of where the bookings are read.
                let listed = listed.and_then(|text| convert::seats(&text).ok());
                let seat = (id, convert::seat_number(number)?);
                let released_at = released.map(EpochMs);
                audit.sale(BookedSeat { seat, booking, released_at }, listed.as_deref());
            }
            self.tell(audit.take_found()).await;
            if (page.len() as u64) < PAGE {
                return Ok(());
            }
        }
    }

    async fn bookings(&mut self, id: ScheduleId, audit: &mut ScheduleAudit) -> Result<(), DbErr> {
        let sql = "SELECT b.*, h.booking_id AS became FROM booking b
             LEFT JOIN hold h ON h.schedule_id = b.schedule_id AND h.id = b.hold_id
             WHERE b.schedule_id = $1 AND b.id > $2 ORDER BY b.id LIMIT $3";
        let mut after = Uuid::nil();
        loop {
            let page = self.rows(sql, vec![id.0.into(), after.into(), PAGE.into()]).await?;
            let mut bookings: Vec<(BookingRow, Option<BookingId>)> = Vec::new();
            for row in &page {
                let model = booking::Model::from_query_result(row, "")?;
                after = model.id;
                let became: Option<Uuid> = row.try_get("", "became")?;
                let became = became.map(|uuid| BookingId { schedule: id, uuid });
                let place = ("booking", Some(id), model.id.to_string());
                let read = self.readable(place, convert::booking(model)).await;
                bookings.extend(read.map(|booking| (booking, became)));
            }
            let sales = self.sales_of(id, &bookings).await?;
            for (booking, became) in &bookings {
                let sales = sales.get(&booking.id.uuid).map(Vec::as_slice).unwrap_or_default();
                audit.booking(booking, sales, *became);
            }
            self.audited.claims += page.len() as u64;
            self.tell(audit.take_found()).await;
            if (page.len() as u64) < PAGE {
                return Ok(());
            }
        }
    }

    /// The sales of the seats that the bookings list: the number, and whether it is live.
    async fn sales_of(
        &self,
        id: ScheduleId,
        bookings: &[(BookingRow, Option<BookingId>)],
    ) -> Result<HashMap<Uuid, Vec<(SeatNumber, bool)>>, DbErr> {
        let listed: Vec<(i32, Uuid)> = bookings
            .iter()
            .flat_map(|(row, _)| row.seats.iter().map(|seat| (*seat, row.id.uuid)))
            .map(|(seat, uuid)| (convert::number_column(seat), uuid))
            .collect();
        let set = RowSet::new()
            .with("number", Column::Int(listed.iter().map(|(number, _)| *number).collect()))
            .with("booking_id", Column::Uuid(listed.iter().map(|(_, uuid)| *uuid).collect()));
        let before = "SELECT s.booking_id, s.number, s.released_at FROM";
        let after = "JOIN booking_seat s ON s.schedule_id = $1 AND s.number = r.number
             AND s.booking_id = r.booking_id";
        let statement = set.statement(self.dialect, vec![id.0.into()], before, after);
        let mut sales: HashMap<Uuid, Vec<(SeatNumber, bool)>> = HashMap::new();
        for row in self.transaction.query_all_raw(statement).await? {
            let (booking, number, released) =
                row.try_get_many_by_index::<(Uuid, i32, Option<i64>)>()?;
            let sale = (convert::seat_number(number)?, released.is_none());
            sales.entry(booking).or_default().push(sale);
        }
        Ok(sales)
    }

    async fn holds(&mut self, id: ScheduleId, audit: &mut ScheduleAudit) -> Result<(), DbErr> {
        let mut after = Uuid::nil();
        loop {
            let page = hold::Entity::find()
                .filter(hold::Column::ScheduleId.eq(id.0))
                .filter(hold::Column::Id.gt(after))
                .order_by_asc(hold::Column::Id)
                .limit(PAGE)
                .all(&self.transaction)
                .await?;
            let length = page.len() as u64;
            let became = page.iter().filter_map(|row| row.booking_id).collect();
            let bookings = self.bookings_by_id(id, became).await?;
            for model in page {
                after = model.id;
                let (key, count) = (model.id.to_string(), model.seat_count);
                let booking = model.booking_id.and_then(|uuid| bookings.get(&uuid));
                let read = self.readable(("hold", Some(id), key), convert::hold(model)).await;
                if let Some(row) = read {
                    audit.hold(&row, u32::try_from(count).unwrap_or(0), booking);
                }
            }
            self.audited.claims += length;
            self.tell(audit.take_found()).await;
            if length < PAGE {
                return Ok(());
            }
        }
    }

    async fn bookings_by_id(
        &self,
        id: ScheduleId,
        uuids: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, BookingRow>, DbErr> {
        let set = RowSet::new().with("id", Column::Uuid(uuids));
        let after = "JOIN booking t ON t.schedule_id = $1 AND t.id = r.id";
        let statement = set.statement(self.dialect, vec![id.0.into()], "SELECT t.* FROM", after);
        let rows = self.transaction.query_all_raw(statement).await?;
        let models = rows.iter().map(|row| booking::Model::from_query_result(row, ""));
        let read = models.filter_map(|model| match model {
            // What cannot be read is told of where the bookings are read.
            Ok(model) => convert::booking(model).ok().map(|row| Ok((row.id.uuid, row))),
            Err(error) => Some(Err(error)),
        });
        read.collect()
    }

    async fn blocks(&mut self, id: ScheduleId, audit: &mut ScheduleAudit) -> Result<(), DbErr> {
        let mut after = Uuid::nil();
        loop {
            let page = block::Entity::find()
                .filter(block::Column::ScheduleId.eq(id.0))
                .filter(block::Column::Id.gt(after))
                .order_by_asc(block::Column::Id)
                .limit(PAGE)
                .all(&self.transaction)
                .await?;
            let length = page.len() as u64;
            for model in page {
                after = model.id;
                let place = ("block", Some(id), model.id.to_string());
                if let Some(row) = self.readable(place, convert::block(model)).await {
                    audit.block(&row);
                }
            }
            self.audited.claims += length;
            self.tell(audit.take_found()).await;
            if length < PAGE {
                return Ok(());
            }
        }
    }

    async fn journal(&mut self, id: ScheduleId, audit: &mut ScheduleAudit) -> Result<(), DbErr> {
        let kept_ms = self.audited.at.0 - sweep::BATCH_LIFE_MS + PURGE_MARGIN_MS;
        let kept = sweep::first_uuid_of(kept_ms);
        let sql = "SELECT j.version, j.batch_id, j.changes, b.attempt FROM journal j
             LEFT JOIN batch b ON b.id = j.batch_id
             WHERE j.schedule_id = $1 AND j.version > $2 ORDER BY j.version LIMIT $3";
        let mut after = i64::MIN;
        loop {
            let page = self.rows(sql, vec![id.0.into(), after.into(), PAGE.into()]).await?;
            for row in &page {
                let (version, batch, changes, attempt) =
                    row.try_get_many_by_index::<(i64, Uuid, String, Option<i16>)>()?;
                after = version;
                let place = ("journal", Some(id), version.to_string());
                let changes = self.readable(place, journal::parse(&changes)).await;
                let changes = changes.unwrap_or_default();
                let has_batch = attempt.is_some().then_some(true);
                let has_batch = has_batch.or_else(|| (batch >= kept).then_some(false));
                audit.journal(&JournalFact { version, has_batch, changes });
            }
            self.audited.journal += page.len() as u64;
            self.tell(audit.take_found()).await;
            if (page.len() as u64) < PAGE {
                return Ok(());
            }
        }
    }

    /// Customers above the schedule's limit. A hold that an outage touched is left out, and what became of
    /// it: between its written end and the word of the outage its customer may have taken other seats.
    async fn customers(&self, id: ScheduleId, max: i32) -> Result<(), DbErr> {
        let touched = "EXISTS (SELECT 1 FROM outage o WHERE h.held_until >= o.began_at
             AND h.created_at < o.ended_at + $4)";
        let sql = format!(
            "SELECT customer_id, CAST(sum(seats) AS BIGINT) FROM (
                 SELECT b.customer_id, b.live_seats AS seats FROM booking b
                 WHERE b.schedule_id = $1 AND b.live_seats > 0 AND NOT EXISTS (
                     SELECT 1 FROM hold h WHERE h.schedule_id = b.schedule_id
                     AND h.id = b.hold_id AND {touched})
                 UNION ALL
                 SELECT h.customer_id, h.seat_count AS seats FROM hold h
                 WHERE h.schedule_id = $1 AND h.status = 0 AND h.held_until > $3
                 AND NOT {touched}) AS owned
             GROUP BY customer_id HAVING sum(seats) > $2 ORDER BY customer_id LIMIT $5"
        );
        let grace = i64::try_from(self.policy.outage_grace.as_millis()).unwrap_or(i64::MAX);
        let values = vec![
            id.0.into(),
            i64::from(max).into(),
            self.audited.at.0.into(),
            grace.into(),
            PAGE.into(),
        ];
        for row in self.rows(&sql, values).await? {
            let (customer, seats) = row.try_get_many_by_index::<(String, i64)>()?;
            let place = ("booking", Some(id), customer.clone());
            let read = CustomerId::parse(customer).map_err(|_| convert::corrupt("customer"));
            let Some(customer) = self.readable(place, read).await else { continue };
            let violation = Violation {
                invariant: Invariant::CustomerLimitIsKept,
                schedule: Some(id),
                subject: Subject::Customer(customer),
                expected: format!("{max} seats at most"),
                found: seats.to_string(),
            };
            self.tell(vec![violation]).await;
        }
        Ok(())
    }
}

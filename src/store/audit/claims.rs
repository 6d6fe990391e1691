//! The audit of a schedule's sales and claims, page by page in the order of their keys.
//!
//! Every row and every list of seats is read once, so the work is proportional to the stored data.

use std::collections::{BTreeSet, HashMap, HashSet};

use entity::{block, booking, hold};
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, FromQueryResult as _, QueryFilter as _, QueryOrder as _,
};
use uuid::Uuid;

use super::page::Pages;
use super::{Auditor, PAGE};
use crate::domain::audit::schedule::ScheduleAudit;
use crate::domain::claims::BookingRow;
use crate::domain::clock::EpochMs;
use crate::domain::ids::{BookingId, ScheduleId, SeatNumber};
use crate::domain::rows::BookedSeat;
use crate::store::connection::{DbResult, RowSet, rows};

const BOOKINGS: Pages = Pages { table: "booking", key: "id", list: "seats" };
const HOLDS: Pages = Pages { table: "hold", key: "id", list: "seats" };
const BLOCKS: Pages = Pages { table: "block", key: "id", list: "seats" };

/// The sales of one page in the search for sales that no booking lists. Each sale may need the list of another
/// booking.
const SEARCH_PAGE: u64 = 200;

/// The key by which sales are ordered: seat number and booking.
type SaleKey = (i32, Uuid);

/// A key that is less than that of any sale.
const BEFORE_FIRST_SALE: SaleKey = (-1, Uuid::nil());

/// A sale: its key, and when its seat was released.
type Sale = (SaleKey, Option<i64>);

/// The seat lists of bookings by the ids of the bookings; `None` for a list that cannot be read.
type SeatLists = HashMap<Uuid, Option<SeatList>>;

type SeatList = HashSet<SeatNumber>;

impl Auditor {
    pub(super) async fn sales(
        &mut self,
        id: ScheduleId,
        audit: &mut ScheduleAudit,
    ) -> DbResult<()> {
        let mut after = BEFORE_FIRST_SALE;
        loop {
            let page = self.page_of_sales(id, after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            for ((number, booking), released) in page {
                let seat = (id, rows::seat_number(number)?);
                audit.sale(BookedSeat { seat, booking, released_at: released.map(EpochMs) });
            }
            self.page_done(audit).await;
        }
    }

    async fn page_of_sales(
        &self,
        id: ScheduleId,
        (number, booking): SaleKey,
        limit: u64,
    ) -> DbResult<Vec<Sale>> {
        let sql = "SELECT number, booking_id, released_at FROM booking_seat
             WHERE schedule_id = $1 AND (number, booking_id) > ($2, $3)
             ORDER BY number, booking_id LIMIT $4";
        let values = vec![id.0.into(), number.into(), booking.into(), limit.into()];
        let found = self.session.fetch::<(i32, Uuid, Option<i64>)>(sql, values).await?;
        Ok(found
            .into_iter()
            .map(|(number, booking, released)| ((number, booking), released))
            .collect())
    }

    /// Reports the sales that no booking lists. The search runs only if there are such sales, and ends when all of
    /// them are found.
    pub(super) async fn unlisted_sales(
        &mut self,
        id: ScheduleId,
        audit: &mut ScheduleAudit,
    ) -> DbResult<()> {
        let mut remaining = audit.unlisted_sales();
        let mut after = BEFORE_FIRST_SALE;
        while remaining > 0 {
            let page = self.page_of_sales(id, after, SEARCH_PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = *last;
            let lists = self.lists(id, page.iter().map(|((_, booking), _)| *booking)).await?;
            for ((number, booking), _) in page {
                let number = rows::seat_number(number)?;
                match lists.get(&booking) {
                    Some(Some(list)) if list.contains(&number) => continue,
                    // Unreadable lists are reported by `bookings`.
                    Some(None) => {}
                    list => audit.unlisted_sale((number, booking), list.is_some()),
                }
                remaining = remaining.saturating_sub(1);
            }
            self.page_done(audit).await;
        }
        Ok(())
    }

    /// Joins a set of ids `r` with the bookings `t` of the schedule `$1`.
    fn join_bookings(&self) -> String {
        format!("{} booking t ON t.schedule_id = $1 AND t.id = r.id", self.session.dialect.join())
    }

    async fn lists(
        &self,
        id: ScheduleId,
        bookings: impl Iterator<Item = Uuid>,
    ) -> DbResult<SeatLists> {
        let bookings: BTreeSet<Uuid> = bookings.collect();
        let set = RowSet::of(bookings).with("id", |id| *id);
        let after = self.join_bookings();
        let before = "SELECT t.id, t.seats FROM";
        let found =
            self.session.fetch_set::<(Uuid, String), _>(set, vec![id.0.into()], before, &after);
        let list =
            |(id, seats): (Uuid, String)| (id, rows::seats(&seats).ok().map(SeatList::from_iter));
        Ok(found.await?.into_iter().map(list).collect())
    }

    pub(super) async fn bookings(
        &mut self,
        id: ScheduleId,
        audit: &mut ScheduleAudit,
    ) -> DbResult<()> {
        let sql = "SELECT b.*, h.booking_id AS became FROM booking b
             LEFT JOIN hold h ON h.schedule_id = b.schedule_id AND h.id = b.hold_id
             WHERE b.schedule_id = $1 AND b.id > $2 AND b.id <= $3 ORDER BY b.id";
        let mut after = Uuid::nil();
        while let Some(last) = self.end_of_page(BOOKINGS, id, after).await? {
            let values = vec![id.0.into(), after.into(), last.into()];
            let page = self.session.query(self.session.dialect.statement(sql, values)).await?;
            after = last;
            let mut bookings: Vec<(BookingRow, Option<BookingId>)> = Vec::new();
            for row in &page {
                let model = booking::Model::from_query_result(row, "")?;
                let became: Option<Uuid> = row.try_get("", "became")?;
                let became = became.map(|uuid| BookingId { schedule: id, uuid });
                let row_key = ("booking", Some(id), model.id.to_string());
                let read = self.readable(row_key, rows::booking(model)).await;
                bookings.extend(read.map(|booking| (booking, became)));
            }
            let sales = self.sales_of(id, &bookings).await?;
            for (booking, became) in &bookings {
                let sales = sales.get(&booking.id.uuid).map(Vec::as_slice).unwrap_or_default();
                audit.booking(booking, sales, *became);
            }
            self.audited.claims += page.len() as u64;
            self.page_done(audit).await;
        }
        Ok(())
    }

    /// The sales of the seats that the bookings list, by booking: seat number, ascending, and whether the sale is
    /// live.
    async fn sales_of(
        &self,
        id: ScheduleId,
        bookings: &[(BookingRow, Option<BookingId>)],
    ) -> DbResult<HashMap<Uuid, Vec<(SeatNumber, bool)>>> {
        // A seat that a list contains twice has one sale.
        let listed: BTreeSet<(i32, Uuid)> = bookings
            .iter()
            .flat_map(|(row, _)| row.seats.iter().map(|seat| (*seat, row.id.uuid)))
            .map(|(seat, uuid)| (rows::number_column(seat), uuid))
            .collect();
        let set =
            RowSet::of(listed).with("number", |sale| sale.0).with("booking_id", |sale| sale.1);
        let before = "SELECT s.booking_id, s.number, s.released_at FROM";
        let after = format!(
            "{} booking_seat s ON s.schedule_id = $1 AND s.number = r.number
             AND s.booking_id = r.booking_id",
            self.session.dialect.join()
        );
        let mut sales: HashMap<Uuid, Vec<(SeatNumber, bool)>> = HashMap::new();
        for (booking, number, released) in self
            .session
            .fetch_set::<(Uuid, i32, Option<i64>), _>(set, vec![id.0.into()], before, &after)
            .await?
        {
            let sale = (rows::seat_number(number)?, released.is_none());
            sales.entry(booking).or_default().push(sale);
        }
        sales.values_mut().for_each(|sales| sales.sort_unstable());
        Ok(sales)
    }

    pub(super) async fn holds(
        &mut self,
        id: ScheduleId,
        audit: &mut ScheduleAudit,
    ) -> DbResult<()> {
        let mut after = Uuid::nil();
        while let Some(last) = self.end_of_page(HOLDS, id, after).await? {
            let page = hold::Entity::find()
                .filter(hold::Column::ScheduleId.eq(id.0))
                .filter(hold::Column::Id.gt(after))
                .filter(hold::Column::Id.lte(last))
                .order_by_asc(hold::Column::Id)
                .all(&self.session.connection)
                .await?;
            after = last;
            self.audited.claims += page.len() as u64;
            let became = page.iter().filter_map(|row| row.booking_id).collect();
            let bookings = self.bookings_by_id(id, became).await?;
            for model in page {
                let key = model.id.to_string();
                let count = model.seat_count;
                let booking = model.booking_id.and_then(|uuid| bookings.get(&uuid));
                let read = self.readable(("hold", Some(id), key), rows::hold(model)).await;
                if let Some(row) = read {
                    audit.hold(&row, u32::try_from(count).unwrap_or(0), booking);
                }
            }
            self.page_done(audit).await;
        }
        Ok(())
    }

    async fn bookings_by_id(
        &self,
        id: ScheduleId,
        uuids: Vec<Uuid>,
    ) -> DbResult<HashMap<Uuid, BookingRow>> {
        let set = RowSet::of(uuids).with("id", |id| *id);
        let after = self.join_bookings();
        let models =
            self.session.models_of_set::<booking::Model, _>(set, vec![id.0.into()], &after).await?;
        // Unreadable rows are reported by `bookings`.
        let rows = models.into_iter().filter_map(|model| rows::booking(model).ok());
        Ok(rows.map(|row| (row.id.uuid, row)).collect())
    }

    pub(super) async fn blocks(
        &mut self,
        id: ScheduleId,
        audit: &mut ScheduleAudit,
    ) -> DbResult<()> {
        let mut after = Uuid::nil();
        while let Some(last) = self.end_of_page(BLOCKS, id, after).await? {
            let page = block::Entity::find()
                .filter(block::Column::ScheduleId.eq(id.0))
                .filter(block::Column::Id.gt(after))
                .filter(block::Column::Id.lte(last))
                .order_by_asc(block::Column::Id)
                .all(&self.session.connection)
                .await?;
            after = last;
            self.audited.claims += page.len() as u64;
            for model in page {
                let row_key = ("block", Some(id), model.id.to_string());
                if let Some(row) = self.readable(row_key, rows::block(model)).await {
                    audit.block(&row);
                }
            }
            self.page_done(audit).await;
        }
        Ok(())
    }
}

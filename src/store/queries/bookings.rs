//! Reading bookings.

use std::sync::Arc;

use entity::booking;
use sea_orm::{
    ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
};

use crate::domain::catalogue::{BookingFilter, Page};
use crate::domain::claims::BookingRow;
use crate::domain::effect::BookingView;
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::BookingId;
use crate::store::Store;
use crate::store::connection::{Db, DbResult, rows};
use crate::store::queries::priced::Priced;

impl Store {
    /// One booking, read at the version `at_least` of its schedule or later.
    pub async fn booking(&self, id: BookingId, at_least: i64) -> StoreResult<Option<BookingView>> {
        self.find_since(Some(id.schedule), at_least, move |db| async move {
            let find = booking::Entity::find_by_id((id.schedule.0, id.uuid));
            let Some(row) = find.one(&db.connection).await? else { return Ok(None) };
            Ok(views(&db, vec![rows::booking(row)?]).await?.pop())
        })
        .await
    }

    /// At most `limit` bookings in the order of their creation, read at the version `at_least` of their schedule or
    /// later.
    pub async fn bookings(
        &self,
        filter: BookingFilter,
        at_least: i64,
        limit: usize,
    ) -> StoreResult<Page<BookingView>> {
        let cursor = filter.after.map(|after| after.history);
        let (history, from) = self.history_of_page(cursor).await?;
        let filter = Arc::new(filter);
        self.read_since(from, filter.schedule, at_least, |db| {
            let filter = Arc::clone(&filter);
            async move {
                let rows = select(&filter).limit(limit as u64 + 1).all(&db.connection).await?;
                let rows: Vec<BookingRow> =
                    rows.into_iter().map(rows::booking).collect::<DbResult<_>>()?;
                let seats = |row: &BookingRow| row.seats.len();
                let page = Page::of_claims(history, rows, limit, seats, |row| row.id);
                let items = views(&db, page.items).await?;
                Ok(Page { items, next_cursor: page.next_cursor })
            }
        })
        .await
    }
}

fn select(filter: &BookingFilter) -> sea_orm::Select<booking::Entity> {
    let mut select = booking::Entity::find().order_by_asc(booking::Column::Id);
    if let Some(schedule) = filter.schedule {
        select = select.filter(booking::Column::ScheduleId.eq(schedule.0));
    }
    if let Some(customer) = &filter.customer {
        select = select.filter(booking::Column::CustomerId.eq(customer.as_str()));
    }
    if let Some(after) = filter.after {
        select = select.filter(booking::Column::Id.gt(after.at.uuid));
    }
    select
}

/// Adds labels, prices and currencies to bookings, in a fixed number of statements.
async fn views(db: &Db, rows: Vec<BookingRow>) -> DbResult<Vec<BookingView>> {
    let lists = rows.iter().map(|row| (row.id.schedule, row.seats.as_slice()));
    let priced = Priced::of(db, lists).await?;
    let view = |row: BookingRow| {
        let owned = |booking| booking == Some(row.id.uuid);
        let (seats, cancelled_seats) = priced.split(row.id.schedule, &row.seats, owned)?;
        let currency = priced.currency(row.id.schedule)?;
        Ok(BookingView { row, seats, cancelled_seats, currency })
    };
    rows.into_iter().map(view).collect()
}

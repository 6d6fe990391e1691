//! Reading bookings.

use std::collections::HashMap;
use std::sync::Arc;

use entity::{booking, schedule, seat};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, DbErr, EntityTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
};

use crate::domain::catalogue::{BookingFilter, Page};
use crate::domain::claims::BookingRow;
use crate::domain::effect::{BookingView, PricedSeat};
use crate::domain::failure::StoreError;
use crate::domain::ids::{BookingId, ScheduleId, SeatNumber};

use super::{Store, convert};

impl Store {
    /// One booking, read at the version `at_least` of its schedule or later.
    pub async fn booking(
        self: &Arc<Self>,
        id: BookingId,
        at_least: i64,
    ) -> Result<Option<BookingView>, StoreError> {
        self.find_since((Some(id.schedule), at_least), move |db| async move {
            let row = booking::Entity::find_by_id((id.schedule.0, id.uuid)).one(&db).await?;
            let Some(row) = row else { return Ok(None) };
            Ok(views(&db, vec![convert::booking(row)?]).await?.pop())
        })
        .await
    }

    /// At most `limit` bookings by creation, read at the version `at_least` of their schedule or later.
    pub async fn bookings(
        self: &Arc<Self>,
        filter: BookingFilter,
        at_least: i64,
        limit: usize,
    ) -> Result<Page<BookingView>, StoreError> {
        let filter = Arc::new(filter);
        let cursor = filter.after.map(|after| after.history);
        let (history, from) = self.history_of_page(cursor).await?;
        let rows = self
            .read_since(from, (filter.schedule, at_least), |db| {
                let filter = Arc::clone(&filter);
                async move {
                    let rows = select(&filter).limit(limit as u64 + 1).all(&db).await?;
                    let rows =
                        rows.into_iter().map(convert::booking).collect::<Result<Vec<_>, _>>();
                    views(&db, rows?).await
                }
            })
            .await?;
        Ok(Page::of(history, rows, limit, |booking| booking.row.id))
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

/// Adds labels, prices and currencies; two statements per schedule, however many bookings.
async fn views(db: &DatabaseConnection, rows: Vec<BookingRow>) -> Result<Vec<BookingView>, DbErr> {
    let mut wanted: HashMap<ScheduleId, Vec<SeatNumber>> = HashMap::new();
    for row in &rows {
        wanted.entry(row.id.schedule).or_default().extend(&row.seats);
    }
    let mut seats: HashMap<(ScheduleId, SeatNumber), seat::Model> = HashMap::new();
    let mut currencies: HashMap<ScheduleId, String> = HashMap::new();
    for (schedule, numbers) in wanted {
        let numbers = numbers.into_iter().map(convert::number_column);
        let found = seat::Entity::find()
            .filter(seat::Column::ScheduleId.eq(schedule.0))
            .filter(seat::Column::Number.is_in(numbers))
            .all(db)
            .await?;
        for row in found {
            seats.insert((schedule, convert::seat_number(row.number)?), row);
        }
        let row = schedule::Entity::find_by_id(schedule.0).one(db).await?;
        let row = row.ok_or_else(|| convert::corrupt("schedule"))?;
        currencies.insert(schedule, row.currency);
    }
    let view = |row: BookingRow| {
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for number in &row.seats {
            let seat = seats.get(&(row.id.schedule, *number));
            let seat = seat.ok_or_else(|| convert::corrupt("seat list"))?;
            let (label, price) = (seat.label.clone(), seat.price);
            let side = if seat.booking_id == Some(row.id.uuid) { &mut live } else { &mut gone };
            side.push(PricedSeat { number: *number, label, price });
        }
        let currency = currencies.get(&row.id.schedule).cloned().unwrap_or_default();
        Ok(BookingView { row, seats: live, cancelled_seats: gone, currency })
    };
    rows.into_iter().map(view).collect()
}

//! Reading bookings.

use std::sync::Arc;

use entity::booking;
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryTrait as _, Value};
use uuid::Uuid;

use crate::domain::catalogue::{BookingFilter, Page};
use crate::domain::claims::BookingRow;
use crate::domain::effect::BookingView;
use crate::domain::execution_error::StoreResult;
use crate::domain::ids::{BookingId, CustomerId};
use crate::store::Store;
use crate::store::connection::{Db, DbResult, Dialect, rows};
use crate::store::queries::priced::Priced;

impl Store {
    /// One booking, read at the version `at_least` of its schedule or later.
    pub async fn booking(&self, id: BookingId, at_least: i64) -> StoreResult<Option<BookingView>> {
        self.booking_of(id, None, at_least).await
    }

    /// Like [`Self::booking`]; with an owner only if it is this customer's.
    pub async fn booking_of(
        &self,
        id: BookingId,
        owner: Option<CustomerId>,
        at_least: i64,
    ) -> StoreResult<Option<BookingView>> {
        self.find_since(Some(id.schedule), at_least, move |db| {
            let owner = owner.clone();
            async move {
                let find = booking::Entity::find_by_id((id.schedule.0, id.uuid));
                let find = find.apply_if(owner, |find, owner| {
                    find.filter(booking::Column::CustomerId.eq(owner.as_str()))
                });
                let Some(row) = find.one(&db.connection).await? else { return Ok(None) };
                Ok(views(&db, vec![rows::booking(row)?]).await?.pop())
            }
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
                let (sql, values) = select(db.dialect, &filter, limit);
                let models = db.models::<booking::Model>(sql, values).await?.into_iter();
                let rows: Vec<BookingRow> = models.map(rows::booking).collect::<DbResult<_>>()?;
                let seats = |row: &BookingRow| row.seats.len();
                let page = Page::of_claims(history, rows, limit, seats, |row| row.id);
                let items = views(&db, page.items).await?;
                Ok(Page { items, next_cursor: page.next_cursor })
            }
        })
        .await
    }
}

/// The id of a booking as the second key of the index by customer, in the same order.
fn listed_id(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Postgres | Dialect::Citus => {
            "GREATEST(b.id, '00000000-0000-0000-0000-000000000000'::uuid)"
        }
        Dialect::Sqlite => "b.id",
    }
}

/// The statement that lists bookings. With a customer it reads the index `booking_listed`, and so all bookings of the
/// customer if a schedule is given, too: an index of both would make every booking slower.
fn select(dialect: Dialect, filter: &BookingFilter, limit: usize) -> (String, Vec<Value>) {
    let after = filter.after.map_or(Uuid::nil(), |after| after.at.uuid);
    let first: [Value; 2] = [after.into(), rows::more_than(limit)];
    let schedule = filter.schedule.map(|schedule| schedule.0.into());
    let customer = filter.customer.as_ref().map(|customer| customer.as_str().into());
    let of = match (&schedule, &customer) {
        (Some(_), Some(_)) => {
            format!("AND {} AND b.customer_id = $4", dialect.of_schedule("b", "$3"))
        }
        (Some(_), None) => "AND b.schedule_id = $3".to_owned(),
        (None, Some(_)) => "AND b.customer_id = $3".to_owned(),
        (None, None) => String::new(),
    };
    let id = if customer.is_some() { listed_id(dialect) } else { "b.id" };
    let sql = format!("SELECT b.* FROM booking b WHERE {id} > $1 {of} ORDER BY {id} LIMIT $2");
    (sql, first.into_iter().chain(schedule).chain(customer).collect())
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

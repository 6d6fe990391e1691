//! Labels, prices and currencies of the seats that claims list.

use std::collections::{BTreeSet, HashMap};

use uuid::Uuid;

use crate::domain::effect::PricedSeat;
use crate::domain::ids::{ScheduleId, SeatNumber};
use crate::domain::rows::SeatKey;
use crate::store::connection::{Db, DbResult, rows};

/// The labels and prices of the seats of some claims.
pub(crate) struct Priced {
    /// Each seat with the booking that it belongs to now.
    seats: HashMap<SeatKey, (PricedSeat, Option<Uuid>)>,
    currencies: HashMap<ScheduleId, String>,
}

impl Priced {
    /// Reads the labels, prices and currencies with two statements, whatever the number of claims and seats.
    pub(crate) async fn of<'a>(
        db: &Db,
        claims: impl Iterator<Item = (ScheduleId, &'a [SeatNumber])>,
    ) -> DbResult<Self> {
        type Columns = (i64, i32, String, i64, Option<Uuid>);
        let mut schedules = BTreeSet::new();
        let mut listed = BTreeSet::new();
        for (schedule, seats) in claims {
            schedules.insert(schedule);
            listed.extend(seats.iter().map(|number| (schedule, *number)));
        }
        let before = "SELECT s.schedule_id, s.number, s.label, s.price, s.booking_id FROM";
        let after = db.dialect.join_by_key("seat", "s", &["schedule_id", "number"]);
        let set = rows::seat_keys(listed);
        let found = db.fetch_set::<Columns, _>(set, Vec::new(), before, &after).await?;
        let mut seats = HashMap::with_capacity(found.len());
        for (schedule, number, label, price, booking) in found {
            let number = rows::seat_number(number)?;
            let seat = PricedSeat { number, label, price };
            seats.insert((ScheduleId(schedule), number), (seat, booking));
        }
        let before = "SELECT t.id, t.currency FROM";
        let after = db.dialect.join_by_key("schedule", "t", &["id"]);
        let set = rows::schedule_ids(schedules);
        let found = db.fetch_set::<(i64, String), _>(set, Vec::new(), before, &after).await?;
        let currencies = found.into_iter().map(|(id, currency)| (ScheduleId(id), currency));
        Ok(Self { seats, currencies: currencies.collect() })
    }

    /// Splits the seats of a list into two lists in the same order. The first has the seats for which `owned` is true,
    /// given the booking that the seat belongs to now.
    pub(crate) fn split(
        &self,
        schedule: ScheduleId,
        list: &[SeatNumber],
        owned: impl Fn(Option<Uuid>) -> bool,
    ) -> DbResult<(Vec<PricedSeat>, Vec<PricedSeat>)> {
        let mut own = Vec::new();
        let mut other = Vec::new();
        for number in list {
            let found = self.seats.get(&(schedule, *number));
            let (seat, booking) = found.ok_or_else(|| rows::corrupt("seat list"))?;
            let part = if owned(*booking) { &mut own } else { &mut other };
            part.push(seat.clone());
        }
        Ok((own, other))
    }

    /// The seats of a list, in its order.
    pub(crate) fn seats(
        &self,
        schedule: ScheduleId,
        list: &[SeatNumber],
    ) -> DbResult<Vec<PricedSeat>> {
        self.split(schedule, list, |_| true).map(|(seats, _)| seats)
    }

    /// The currency of a schedule.
    pub(crate) fn currency(&self, schedule: ScheduleId) -> DbResult<String> {
        let found = self.currencies.get(&schedule);
        found.cloned().ok_or_else(|| rows::corrupt("schedule"))
    }
}

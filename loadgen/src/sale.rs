//! The seats that a measurement sells: a numbered order for each booking, for seats that no other order has.

use std::cell::Cell;
use std::ops::Range;

use crate::arguments::{SEATS_PER_ROW, Target};
use crate::settings::Settings;

/// A limited customer buys again after this many other customers of the schedule.
const CUSTOMERS_BEFORE_NEXT_PURCHASE: usize = 1_024;

/// The most purchases of a limited customer in one schedule.
const PURCHASES_MAX: usize = 4;

/// One booking that a customer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) number: usize,
    /// The position of the schedule in the list of schedules.
    pub(crate) schedule: usize,
    /// Seat numbers.
    pub(crate) seats: Range<usize>,
    pub(crate) customer: String,
}

/// The schedules of a measurement and the next order.
pub(crate) struct Sale {
    settings: Settings,
    /// Ids; first the measured schedules, then those that contain only stored bookings.
    pub(crate) schedules: Vec<String>,
    next: Cell<usize>,
}

impl Sale {
    pub(crate) fn new(settings: Settings, schedules: Vec<String>) -> Self {
        Self { settings, schedules, next: Cell::new(0) }
    }

    /// The id of a schedule.
    pub(crate) fn id(&self, schedule: usize) -> &str {
        self.schedules.get(schedule).map_or("", String::as_str)
    }

    /// The next order; `None` if all seats are used.
    pub(crate) fn next_order(&self) -> Option<Order> {
        self.order(self.next.replace(self.next.get() + 1))
    }

    /// The order with this number. Each group of `hot` schedules is sold out before the next one is on sale.
    fn order(&self, number: usize) -> Option<Order> {
        let Settings { seats, hot, offset, schedules, schedule_seats, .. } = self.settings;
        let front = self.settings.front();
        let bookings = (schedule_seats - front) / seats;
        let in_group = hot * bookings.checked_sub(offset).filter(|left| *left > 0)?;
        let (group, at) = (number / in_group, number % in_group);
        let (schedule, booking) = (group * hot + at % hot, at / hot + offset);
        let first = front + booking * seats;
        let customer = self.customer(number, booking);
        let order = Order { number, schedule, seats: first..first + seats, customer };
        (schedule < schedules).then_some(order)
    }

    /// Without a limit each order has its own customer, because the queue limits the waiting requests of one. With a
    /// limit the customers of a schedule buy again until another purchase would exceed it, and have bookings in the
    /// other schedules, too.
    fn customer(&self, number: usize, booking: usize) -> String {
        let Some(limit) = self.settings.limit else { return format!("bench-{number}") };
        let purchases = (limit / self.settings.seats).clamp(1, PURCHASES_MAX);
        let group = booking / (CUSTOMERS_BEFORE_NEXT_PURCHASE * purchases);
        let in_group = booking % CUSTOMERS_BEFORE_NEXT_PURCHASE;
        format!("bench-{}", group * CUSTOMERS_BEFORE_NEXT_PURCHASE + in_group)
    }

    /// The orders of the bookings that are stored before the measurement. A customer has up to four of them in a
    /// schedule, fewer if the limit is lower.
    pub(crate) fn stored_orders(&self) -> impl Iterator<Item = Order> {
        let Settings { stored, schedules, schedule_seats, limit, .. } = self.settings;
        let in_measured = stored.min(self.settings.front() * schedules);
        let purchases = limit.unwrap_or(PURCHASES_MAX).min(PURCHASES_MAX);
        (0..stored).map(move |number| {
            let (schedule, seat) = match number.checked_sub(in_measured) {
                None => (number % schedules, number / schedules),
                Some(rest) => (schedules + rest / schedule_seats, rest % schedule_seats),
            };
            let customer = format!("stored-{}", seat / purchases);
            Order { number, schedule, seats: seat..seat + 1, customer }
        })
    }

    /// The body of a booking or of a hold.
    pub(crate) fn body(&self, order: &Order) -> String {
        let Order { seats, customer, .. } = order;
        let schedule = self.id(order.schedule);
        match self.settings.target {
            Target::Seatlock => {
                let labels: Vec<_> =
                    seats.clone().map(|seat| format!("\"{}\"", label(seat))).collect();
                let labels = labels.join(",");
                format!(
                    r#"{{"schedule_id":"{schedule}","seats":[{labels}],"customer_id":"{customer}"}}"#
                )
            }
            Target::Reference => {
                let id: usize = schedule.parse().unwrap_or(1);
                let first = (id - 1) * self.settings.schedule_seats + 1;
                let seats: Vec<_> = seats.clone().map(|seat| first + seat).collect();
                format!(r#"{{"schedule_id":{id},"seat_ids":{seats:?},"customer_id":"bench"}}"#)
            }
        }
    }
}

/// The label of a seat number.
pub(crate) fn label(seat: usize) -> String {
    format!("A-{}-{}", seat / SEATS_PER_ROW + 1, seat % SEATS_PER_ROW + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;
    use crate::arguments::tests::settings;

    fn sale(arguments: &[&str]) -> Sale {
        let settings = settings(arguments);
        let schedules = settings.schedules + settings.additional_schedules();
        Sale::new(settings, (1..=schedules).map(|id| id.to_string()).collect())
    }

    #[test]
    fn no_two_bookings_of_a_run_ask_for_the_same_seat() {
        for target in [&[][..], &["--target", "reference", "--address", "a:1"]] {
            let sale = sale(&[&["--schedules", "3"], target].concat());
            let mut bodies = HashSet::new();
            while let Some(order) = sale.next_order() {
                assert!(bodies.insert(sale.body(&order)));
            }
            assert_eq!(bodies.len(), 3 * 50_000 / 2);
        }
    }

    #[test]
    fn a_hot_schedule_is_sold_out_before_the_next_one() {
        let sale = sale(&["--schedules", "2", "--hot", "1", "--schedule-seats", "200"]);
        let orders: Vec<_> = std::iter::from_fn(|| sale.next_order()).collect();
        assert_eq!(orders.len(), 200);
        assert!(orders[..100].iter().all(|order| order.schedule == 0));
        assert!(orders[100..].iter().all(|order| order.schedule == 1));
        assert_eq!(orders[199].seats, 198..200);
    }

    #[test]
    fn limited_customers_return_and_stay_within_the_limit() {
        for (limit, expected) in [("10", 8), ("5", 4), ("2", 2)] {
            let sale = sale(&["--schedules", "2", "--limit", limit]);
            let mut seats: HashMap<_, usize> = HashMap::new();
            while let Some(order) = sale.next_order() {
                *seats.entry((order.schedule, order.customer)).or_default() += order.seats.len();
            }
            assert_eq!(seats.values().max(), Some(&expected), "limit {limit}");
        }
    }

    #[test]
    fn stored_bookings_are_within_the_limit_and_leave_the_measured_seats() {
        let sizes = ["--schedules", "2", "--schedule-seats", "1000", "--stored", "2001"];
        let sale = sale(&[&sizes[..], &["--limit", "2"]].concat());
        let mut taken = HashSet::new();
        let mut customers: HashMap<_, usize> = HashMap::new();
        let stored: Vec<_> = sale.stored_orders().collect();
        assert_eq!(stored.len(), 2_001);
        for order in stored.into_iter().chain(std::iter::from_fn(|| sale.next_order())) {
            for seat in order.seats {
                assert!(taken.insert((order.schedule, seat)), "{seat} of {}", order.schedule);
                *customers.entry((order.schedule, order.customer.clone())).or_default() += 1;
            }
        }
        assert_eq!(taken.len(), 2 * 1_000 + 1_001);
        assert!(customers.values().all(|seats| *seats <= 2));
    }
}

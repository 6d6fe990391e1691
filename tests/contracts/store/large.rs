//! Every claim that can be sold can be read: claims with more seats than a statement may have parameters (32,766
//! in SQLite, 65,535 in PostgreSQL), and pages with the largest number of seats.

use sea_orm::{ConnectionTrait as _, Statement, Value};
use seatlock::domain::catalogue::{BookingFilter, HoldFilter, PAGE_SEATS_MAX};
use seatlock::domain::command::Action;
use seatlock::domain::effect::{BookingView, HoldView};
use seatlock::domain::execution_error::StoreError;
use seatlock::domain::ids::{CustomerId, ScheduleId};
use seatlock::domain::rules::ScheduleRules;
use seatlock::store::Target;

use super::commands::{
    block, blocked, book, booked, cancel, command, confirm, held, hold, is_done,
};
use super::on_both_databases;
use super::stage::{Stage, default_rules};

on_both_databases![
    a_hold_and_a_booking_of_the_largest_size_are_read,
    a_block_of_a_whole_schedule_is_read_and_lifted,
    a_page_of_many_group_bookings_is_read,
    live_holds_are_listed_by_customer_and_no_others,
    a_statement_that_the_driver_refuses_is_an_internal_error,
];

/// More than the parameters of a statement in either database.
const HUGE: u32 = 70_000;

impl Stage {
    /// A schedule from before the bound on the seats of a booking: one booking may have all its seats.
    async fn unbounded(&self, seats: u32) -> ScheduleId {
        let rules = ScheduleRules { max_seats_per_booking: seats, ..default_rules() };
        self.schedule_with(seats, rules).await.id
    }
}

fn ada() -> CustomerId {
    CustomerId::parse("ada").unwrap()
}

fn of_ada() -> BookingFilter {
    BookingFilter { customer: Some(ada()), ..BookingFilter::default() }
}

fn holds_of_ada() -> HoldFilter {
    HoldFilter { customer: ada(), schedule: None, after: None }
}

async fn a_hold_and_a_booking_of_the_largest_size_are_read(stage: Stage) {
    let schedule = stage.unbounded(HUGE).await;
    let seats: Vec<u32> = (0..HUGE).collect();
    let granted = held(&stage.run_one(hold(schedule, &seats, "ada")).await);
    let read = stage.store.hold(granted.row.id, 0).await.unwrap().unwrap();
    assert_eq!((read.seats, &read.row), (granted.seats, &granted.row));
    let listed = stage.store.holds(holds_of_ada(), 0, 200).await.unwrap();
    assert_eq!(listed.items.iter().map(|hold| hold.seats.len()).sum::<usize>(), seats.len());

    let sold = booked(&stage.run_one(confirm(granted.row.id)).await);
    assert_eq!(stage.store.booking(sold.row.id, 0).await, Ok(Some(sold.clone())));
    let given_back = booked(&stage.run_one(cancel(sold.row.id, Some(&[0, 7]))).await);
    assert_eq!(given_back.cancelled_seats.len(), 2);
    let page = stage.store.bookings(of_ada(), 0, 200).await.unwrap();
    assert_eq!((page.items, page.next_cursor), (vec![given_back], None));
    stage.store.close().await;
}

async fn a_block_of_a_whole_schedule_is_read_and_lifted(stage: Stage) {
    let schedule = stage.schedule(100_000).await;
    let seats: Vec<u32> = (0..100_000).collect();
    let made = blocked(&stage.run_one(block(schedule, &seats)).await);
    let listed = stage.store.blocks(schedule, 0, None, 200).await.unwrap();
    assert_eq!((listed.items, listed.next_cursor), (vec![made.clone()], None));
    let lift = command(schedule, Action::Unblock { block: made.row.id });
    assert!(is_done(&stage.run_one(lift).await));
    assert_eq!(stage.store.blocks(schedule, 0, None, 200).await.unwrap().items, []);
}

/// 200 bookings of 165 seats: 33,000 seats, more than the parameters of a statement in SQLite.
async fn a_page_of_many_group_bookings_is_read(stage: Stage) {
    const GROUP: u32 = 165;
    let schedule = stage.unbounded(201 * GROUP).await;
    let group = |n: u32| (n * GROUP..(n + 1) * GROUP).collect::<Vec<u32>>();
    let sold = stage.run((0..201).map(|n| book(schedule, &group(n), "ada")).collect()).await;
    let mut sold: Vec<BookingView> = sold.iter().map(booked).collect();
    sold.sort_by_key(|booking| booking.row.id);
    let first = stage.store.bookings(of_ada(), 0, 200).await.unwrap();
    assert!(200 * GROUP as usize <= PAGE_SEATS_MAX);
    assert_eq!((first.items.as_slice(), first.items.len()), (&sold[..200], 200));
    let after = first.next_cursor.unwrap().parse().unwrap();
    let rest = BookingFilter { after: Some(after), ..of_ada() };
    let rest = stage.store.bookings(rest, 0, 200).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next_cursor), (&sold[200..], None));
}

async fn live_holds_are_listed_by_customer_and_no_others(stage: Stage) {
    let (one, two) = (stage.schedule(6).await, stage.schedule(6).await);
    let mut alive = Vec::new();
    for schedule in [one, two] {
        for seat in [0, 1] {
            alive.push(held(&stage.run_one(hold(schedule, &[seat], "ada")).await));
        }
    }
    assert!(is_done(&stage.run_one(hold(one, &[2], "ben")).await));
    assert!(is_done(&stage.run_one(hold(one, &[3], "adam")).await));
    let confirmed = held(&stage.run_one(hold(one, &[4], "ada")).await).row.id;
    assert!(is_done(&stage.run_one(confirm(confirmed)).await));
    let ended = held(&stage.run_one(hold(one, &[5], "ada")).await).row.id;
    stage.end_ago(ended, 1_000).await;

    let ids = |page: &[HoldView]| page.iter().map(|hold| hold.row.id).collect::<Vec<_>>();
    let page = stage.store.holds(holds_of_ada(), 0, 200).await.unwrap();
    assert_eq!((ids(&page.items), page.next_cursor), (ids(&alive), None));
    assert_eq!(page.items[0].seats, alive[0].seats);
    let filter = HoldFilter { schedule: Some(two), ..holds_of_ada() };
    let page = stage.store.holds(filter, 0, 200).await.unwrap();
    assert_eq!(ids(&page.items), ids(&alive[2..]));

    // Each once over all pages, although one of them has ended.
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..9 {
        let page = stage.store.holds(HoldFilter { after, ..holds_of_ada() }, 0, 1).await.unwrap();
        found.extend(page.items);
        let Some(next) = page.next_cursor else { break };
        after = Some(next.parse().unwrap());
    }
    assert_eq!(ids(&found), ids(&alive));
}

async fn a_statement_that_the_driver_refuses_is_an_internal_error(stage: Stage) {
    let url = match &stage.settings.target {
        Target::Postgres { write, .. } => write.url().to_owned(),
        Target::Sqlite { path } => format!("sqlite://{}?mode=ro", path.display()),
    };
    let connection = sea_orm::Database::connect(url).await.unwrap();
    let marks: Vec<String> = (1..=HUGE).map(|number| format!("${number}")).collect();
    let sql = format!("SELECT 1 WHERE 1 IN ({})", marks.join(", "));
    let values = marks.iter().map(|_| Value::from(1));
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    let refused = StoreError::from(connection.query_all_raw(statement).await.unwrap_err());
    assert!(matches!(refused, StoreError::Corrupt(_)), "{refused:?}");
}

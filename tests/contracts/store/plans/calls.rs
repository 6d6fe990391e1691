//! Everything that the service asks of the database in its daily work, outside of batches.

use std::collections::BTreeMap;
use std::time::Duration;

use seatlock::domain::catalogue::{BookingFilter, HoldFilter, NewSchedule, PlanSource};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::effect::{Once, RecordedAnswer, Resource};
use seatlock::domain::ids::{CustomerId, RequestId, ScheduleId, SeatNumber};
use seatlock::domain::plan::ReadPlan;
use seatlock::http::responses::{render_event, render_plan, render_schedule};
use seatlock::store::{DeadLettersRemoved, Fetched, ReadFrom, StoredMessage};
use uuid::Uuid;

use super::super::commands::{block, blocked, book, booked, cancel, command, held, hold, under};
use super::super::stage::{default_rules, hall};
use super::keys;
use super::site::{Site, customer};
use seatlock::domain::command::Action;

const SOON: Duration = Duration::from_secs(30);

/// The rows of a page, and of a fetch from the queue.
const PAGE: usize = 10;

/// The room in the queue, which is never used up.
const ROOM: u64 = 1_000_000_000;

/// Makes each call at least once. Names are new in each call with another `name`.
pub(super) async fn every_call(site: &Site, name: &str) {
    let store = &site.stage.store;
    site.forget_outages().await;
    store.write_heartbeat(SOON).await.unwrap();
    assert_eq!(store.ping(SOON).await, Ok(None));
    assert_eq!(store.check_durability().await, Ok(()));
    sweep(site).await;
    answers(site).await;
    catalogue(site, name).await;
    queue(site, name).await;
    claims(site).await;
    maps(site).await;
    keys::every_call(site, name).await;
}

async fn sweep(site: &Site) {
    let store = &site.stage.store;
    let due = store.due_holds(site.customers).await.unwrap();
    assert_eq!(due.len(), site.customers as usize);
    store.holds_alive().await.unwrap();
    site.let_records_expire().await;
    assert!(store.purge().await.unwrap() >= 2 * u64::from(site.customers));
}

async fn answers(site: &Site) {
    let store = &site.stage.store;
    let run = Uuid::now_v7();
    let id = |n: u32| RequestId {
        schedule: ScheduleId(1),
        uuid: Uuid::from_u128(run.as_u128() ^ u128::from(n)),
    };
    let answer =
        RecordedAnswer { status: 410, body: "{}".to_owned(), resource: Some(Resource::Nothing) };
    store.record_answer(id(0), answer.clone()).await.unwrap();
    let overdue: BTreeMap<RequestId, _> =
        (0..3).map(|n| (id(n), (answer.clone(), EpochMs(1)))).collect();
    assert_eq!(store.record_overdue(overdue).await.unwrap().len(), 3);
    let ids: Vec<RequestId> = (0..site.customers.max(3)).map(id).collect();
    assert_eq!(store.recorded_answers(&ids).await.unwrap().len(), 3);
}

async fn catalogue(site: &Site, name: &str) {
    let store = &site.stage.store;
    let key = |kind: &str| Some(under(&format!("{name} {kind}")));
    let create = || store.create_event("The Tempest".to_owned(), key("event"), render_event);
    let Once::Done(event) = create().await.unwrap() else { panic!("{name} is a new key") };
    assert!(matches!(create().await.unwrap(), Once::Replayed(_)));
    for seats in [4, 5] {
        let plan = ReadPlan { plan: hall(seats), notes: Vec::new() };
        store.put_plan("hall".to_owned(), plan, None, render_plan).await.unwrap();
    }
    let stored = PlanSource::Stored { id: "hall".to_owned(), version: None };
    let first = PlanSource::Stored { id: "hall".to_owned(), version: Some(1) };
    for source in [PlanSource::Inline(hall(4)), stored, first] {
        let new = NewSchedule { event: event.id, starts_at: EpochMs(0), rules: default_rules() };
        let created = store.create_schedule(new, source, None, render_schedule).await.unwrap();
        let Once::Done(schedule) = created else { panic!("{created:?}") };
        assert!(store.schedule(schedule.id).await.unwrap().is_some());
    }
    assert!(store.plan("hall".to_owned(), None).await.unwrap().is_some());
    assert!(store.plan("hall".to_owned(), Some(1)).await.unwrap().is_some());
    assert!(store.event(event.id).await.unwrap().is_some());
    let page = store.events(None, 1).await.unwrap();
    let cursor = page.next_cursor.unwrap().parse().unwrap();
    store.events(Some(cursor), PAGE).await.unwrap();
    let page = store.schedules(event.id, None, 1).await.unwrap();
    let cursor = page.next_cursor.unwrap().parse().unwrap();
    assert_eq!(store.schedules(event.id, Some(cursor), PAGE).await.unwrap().items.len(), 2);
}

async fn queue(site: &Site, name: &str) {
    let store = &site.stage.store;
    let message =
        |n: u32| StoredMessage { partition: 1, id: format!("{name} {n}"), body: b"{}".to_vec() };
    assert_eq!(store.queue_append(vec![message(1), message(2)], ROOM, SOON).await, Ok(true));
    let last = store.queue_last().await.unwrap();
    let owner = Uuid::now_v7();
    let fetched = store.queue_fetch((1, owner), SOON, last - 2, PAGE).await.unwrap();
    assert!(matches!(&fetched, Fetched::Messages(found) if found.len() >= 2), "{fetched:?}");
    store.queue_settle(1, last).await.unwrap();
    store.queue_release_lease(1, owner).await.unwrap();
    for n in 1..=3 {
        store.queue_add_dead_letter(message(n), "unreadable".to_owned()).await.unwrap();
    }
    let letters = store.queue_dead_letters(None, 1).await.unwrap();
    let after = (letters[0].dead_lettered_at, letters[0].message.id.clone());
    assert!(!store.queue_dead_letters(Some(after), PAGE).await.unwrap().is_empty());
    let ids = |numbers: [u32; 2]| numbers.map(|n| message(n).id).to_vec();
    for (numbers, append_within) in [([1, 2], None), ([2, 3], Some(ROOM))] {
        let removed = store.queue_remove_dead_letters(ids(numbers), append_within).await.unwrap();
        assert!(matches!(removed, DeadLettersRemoved::Removed(ids) if !ids.is_empty()));
    }
    store.queue_worker_heartbeat("requests".to_owned(), owner, SOON).await.unwrap();
    store.queue_worker_remove("requests".to_owned(), owner).await.unwrap();
}

/// Reads claims that exist meanwhile, one by one and in pages.
async fn claims(site: &Site) {
    let (store, schedule, name) = (&site.stage.store, site.schedule, customer(0));
    let booking = booked(&site.stage.run_one(book(schedule, &[0], &name)).await).row.id;
    let hold = held(&site.stage.run_one(hold(schedule, &[1], &name)).await).row.id;
    let block = blocked(&site.stage.run_one(block(schedule, &[2])).await).row.id;
    assert!(store.booking(booking, 0).await.unwrap().is_some());
    assert!(store.hold(hold, 0).await.unwrap().is_some());
    assert!(site.routed.booking(booking, 1).await.unwrap().is_some());
    let seats = (0..4 * site.customers).map(|n| (schedule, SeatNumber(n)));
    assert_eq!(store.holders(seats.collect()).await.unwrap().len(), 1);

    let by = CustomerId::parse(name).unwrap();
    for (of, on) in [(None, Some(schedule)), (Some(&by), None), (Some(&by), Some(schedule))] {
        let mut filter = BookingFilter { customer: of.cloned(), schedule: on, after: None };
        for _ in 0..2 {
            let page = store.bookings(filter.clone(), 0, 1).await.unwrap();
            filter.after = page.next_cursor.map(|cursor| cursor.parse().unwrap());
        }
        store.bookings(filter, 0, PAGE).await.unwrap();
    }
    for on in [None, Some(schedule)] {
        let mut filter = HoldFilter { customer: by.clone(), schedule: on, after: None };
        let page = store.holds(filter.clone(), 0, 1).await.unwrap();
        assert_eq!(page.items.len(), 1);
        filter.after = page.next_cursor.map(|cursor| cursor.parse().unwrap());
        store.holds(filter, 0, PAGE).await.unwrap();
    }
    assert!(!store.blocks(schedule, 0, None, PAGE).await.unwrap().items.is_empty());

    let release = command(schedule, Action::Release { hold });
    let unblock = command(schedule, Action::Unblock { block });
    site.stage.run(vec![cancel(booking, None), release, unblock]).await;
}

/// Reads what a seat map is made of.
async fn maps(site: &Site) {
    for store in [&site.stage.store, &site.routed] {
        for from in [ReadFrom::Anywhere, ReadFrom::Primary] {
            let map = store.seats(site.schedule, from).await.unwrap().unwrap();
            let since = map.at.at - 2;
            let journal = store.journal_after(site.schedule, since, from).await.unwrap().unwrap();
            assert_eq!(journal.entries.len(), 2);
            let journal = store.journal_after(site.schedule, i64::MIN, from).await.unwrap();
            assert!(!journal.unwrap().entries.is_empty());
        }
    }
}

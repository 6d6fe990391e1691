//! Events, plans and schedules: created once per key, completely or not at all.

use std::sync::Arc;
use std::time::Duration;

use seatlock::domain::catalogue::{NewSchedule, PlanSource, Schedule};
use seatlock::domain::clock::EpochMs;
use seatlock::domain::command::Keyed;
use seatlock::domain::effect::Once;
use seatlock::domain::execution_error::StoreError;
use seatlock::domain::ids::{EventId, InHistory};
use seatlock::domain::plan::ReadPlan;
use seatlock::domain::rejection::Rejection;
use seatlock::http::responses::{render_event, render_plan, render_schedule};
use seatlock::store::{Schema, Store};

use super::commands::under;
use super::on_both_databases;
use super::stage::{Stage, default_rules, hall};

on_both_databases![
    an_event_is_entered_once_per_key,
    a_schedule_is_entered_once_per_key_with_all_its_seats,
    a_schedule_without_event_or_plan_is_refused_and_leaves_nothing,
    an_equal_plan_makes_no_new_version,
    plans_put_at_the_same_time_all_get_a_version,
    one_key_used_at_the_same_time_has_one_effect,
    a_current_schema_needs_no_migration,
];

async fn an_event_is_entered_once_per_key(stage: Stage) {
    let enter = |name: &str, key: Option<Keyed>| {
        let store = Arc::clone(&stage.store);
        let name = name.to_owned();
        async move { store.create_event(name, key, render_event).await.unwrap() }
    };
    let first = enter("Hamlet", Some(under("k"))).await;
    let Once::Done(event) = first else { panic!("{first:?}") };
    assert_eq!(stage.store.event(event.id).await, Ok(Some(event.clone())));
    let again = enter("Hamlet", Some(under("k"))).await;
    assert_eq!(again, Once::Replayed(render_event(&event)));
    let other = Keyed { fingerprint: "another body".to_owned(), ..under("k") };
    assert_eq!(enter("Macbeth", Some(other)).await, Once::Refused(Rejection::KeyReused));
    let unkeyed = enter("Hamlet", None).await;
    assert!(matches!(unkeyed, Once::Done(second) if second.id != event.id));

    let page = stage.store.events(None, 1).await.unwrap();
    let cursor: InHistory<EventId> = page.next_cursor.unwrap().parse().unwrap();
    assert_eq!(cursor.at, event.id);
    let page = stage.store.events(Some(cursor), 1).await.unwrap();
    assert_eq!((page.items.len(), page.next_cursor), (1, None));
    let other = InHistory { history: "00000000".parse().unwrap(), at: event.id };
    assert_eq!(stage.store.events(Some(other), 1).await, Err(StoreError::OtherHistory));
}

async fn enter(
    store: &Arc<Store>,
    event: EventId,
    source: PlanSource,
    keyed: Option<Keyed>,
) -> Result<Once<Schedule>, StoreError> {
    let new = NewSchedule { event, starts_at: EpochMs(7), rules: default_rules() };
    store.create_schedule(new, source, keyed, render_schedule).await
}

async fn a_schedule_is_entered_once_per_key_with_all_its_seats(stage: Stage) {
    let event = stage.event().await;
    // More seats than fit in one statement.
    let plan = PlanSource::Inline(
        seatlock::domain::plan::SeatPlan::from_inline(&[seatlock::domain::plan::InlineSection {
            name: "B".to_owned(),
            rows: 21,
            seats_per_row: 500,
            price: 5,
            ..seatlock::domain::plan::InlineSection::default()
        }])
        .unwrap(),
    );
    let first = enter(&stage.store, event, plan.clone(), Some(under("k"))).await.unwrap();
    let Once::Done(schedule) = first else { panic!("{first:?}") };
    let again = enter(&stage.store, event, plan, Some(under("k"))).await.unwrap();
    assert_eq!(again, Once::Replayed(render_schedule(&schedule)));
    assert_eq!(stage.store.schedule(schedule.id).await, Ok(Some(schedule.clone())));
    assert_eq!(stage.states(schedule.id).await, "0".repeat(10_500));
    assert_eq!(stage.version(schedule.id).await, 1);
    let page = stage.store.schedules(event, None, 10).await.unwrap();
    assert_eq!((page.items, page.next_cursor), (vec![schedule], None));
    stage.audit().await;
}

async fn a_schedule_without_event_or_plan_is_refused_and_leaves_nothing(stage: Stage) {
    let event = stage.event().await;
    let before = stage.database.dump().await;
    let stored = |version| PlanSource::Stored { id: "nowhere".to_owned(), version };
    for (event, source, missing) in [
        (EventId(event.0 + 1), PlanSource::Inline(hall(1)), "event"),
        (event, stored(None), "seat plan"),
        (event, stored(Some(1)), "seat plan"),
    ] {
        let refused = enter(&stage.store, event, source, Some(under(missing))).await.unwrap();
        assert_eq!(refused, Once::Refused(Rejection::NotFound(missing)));
    }
    assert_eq!(stage.database.dump().await, before);
}

fn read(seats: u32) -> ReadPlan {
    ReadPlan { plan: hall(seats), notes: Vec::new() }
}

async fn an_equal_plan_makes_no_new_version(stage: Stage) {
    let mut versions = Vec::new();
    for seats in [3, 3, 4, 3] {
        let put = stage.store.put_plan("hall".to_owned(), read(seats), None, render_plan).await;
        let Ok(Once::Done(plan)) = put else { panic!("{put:?}") };
        versions.push(plan.version.version);
    }
    assert_eq!(versions, [1, 1, 2, 3]);
    let plan = |version| stage.store.plan("hall".to_owned(), version);
    assert_eq!(plan(Some(2)).await.unwrap().unwrap().plan, hall(4));
    assert_eq!(plan(None).await.unwrap().unwrap().version.version, 3);
    assert_eq!(plan(Some(4)).await, Ok(None));
}

async fn plans_put_at_the_same_time_all_get_a_version(stage: Stage) {
    let other = stage.another_store().await;
    for round in 0..5 {
        let puts =
            (1..=6).map(|seats| {
                let store = Arc::clone(if seats % 2 == 0 { &stage.store } else { &other });
                async move {
                    store.put_plan(format!("hall {round}"), read(seats), None, render_plan).await
                }
            });
        let mut versions = Vec::new();
        for put in futures_util::future::join_all(puts).await {
            let Ok(Once::Done(plan)) = put else { panic!("{put:?}") };
            versions.push(plan.version.version);
        }
        versions.sort_unstable();
        assert_eq!(versions, [1, 2, 3, 4, 5, 6]);
    }
}

async fn one_key_used_at_the_same_time_has_one_effect(stage: Stage) {
    let event = stage.event().await;
    let other = stage.another_store().await;
    for round in 0..5 {
        let attempts = (0..6).map(|number| {
            let store = Arc::clone(if number % 2 == 0 { &stage.store } else { &other });
            let key = under(&format!("k{round}"));
            async move { enter(&store, event, PlanSource::Inline(hall(2)), Some(key)).await }
        });
        let mut done = 0;
        for attempt in futures_util::future::join_all(attempts).await {
            match attempt.unwrap() {
                Once::Done(_) => done += 1,
                Once::Replayed(answer) => assert_eq!(answer.status, 201),
                Once::Refused(refusal) => panic!("{refusal:?}"),
            }
        }
        assert_eq!(done, 1);
    }
    assert_eq!(stage.database.number("SELECT count(*) FROM schedule").await, 5);
    assert_eq!(stage.database.number("SELECT count(*) FROM seat_plan").await, 5);
}

async fn a_current_schema_needs_no_migration(stage: Stage) {
    assert_eq!(stage.store.schema().await, Ok(Schema::Current));
    assert_eq!(stage.store.check_durability().await, Ok(()));
    assert_eq!(stage.store.ping(Duration::from_secs(5)).await, Ok(None));
}

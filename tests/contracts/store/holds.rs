//! Holds: expiry, takeover, late confirmation, outages, and the purge of old rows.

use std::time::Duration;

use seatlock::domain::claims::{HoldRow, HoldStatus};
use seatlock::domain::command::Action;
use seatlock::domain::effect::{Effect, HoldView, Outcome};
use seatlock::domain::ids::HoldId;
use seatlock::domain::rejection::{ConflictReason, Rejection};
use seatlock::store::{Holder, Target};

use super::commands::{
    book, booked, command, confirm, done, held, hold, is_done, keyed, numbers, unavailable,
};
use super::on_both_databases;
use super::stage::{CommandResult, Stage, first_lane, run};

/// Much longer than a heartbeat takes.
const SOON: Duration = Duration::from_secs(5);

on_both_databases![
    a_confirmed_hold_is_a_booking_once,
    an_expired_hold_is_free_to_the_next_taker_and_loses_nothing_else,
    a_late_confirmation_succeeds_while_the_seats_are_free,
    an_outage_is_recorded_once_and_stretches_the_holds_it_would_have_ended,
    a_heartbeat_records_the_outage_too,
    the_first_heartbeat_of_a_database_is_no_outage,
    due_holds_come_oldest_first_and_within_the_limit,
    a_purge_takes_what_is_old_and_nothing_else,
    a_conflict_names_the_hold_of_the_customer_who_asks,
];

impl Stage {
    /// Lets a hold end: moves its end to this far before its start, in every table.
    pub(super) async fn end_ago(&self, hold: HoldId, ms: i64) {
        let row = self.hold(hold).await.row;
        let (old, new) = (row.until.0, row.created_at.0 - ms);
        let set = format!("SET held_until = {new} WHERE schedule_id = {}", hold.schedule);
        let seats = format!("UPDATE seat {set} AND held_until = {old}");
        let holds = format!("UPDATE hold {set} AND held_until = {old}");
        let journal = format!("UPDATE journal SET changes = replace(changes, '{old}', '{new}')");
        self.database.execute(&format!("{seats}; {holds}; {journal}")).await;
    }

    async fn hold(&self, id: HoldId) -> HoldView {
        self.store.hold(id, 0).await.unwrap().unwrap()
    }
}

async fn a_confirmed_hold_is_a_booking_once(stage: Stage) {
    let schedule = stage.schedule(2).await;
    let anna = held(&stage.run_one(hold(schedule, &[0, 1], "anna")).await);
    let booking = booked(&stage.run_one(confirm(anna.row.id)).await);
    assert_eq!(booking.row.hold, Some(anna.row.id));
    assert_eq!(booked(&stage.run_one(confirm(anna.row.id)).await), booking);
    let row = stage.hold(anna.row.id).await.row;
    assert_eq!((row.status, row.booking), (HoldStatus::Confirmed, Some(booking.row.id)));
    let release = command(schedule, Action::Release { hold: anna.row.id });
    assert_eq!(stage.run_one(release).await, Ok(Outcome::Refused(Rejection::HoldConfirmed)));
    stage.audit().await;
}

async fn an_expired_hold_is_free_to_the_next_taker_and_loses_nothing_else(stage: Stage) {
    let schedule = stage.schedule(3).await;
    let anna = held(&stage.run_one(hold(schedule, &[0, 1], "anna")).await).row.id;
    stage.end_ago(anna, 1_000).await;
    assert!(is_done(&stage.run_one(book(schedule, &[1, 2], "ben")).await));
    assert_eq!(stage.states(schedule).await, "122", "only the seat taken over was written");
    assert_eq!(stage.hold(anna).await.row.status, HoldStatus::Held, "its end is derived");

    let late = stage.run_one(confirm(anna)).await;
    let Ok(Outcome::Refused(Rejection::HoldExpired(lost))) = late else { panic!("{late:?}") };
    assert_eq!(lost.iter().map(|seat| seat.label.as_str()).collect::<Vec<_>>(), ["A-1-2"]);

    let due = stage.store.due_holds(10).await.unwrap();
    assert_eq!(due.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [anna]);
    let expire = || command(schedule, Action::Expire { hold: anna });
    let version = stage.version(schedule).await;
    assert_eq!(*done(&stage.run_one(expire()).await), Effect::Expired);
    assert_eq!(stage.states(schedule).await, "022");
    assert_eq!(stage.version(schedule).await, version + 1);
    assert_eq!(stage.hold(anna).await.row.status, HoldStatus::Expired);
    assert_eq!(
        *done(&stage.run_one(expire()).await),
        Effect::Expired,
        "repeating it changes nothing"
    );
    assert_eq!(stage.version(schedule).await, version + 1);
    assert_eq!(stage.store.due_holds(10).await.unwrap(), []);
    stage.audit().await;
}

async fn a_late_confirmation_succeeds_while_the_seats_are_free(stage: Stage) {
    let schedule = stage.schedule(4).await;
    let [early, late] = [[0, 1], [2, 3]].map(|seats| hold(schedule, &seats, "anna"));
    let [unswept, swept] = [stage.run_one(early).await, stage.run_one(late).await];
    let [unswept, swept] = [&unswept, &swept].map(|result| held(result).row.id);
    stage.end_ago(unswept, 1_000).await;
    let expire = command(schedule, Action::Expire { hold: swept });
    assert!(is_done(&stage.run_one(expire).await));
    for hold in [unswept, swept] {
        assert_eq!(booked(&stage.run_one(confirm(hold)).await).seats.len(), 2);
    }
    assert_eq!(stage.states(schedule).await, "2222");
    stage.audit().await;
}

async fn an_outage_is_recorded_once_and_stretches_the_holds_it_would_have_ended(stage: Stage) {
    let schedule = stage.schedule(2).await;
    stage.store.write_heartbeat(SOON).await.unwrap();
    let anna = held(&stage.run_one(hold(schedule, &[0], "anna")).await).row.id;
    stage.end_ago(anna, 30_000).await;
    stage.database.execute("UPDATE heartbeat SET beat_at = beat_at - 120000").await;

    // The first transaction records the gap, even if it only refuses a command.
    let refused = stage.run_one(book(schedule, &[0], "ben")).await;
    assert_eq!(refused, unavailable(&[("A-1-1", ConflictReason::Held)]));
    let outages = "SELECT count(*) FROM outage";
    assert_eq!(stage.database.number(outages).await, 1);
    let view = stage.hold(anna).await;
    let ended = stage.database.number("SELECT ended_at FROM outage").await;
    assert_eq!(view.ends_at.0, ended + 60_000, "the end of the outage and the grace");

    let other = stage.another_store().await;
    other.write_heartbeat(SOON).await.unwrap();
    let again = run(&first_lane(&other), vec![book(schedule, &[0], "ben")]).await.remove(0);
    assert_eq!(again, unavailable(&[("A-1-1", ConflictReason::Held)]), "the same on every replica");
    assert_eq!(stage.database.number(outages).await, 1);
    let expire = command(schedule, Action::Expire { hold: anna });
    assert_eq!(*done(&stage.run_one(expire).await), Effect::Expired);
    assert_eq!(stage.states(schedule).await, "10", "the sweeper must not end it either");
    assert!(is_done(&stage.run_one(confirm(anna)).await));
}

async fn a_heartbeat_records_the_outage_too(stage: Stage) {
    stage.store.write_heartbeat(SOON).await.unwrap();
    stage.database.execute("UPDATE heartbeat SET beat_at = beat_at - 10000").await;
    let beat_at = stage.database.number("SELECT beat_at FROM heartbeat").await;
    // Many replicas recover at the same time.
    let other = stage.another_store().await;
    let (one, two, three) = tokio::join!(
        stage.store.write_heartbeat(SOON),
        other.write_heartbeat(SOON),
        other.write_heartbeat(SOON)
    );
    assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    let began: Vec<i64> = stage.database.column("SELECT began_at FROM outage").await;
    assert_eq!(began, [beat_at]);
}

async fn the_first_heartbeat_of_a_database_is_no_outage(stage: Stage) {
    stage.store.write_heartbeat(SOON).await.unwrap();
    stage.store.write_heartbeat(SOON).await.unwrap();
    assert_eq!(stage.database.number("SELECT count(*) FROM outage").await, 0);
    let beat_at = stage.database.number("SELECT beat_at FROM heartbeat").await;
    stage.event().await;
    let now = stage.database.number("SELECT created_at FROM event").await;
    assert!((0..60_000).contains(&(now - beat_at)));
}

async fn due_holds_come_oldest_first_and_within_the_limit(stage: Stage) {
    let mut holds = Vec::new();
    for age in [3_000, 9_000, 6_000] {
        let schedule = stage.schedule(1).await;
        let id = held(&stage.run_one(hold(schedule, &[0], "anna")).await).row.id;
        stage.end_ago(id, age).await;
        holds.push(id);
    }
    let alive = stage.schedule(1).await;
    assert!(is_done(&stage.run_one(hold(alive, &[0], "anna")).await));
    let due = stage.store.due_holds(2).await.unwrap();
    assert_eq!(due.iter().map(|(id, ..)| *id).collect::<Vec<_>>(), [holds[1], holds[2]]);
    assert!(due.iter().all(|(_, until, now)| until < now));
    assert_eq!(stage.store.due_holds(10).await.unwrap().len(), 3);
}

async fn a_purge_takes_what_is_old_and_nothing_else(stage: Stage) {
    let schedule = stage.schedule(4).await;
    for (seat, key) in [(0, "old"), (1, "new")] {
        assert!(is_done(&stage.run_one(keyed(book(schedule, &[seat], "anna"), key)).await));
    }
    assert_eq!(stage.store.purge().await, Ok(0));
    stage.database.execute("UPDATE idempotency SET expires_at = 1 WHERE key = 'old'").await;
    // The ids of the existing batches get the oldest possible time, 1970.
    let aged = match stage.settings.target {
        Target::Postgres { .. } => "('00000000' || substr(id::text, 9))::uuid",
        Target::Sqlite { .. } => "CAST(x'00000000' || substr(id, 5) AS BLOB)",
    };
    stage.database.execute(&format!("UPDATE batch SET id = {aged}")).await;
    assert!(is_done(&stage.run_one(book(schedule, &[2], "anna")).await));
    assert_eq!(stage.store.purge().await, Ok(3));
    let keys: Vec<String> = stage.database.column("SELECT key FROM idempotency").await;
    assert_eq!(keys, ["new"]);
    assert_eq!(stage.database.number("SELECT count(*) FROM batch").await, 1);
    assert_eq!(stage.database.number("SELECT count(*) FROM booking").await, 3);
}

async fn a_conflict_names_the_hold_of_the_customer_who_asks(stage: Stage) {
    let schedule = stage.schedule(3).await;
    let anna = held(&stage.run_one(hold(schedule, &[0, 1], "anna")).await).row;
    let ben = held(&stage.run_one(hold(schedule, &[2], "ben")).await).row;
    let named = |result: &CommandResult| match result {
        Ok(Outcome::Refused(Rejection::SeatsUnavailable(lost))) => {
            lost.iter().map(|seat| seat.hold).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let results = stage
        .run(vec![
            hold(schedule, &[1, 2], "anna"),
            book(schedule, &[1, 2], "ben"),
            book(schedule, &[1, 2], "carl"),
        ])
        .await;
    let expected = [[Some(anna.id), None], [None, Some(ben.id)], [None, None]];
    assert_eq!(results.iter().map(named).collect::<Vec<_>>(), expected);

    let seats = numbers(&[0, 2]).into_iter().map(|number| (schedule, number)).collect();
    let holders = stage.store.holders(seats).await.unwrap();
    let holder = |hold: &HoldRow| Holder {
        hold: hold.id,
        customer: hold.customer.clone(),
        until: hold.until,
    };
    assert_eq!(holders.get(&(schedule, numbers(&[0])[0])), Some(&holder(&anna)));
    assert_eq!(holders.get(&(schedule, numbers(&[2])[0])), Some(&holder(&ben)));
    let free = stage.schedule(1).await;
    assert_eq!(stage.store.holders(vec![(free, numbers(&[0])[0])]).await.unwrap().len(), 0);
}

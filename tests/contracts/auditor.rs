//! The background audit: a round that is longer than a turn.

use std::sync::Arc;
use std::time::Duration;

use seatlock::background::auditor::Auditor;
use seatlock::domain::clock::EpochMs;

use test_support::eventually;

use crate::store::stage::Stage;

/// Much shorter than the pause between two schedules, so a turn ends after one of them.
const INTERVAL: Duration = Duration::from_millis(20);

const SCHEDULES: u64 = 5;

#[actix_web::test]
async fn an_audit_round_continues_in_the_next_turn_where_the_last_one_ended() {
    let stage = Stage::embedded().await;
    for _ in 0..SCHEDULES {
        stage.schedule(3).await;
    }
    let last = stage.schedule(3).await;
    let broken = format!("UPDATE schedule_version SET version = 7 WHERE schedule_id = {last}");
    stage.database.execute(&broken).await;
    let arbiter = actix::Arbiter::new();
    let (store, metrics) = (Arc::clone(&stage.store), Arc::clone(&stage.metrics));
    Auditor::start_in(&arbiter.handle(), store, metrics, INTERVAL, EpochMs(0));
    let audit = &stage.metrics.audit;
    eventually("the end of two rounds", Duration::from_secs(60), async || {
        if audit.rounds_total.get() < 2 { Err(audit.schedules_total.get()) } else { Ok(()) }
    })
    .await;
    arbiter.stop();
    // Each once, since none had changed before the second round.
    assert_eq!(audit.schedules_total.get(), SCHEDULES + 1);
    let violations = audit.violations.with_label_values(&["journal_is_gapless"]);
    assert_eq!((violations.get(), audit.failures_total.get()), (1, 0));
}

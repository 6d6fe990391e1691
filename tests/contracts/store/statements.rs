//! How many statements PostgreSQL executes for a load of bookings.

use std::sync::Arc;

use seatlock::actors::booking::{BatcherLimits, Lanes};
use seatlock::domain::ids::ScheduleId;
use seatlock::seat_map::SeatMaps;

use super::commands::book;
use super::stage::Stage;

const BOOKINGS: u32 = 2_000;

/// Statements that PostgreSQL has counted in this database, without the queries for the count.
async fn statements(stage: &Stage) -> i64 {
    stage
        .database
        .number(
            "SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements s
             JOIN pg_database d ON d.oid = s.dbid
             WHERE d.datname = current_database() AND s.query NOT LIKE '%pg_stat_statements%'",
        )
        .await
}

async fn book_concurrently(stage: &Stage, schedule: ScheduleId) {
    let arbiter = actix::Arbiter::new();
    let limits = BatcherLimits { batch_max: 256, pending_max: 4_096 };
    let store = stage.another_store().await;
    let seat_maps =
        Arc::new(SeatMaps::new(Arc::clone(&store), None, Arc::clone(&stage.metrics), 1 << 30));
    let health = Arc::default();
    let lanes =
        Lanes::start(&store, &seat_maps, &health, &stage.metrics, &arbiter.handle(), limits);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let bookings = (0..BOOKINGS)
        .map(|seat| lanes.execute(book(schedule, &[seat], &format!("customer {seat}")), deadline));
    let outcomes = futures_util::future::join_all(bookings).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    arbiter.stop();
}

mod full {
    use super::*;

    #[actix_web::test]
    async fn a_load_of_bookings_costs_less_than_one_statement_each() {
        let stage = Stage::full().await;
        stage.database.execute("CREATE EXTENSION pg_stat_statements").await;
        let schedule = stage.schedule(BOOKINGS).await;
        let before = statements(&stage).await;
        book_concurrently(&stage, schedule).await;
        let taken = statements(&stage).await - before;
        assert_eq!(stage.states(schedule).await, "2".repeat(BOOKINGS as usize));
        assert!(taken > 0, "nothing was counted");
        assert!(taken < i64::from(BOOKINGS), "{taken} statements for {BOOKINGS} bookings");
        stage.audit().await;
    }
}

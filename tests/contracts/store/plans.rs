//! The plans that PostgreSQL makes, whatever it knows of the tables.
//!
//! A plan that was cached while its tables were small is used after they have grown. A query without an index then
//! scans a table, and a query with the wrong index reads as many rows as a scan. The check of a foreign key can do so,
//! too. The tests therefore count the rows that each statement touched, of all statements in the code.

mod calls;
mod keys;
mod log;
mod rounds;
mod site;
mod source;

use std::collections::BTreeMap;

use seatlock::domain::command::CommandKind;
use seatlock::domain::rules::ScheduleRules;
use seatlock::store::AuditScope;
use seatlock::telemetry::metrics::batch::CommandOutcome;
use strum::VariantNames as _;
use test_support::Postgres;

use super::commands::{book, is_done, keyed};
use super::stage::{Stage, default_rules};
use log::{EXPLAIN, Executed, between, executed, is_wrong, mark};
use site::Site;

/// Batches, and bookings in each.
const BATCHES: u32 = 50;
const BATCH: u32 = 60;

/// Customers who buy repeatedly under a limit.
const CUSTOMERS: u32 = 20;

/// After five executions PostgreSQL makes the generic plan of a prepared statement, which it then keeps.
const ROUNDS: u32 = 7;

/// Calls outside of batches, of which each may get another one of three connections.
const CALLS: u32 = 16;

/// Rows that each node of a statement's plan may touch: six for each command of a batch, or for each row of a call.
const ROWS_MAX: f64 = 6.0 * CUSTOMERS as f64;

/// Statements that touch more rows or pages, by a part of their text: the most rows, and the reason.
const MORE_ROWS: [(&str, f64, &str); 9] = [
    ("FROM hold WHERE status = 0 AND held_until >", f64::INFINITY, "counts the active holds"),
    ("FROM schedule_version v LEFT JOIN", 1_010.0, "reads at most 1,000 entries of the journal"),
    ("AND b.schedule_id + 0 = $3 AND b.customer_id = $4", 9_000.0, "reads the customer's bookings"),
    // The entries of what was deleted or lifted before are still in the index, since nothing vacuums.
    ("FROM block b WHERE b.schedule_id + 0", ROWS_MAX, "passes over blocks that were just lifted"),
    ("DELETE FROM idempotency", 5_010.0, "deletes at most 5,000 answers"),
    ("api_key WHERE revoked_at", f64::INFINITY, "reads all API keys when one changes"),
    ("UPDATE api_key SET revoked_at = expires_at", f64::INFINITY, "reads all API keys, as above"),
    ("FROM api_key_secret ORDER BY", f64::INFINITY, "reads all secrets when a key has changed"),
    ("DELETE FROM batch", 5_010.0, "deletes at most 5,000 records"),
];

/// Whether the statement touched no more rows, and no more pages for them, than its work justifies.
fn is_in_proportion(one: &Executed) -> bool {
    let query = one.query();
    match MORE_ROWS.iter().find(|(part, ..)| query.contains(part)) {
        Some((_, most, _)) => one.rows_of_one_node() <= *most,
        None => one.rows_of_one_node() <= ROWS_MAX && !one.walks_through_an_index(),
    }
}

/// Runs batches and all other calls, and checks that no statement touched more rows than its work justifies.
async fn rows_stay_few(site: &Site, name: &str) {
    mark(&site.server, &site.stage, &format!("{name} begins")).await;
    for n in 0..ROUNDS {
        let name = format!("{name} {n}");
        site.round(&name).await;
        site.mixed(&name).await;
        site.conflicts().await;
    }
    site.let_holds_expire().await;
    for n in 0..CALLS {
        calls::every_call(site, &format!("{name} {n}")).await;
    }
    site.turns().await;
    site.trouble().await;
    mark(&site.server, &site.stage, &format!("{name} ends")).await;
    let log = site.server.log();
    let statements = executed(&between(&log, &format!("{name} begins"), &format!("{name} ends")));
    let counts = statements.iter().filter(|one| one.text.contains("sum(t.live_seats)")).count();
    assert!(counts >= 2 * ROUNDS as usize, "{name}: the limit was asked for {counts} times");
    let cached = statements.iter().filter(|one| one.text.contains("(schedule_id = $1)")).count();
    assert!(cached > 0, "{name}: no plan for all values of the parameters");
    let wrong = statements.iter().filter(|one| !is_in_proportion(one));
    // Each statement once.
    let wrong: BTreeMap<String, &str> = wrong.map(|one| (one.query(), &*one.text)).collect();
    assert!(wrong.is_empty(), "{name}: {}", wrong.into_values().collect::<Vec<_>>().join("\n"));
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_touches_rows_in_proportion_whatever_has_grown() {
        let site = Site::new(CUSTOMERS).await;
        rows_stay_few(&site, "cold").await;
        site.grow().await;
        rows_stay_few(&site, "grown").await;
        site.stage.database.execute("ANALYZE").await;
        rows_stay_few(&site, "analyzed").await;
        let log = site.server.log();
        let texts: Vec<String> =
            executed(&log.lines().collect::<Vec<_>>()).iter().map(Executed::query).collect();
        source::assert_all_are_in(&texts);
        let counter = &site.stage.metrics.batch.commands_total;
        for kind in CommandKind::VARIANTS {
            let count = |outcome: &&str| counter.with_label_values(&[*kind, *outcome]).get();
            let sent = CommandOutcome::VARIANTS.iter().map(count).sum::<u64>();
            assert!(sent > 0, "no batch had the command {kind}");
        }
        for (part, _, reason) in MORE_ROWS {
            assert!(texts.iter().any(|text| text.contains(part)), "no statement {reason}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_touches_rows_in_proportion_after_tables_of_few_rows_have_grown() {
        let site = Site::new(1).await;
        site.renew_primary_keys().await;
        site.round("first").await;
        site.let_holds_expire().await;
        calls::every_call(&site, "first").await;
        site.make_rows_alike().await;
        site.stage.database.execute("ANALYZE").await;
        rows_stay_few(&site, "tiny").await;
        site.grow().await;
        rows_stay_few(&site, "tiny, then grown").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_touches_rows_in_proportion_on_statistics_that_mislead() {
        let site = Site::new(CUSTOMERS).await;
        // Tables with few rows: all indexes look equally good.
        site.round("first").await;
        site.stage.database.execute("ANALYZE").await;
        rows_stay_few(&site, "small").await;
        site.grow().await;
        rows_stay_few(&site, "small, then grown").await;
        // One booking and one hold in each of many schedules: the schedule alone seems to be selective.
        for sql in [
            "TRUNCATE booking, hold, booking_seat",
            "INSERT INTO booking SELECT 5000000 + n, gen_random_uuid(), 'reseller', '[0]', 1, 0, NULL, 0, NULL
             FROM generate_series(1, 60000) AS n",
            "INSERT INTO hold SELECT 5000000 + n, gen_random_uuid(), 'reseller', '[0]', 1, 0, 0, 99999999999999, NULL
             FROM generate_series(1, 60000) AS n",
            "ANALYZE",
        ] {
            site.stage.database.execute(sql).await;
        }
        rows_stay_few(&site, "one each").await;
        site.grow().await;
        rows_stay_few(&site, "one each, then grown").await;
    }

    /// PostgreSQL 18 can skip over the first key of an index, and so look up rows by a later one. On a table of few rows
    /// it may choose such an index instead of the primary key, and keep the plan.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_look_up_can_use_an_index_by_its_later_keys() {
        let stage = Stage::full().await;
        let sql = "SELECT DISTINCT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             JOIN generate_series(1, 9) AS later ON later < i.indnkeyatts
             WHERE c.relnamespace = 'public'::regnamespace AND NOT i.indisprimary
             AND i.indkey[later] <> 0 ORDER BY 1";
        let plain: Vec<String> = stage.database.column(sql).await;
        // Statements about blocks that were not lifted, and about the sale of a seat, name the schedule.
        assert_eq!(plain, ["block_listed", "block_live", "booking_seat_live"]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn bookings_on_cold_tables_run_no_trigger_and_scan_no_growing_table() {
        let server = Postgres::start(&EXPLAIN);
        let stage = Stage::on_postgres(&server).await;
        let schedule = stage.schedule(2 * BATCHES * BATCH).await;
        mark(&server, &stage, "begin").await;
        for batch in 0..BATCHES {
            let bookings = (0..BATCH).map(|n| {
                let seat = 2 * (batch * BATCH + n);
                let command = book(schedule, &[seat, seat + 1], &format!("customer {seat}"));
                keyed(command, &format!("key {seat}"))
            });
            assert!(stage.run(bookings.collect()).await.iter().all(is_done));
        }
        mark(&server, &stage, "end").await;
        let log = server.log();
        let lines = between(&log, "begin", "end");
        let plans = lines.iter().filter(|line| line.contains("Index Scan using seat_pkey")).count();
        assert!(plans >= BATCHES as usize, "the plans of the bookings are in the log: {plans}");
        let wrong: Vec<_> = lines.iter().filter(|line| is_wrong(line)).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Bookings of this many seats, so that work in proportion to the square of their lists would be seen.
    const GROUP: u32 = 100;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_audit_of_ten_times_the_bookings_touches_ten_times_the_rows() {
        let server = Postgres::start(&EXPLAIN);
        let stage = Stage::on_postgres(&server).await;
        let mut rows = Vec::new();
        for groups in [4, 40] {
            let rules = ScheduleRules { max_seats_per_booking: GROUP, ..default_rules() };
            let schedule = stage.schedule_with(groups * GROUP, rules).await.id;
            for group in 0..groups {
                let seats: Vec<u32> = (group * GROUP..(group + 1) * GROUP).collect();
                assert!(is_done(&stage.run_one(book(schedule, &seats, "a group")).await));
            }
            let (begins, ends) = (format!("{groups} begin"), format!("{groups} end"));
            mark(&server, &stage, &begins).await;
            let found = stage.violations(AuditScope::ScheduleAlone(schedule)).await;
            assert!(found.is_empty(), "{found:?}");
            mark(&server, &stage, &ends).await;
            let log = server.log();
            let statements = executed(&between(&log, &begins, &ends));
            rows.push(statements.iter().map(Executed::rows).sum::<f64>());
        }
        assert!(rows[0] > f64::from(4 * GROUP), "the audit is in the log: {rows:?}");
        assert!(rows[1] < 11.0 * rows[0], "{rows:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_shows_foreign_keys_and_scans() {
        let server = Postgres::start(&EXPLAIN);
        let stage = Stage::on_postgres(&server).await;
        stage.schedule(10).await;
        stage.database.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)").await;
        stage.database.execute("CREATE TABLE child (id INTEGER REFERENCES parent (id))").await;
        mark(&server, &stage, "begin").await;
        stage.database.execute("INSERT INTO parent VALUES (1)").await;
        stage.database.execute("INSERT INTO child VALUES (1)").await;
        mark(&server, &stage, "foreign key").await;
        assert_eq!(stage.database.number("SELECT count(*) FROM seat WHERE price > 0").await, 10);
        mark(&server, &stage, "end").await;
        let log = server.log();
        let wrong =
            |from, to| between(&log, from, to).into_iter().filter(|line| is_wrong(line)).count();
        assert!(wrong("begin", "foreign key") > 0, "{log}");
        assert!(wrong("foreign key", "end") > 0, "{log}");
    }
}

//! The plans that PostgreSQL makes for bookings on tables that it knows nothing about yet.
//!
//! A foreign key would be checked by a plan cached while its table was empty, which scans the table when
//! it has grown; so would a query that goes without an index.

use std::time::Duration;

use test_support::Postgres;

use super::commands::{book, is_done, keyed};
use super::stage::Stage;

const SOON: Duration = Duration::from_secs(30);

/// Batches, and bookings in each.
const BATCHES: u32 = 50;
const BATCH: u32 = 60;

/// Tables that grow with every booking.
const GROWING: [&str; 7] =
    ["seat", "booking", "booking_seat", "hold", "idempotency", "batch", "journal"];

/// Logs the plan of every statement, those of triggers and functions too, and the time of triggers.
const EXPLAIN: [(&str, &str); 6] = [
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_triggers", "on"),
    ("auto_explain.log_nested_statements", "on"),
    // Never analyzed: nobody tells the planner how large the tables are.
    ("autovacuum", "off"),
    ("log_line_prefix", ""),
];

/// Writes a mark into the server's log and waits until everything before it is there.
async fn mark(server: &Postgres, stage: &Stage, name: &str) {
    stage.database.execute(&format!("DO $$ BEGIN RAISE LOG 'mark {name}'; END $$")).await;
    let wanted = format!("mark {name}");
    tokio::task::block_in_place(|| server.wait_for_log_line(|line| line.ends_with(&wanted), SOON));
}

/// The lines of the log between two marks.
fn between<'a>(log: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let at = |name: &str| {
        let wanted = format!("LOG:  mark {name}");
        log.lines().position(|line| line.ends_with(&wanted)).unwrap()
    };
    log.lines().take(at(to)).skip(at(from)).collect()
}

/// A trigger that ran, or a growing table that was read from end to end.
fn is_wrong(line: &str) -> bool {
    let scanned = |table: &str| line.contains(&format!("Seq Scan on {table} "));
    line.trim_start().starts_with("Trigger ") || GROWING.iter().any(|table| scanned(table))
}

mod full {
    use super::*;

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

    #[tokio::test(flavor = "multi_thread")]
    async fn a_foreign_key_or_a_scan_would_be_seen_in_the_log() {
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

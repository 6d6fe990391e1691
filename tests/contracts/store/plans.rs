//! The plans that PostgreSQL makes for bookings on tables without statistics.
//!
//! The check of a foreign key can use a plan that was cached while its table was empty, which scans the table when
//! it has grown. So does a query without an index, and a query with the wrong index reads as many rows as a scan.
//! The tests therefore count the rows that each statement of a batch touched.

use std::collections::BTreeMap;
use std::time::Duration;

use seatlock::domain::command::{Action, Command};
use seatlock::domain::ids::ScheduleId;
use seatlock::domain::rules::ScheduleRules;
use seatlock::store::AuditScope;
use test_support::Postgres;

use super::commands::{
    block, blocked, book, booked, cancel, command, confirm, held, hold, is_done, keyed,
};
use super::stage::{CommandResult, Stage, default_rules};

const SOON: Duration = Duration::from_secs(30);

/// Batches, and bookings in each.
const BATCHES: u32 = 50;
const BATCH: u32 = 60;

/// Tables that grow with every booking.
const GROWING: [&str; 8] =
    ["seat", "booking", "booking_seat", "hold", "block", "idempotency", "batch", "journal"];

/// Customers who buy repeatedly under a limit; a batch has a command of each.
const CUSTOMERS: u32 = 20;

/// After five executions PostgreSQL makes the generic plan of a prepared statement, which it then keeps.
const ROUNDS: u32 = 7;

/// Rows that each node of a statement's plan may touch for each command of its batch.
const ROWS_PER_COMMAND: f64 = 6.0;

/// Rows that are added to each table that grows: a thousand for each command of a batch.
const GROWTH: u32 = 1_000 * CUSTOMERS;

/// Logs the plan of every statement, those of triggers and functions too, and the time of triggers.
const EXPLAIN: [(&str, &str); 6] = [
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_triggers", "on"),
    ("auto_explain.log_nested_statements", "on"),
    // Never analyzed: the planner has no statistics on the size of the tables.
    ("autovacuum", "off"),
    ("log_line_prefix", ""),
];

/// Writes a mark into the server's log and waits until the log has everything before it.
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

/// A statement as it was executed.
struct Executed {
    text: String,
    /// The nodes of its plan: rows that they returned, and rows that their filters removed.
    nodes: Vec<f64>,
}

impl Executed {
    fn rows(&self) -> f64 {
        self.nodes.iter().sum()
    }

    /// The rows of the node that touched the most.
    fn rows_of_one_node(&self) -> f64 {
        self.nodes.iter().copied().fold(0.0, f64::max)
    }
}

/// The number that follows `name` in a line.
fn number_after(line: &str, name: &str) -> Option<f64> {
    let (_, rest) = line.split_once(name)?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// The rows that a condition of a node removed, in each of its loops.
fn removed(line: &str) -> Option<f64> {
    let conditions = ["Filter", "Join Filter", "Index Recheck", "Conflict Filter"];
    conditions.iter().find_map(|name| number_after(line, &format!("Rows Removed by {name}: ")))
}

/// The statements whose plans are in these lines.
fn executed(lines: &[&str]) -> Vec<Executed> {
    let mut statements: Vec<Executed> = Vec::new();
    let mut loops = 0.0;
    for line in lines {
        if line.contains("LOG:  duration:") && line.ends_with("plan:") {
            statements.push(Executed { text: String::new(), nodes: Vec::new() });
        }
        let Some(statement) = statements.last_mut() else { continue };
        if let Some((_, actual)) = line.split_once("(actual ") {
            loops = number_after(actual, "loops=").unwrap();
            statement.nodes.push(number_after(actual, "rows=").unwrap() * loops);
        } else if let Some(removed) = removed(line) {
            *statement.nodes.last_mut().unwrap() += removed * loops;
        }
        statement.text.push_str(line);
        statement.text.push('\n');
    }
    statements
}

/// Runs these commands as one batch.
async fn batch(stage: &Stage, commands: impl Iterator<Item = Command>) -> Vec<CommandResult> {
    stage.run(commands.collect()).await
}

/// Runs a batch of every kind of command, under a limit per customer and mostly under keys. Afterwards all seats
/// are free again.
async fn round(stage: &Stage, schedule: ScheduleId, name: &str) {
    let customer = |n: u32| format!("customer {n}");
    let key = |kind: &str, n: u32| format!("{name} {kind} {n}");
    let all = || 0..CUSTOMERS;
    let bought = batch(
        stage,
        all().map(|n| keyed(book(schedule, &[4 * n, 4 * n + 1], &customer(n)), &key("book", n))),
    )
    .await;
    let bookings: Vec<_> = bought.iter().map(|result| booked(result).row.id).collect();
    let taken = batch(
        stage,
        all().map(|n| keyed(hold(schedule, &[4 * n + 2], &customer(n)), &key("hold", n))),
    )
    .await;
    let holds: Vec<_> = taken.iter().map(|result| held(result).row.id).collect();
    let put = batch(stage, all().map(|n| block(schedule, &[4 * n + 3]))).await;
    let blocks: Vec<_> = put.iter().map(|result| blocked(result).row.id).collect();

    let extend = |hold| command(schedule, Action::Extend { hold, ttl: None });
    assert!(batch(stage, holds.iter().map(|id| extend(*id))).await.iter().all(is_done));
    batch(stage, holds.iter().map(|id| command(schedule, Action::Expire { hold: *id }))).await;
    let (confirmed, released) = holds.split_at(holds.len() / 2);
    let sold = confirmed.iter().zip(0..).map(|(id, n)| keyed(confirm(*id), &key("confirm", n)));
    let sold = batch(stage, sold).await;
    let release = |hold| command(schedule, Action::Release { hold });
    assert!(batch(stage, released.iter().map(|id| release(*id))).await.iter().all(is_done));
    batch(stage, all().map(|n| keyed(command(schedule, Action::Lookup), &key("book", n)))).await;

    let part = bookings.iter().zip(0..).map(|(id, n)| cancel(*id, Some(&[4 * n])));
    assert!(batch(stage, part).await.iter().all(is_done));
    let whole = bookings.iter().copied().chain(sold.iter().map(|result| booked(result).row.id));
    assert!(batch(stage, whole.map(|id| cancel(id, None))).await.iter().all(is_done));
    let unblock = |block| command(schedule, Action::Unblock { block });
    assert!(batch(stage, blocks.iter().map(|id| unblock(*id))).await.iter().all(is_done));
}

/// Runs rounds, and checks that no statement touched more rows than its batch justifies.
async fn rows_stay_few(server: &Postgres, stage: &Stage, schedule: ScheduleId, name: &str) {
    mark(server, stage, &format!("{name} begins")).await;
    for n in 0..ROUNDS {
        round(stage, schedule, &format!("{name} {n}")).await;
    }
    mark(server, stage, &format!("{name} ends")).await;
    let log = server.log();
    let statements = executed(&between(&log, &format!("{name} begins"), &format!("{name} ends")));
    let counts = statements.iter().filter(|one| one.text.contains("sum(t.live_seats)")).count();
    assert!(counts >= 2 * ROUNDS as usize, "{name}: the limit was asked for {counts} times");
    let most = f64::from(CUSTOMERS) * ROWS_PER_COMMAND;
    let wrong = statements.iter().filter(|one| one.rows_of_one_node() > most);
    // Each statement once, by the beginning of its text.
    let query = |text: &str| -> String {
        text.split("Query Text: ").nth(1).unwrap().chars().take(60).collect()
    };
    let wrong: BTreeMap<String, &str> = wrong.map(|one| (query(&one.text), &*one.text)).collect();
    assert!(wrong.is_empty(), "{name}: {}", wrong.into_values().collect::<Vec<_>>().join("\n"));
}

/// Adds rows to the schedule and to every other table. The customers get thousands of bookings, live ones elsewhere
/// and cancelled ones here.
async fn grow(stage: &Stage, schedule: ScheduleId) {
    let elsewhere = schedule.0 + 1_000_000;
    let statements = [
        "INSERT INTO booking SELECT {s}, gen_random_uuid(), 'stranger ' || n, '[0]', 1, 0, NULL, 0, NULL",
        "INSERT INTO booking SELECT {s}, gen_random_uuid(), 'customer ' || n % {c}, '[0]', 0, 1, NULL, 0, 0",
        "INSERT INTO booking SELECT {e}, gen_random_uuid(), 'customer ' || n % {c}, '[0]', 1, 0, NULL, 0, NULL",
        "INSERT INTO hold SELECT {s}, gen_random_uuid(), 'stranger ' || n, '[0]', 1, 0, 0, 99999999999999, NULL",
        "INSERT INTO hold SELECT {s}, gen_random_uuid(), 'customer ' || n % {c}, '[0]', 1, 3, 0, 0, NULL",
        "INSERT INTO hold SELECT {e}, gen_random_uuid(), 'customer ' || n % {c}, '[0]', 1, 0, 0, 99999999999999, NULL",
        "INSERT INTO block SELECT {s}, gen_random_uuid(), '[0]', 'camera', true, 0",
        "INSERT INTO seat SELECT {e}, n, 'A-' || n, 0, 0, NULL, NULL, NULL, NULL",
        "INSERT INTO booking_seat SELECT {s}, n % (4 * {c}), gen_random_uuid(), 0",
        "INSERT INTO journal SELECT {s}, -n, gen_random_uuid(), 0, '[]'",
        "INSERT INTO batch SELECT gen_random_uuid(), 1, 0",
        "INSERT INTO idempotency SELECT 'shop', 'old ' || n, 'f', 200, '{}', 99999999999999",
        "INSERT INTO schedule_version SELECT {e} + n, 1",
    ];
    for statement in statements {
        let values = [("{s}", schedule.0), ("{e}", elsewhere), ("{c}", i64::from(CUSTOMERS))];
        let sql = values
            .iter()
            .fold(statement.to_owned(), |sql, (word, value)| sql.replace(word, &value.to_string()));
        stage
            .database
            .execute(&format!(
                "{sql} FROM generate_series(1, {GROWTH}) AS n ON CONFLICT DO NOTHING"
            ))
            .await;
    }
}

/// A schedule that limits its customers, and nothing else in the database.
async fn limited(stage: &Stage) -> ScheduleId {
    let rules = ScheduleRules { max_seats_per_customer: Some(10), ..default_rules() };
    stage.schedule_with(4 * CUSTOMERS, rules).await.id
}

mod full {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_under_a_limit_touches_rows_in_proportion_whatever_has_grown() {
        let server = Postgres::start(&EXPLAIN);
        let stage = Stage::on_postgres(&server).await;
        let schedule = limited(&stage).await;
        rows_stay_few(&server, &stage, schedule, "cold").await;
        grow(&stage, schedule).await;
        rows_stay_few(&server, &stage, schedule, "grown").await;
        stage.database.execute("ANALYZE").await;
        rows_stay_few(&server, &stage, schedule, "analyzed").await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_under_a_limit_touches_rows_in_proportion_on_statistics_that_mislead() {
        let server = Postgres::start(&EXPLAIN);
        let stage = Stage::on_postgres(&server).await;
        let schedule = limited(&stage).await;
        // Tables with few rows: all indexes look equally good.
        round(&stage, schedule, "first").await;
        stage.database.execute("ANALYZE").await;
        rows_stay_few(&server, &stage, schedule, "small").await;
        grow(&stage, schedule).await;
        rows_stay_few(&server, &stage, schedule, "small, then grown").await;
        // One booking and one hold in each of many schedules: the schedule alone seems to be selective.
        for sql in [
            "TRUNCATE booking, hold, booking_seat",
            "INSERT INTO booking SELECT 5000000 + n, gen_random_uuid(), 'reseller', '[0]', 1, 0, NULL, 0, NULL
             FROM generate_series(1, 60000) AS n",
            "INSERT INTO hold SELECT 5000000 + n, gen_random_uuid(), 'reseller', '[0]', 1, 0, 0, 99999999999999, NULL
             FROM generate_series(1, 60000) AS n",
            "ANALYZE",
        ] {
            stage.database.execute(sql).await;
        }
        rows_stay_few(&server, &stage, schedule, "one each").await;
        grow(&stage, schedule).await;
        rows_stay_few(&server, &stage, schedule, "one each, then grown").await;
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

//! The plans in the log of a server: what each statement touched.

use std::time::Duration;

use test_support::Postgres;

use super::super::stage::Stage;
use super::source::with_single_spaces;

const SOON: Duration = Duration::from_secs(30);

/// Tables that grow with every booking.
const GROWING: [&str; 8] =
    ["seat", "booking", "booking_seat", "hold", "block", "idempotency", "batch", "journal"];

/// Logs the plan of every statement, those of triggers and functions too, and the time of triggers.
pub(super) const EXPLAIN: [(&str, &str); 7] = [
    ("auto_explain.log_min_duration", "0"),
    ("auto_explain.log_analyze", "on"),
    ("auto_explain.log_buffers", "on"),
    ("auto_explain.log_triggers", "on"),
    ("auto_explain.log_nested_statements", "on"),
    // Never analyzed: the planner has no statistics on the size of the tables.
    ("autovacuum", "off"),
    ("log_line_prefix", ""),
];

/// Writes a mark into the server's log and waits until the log has everything before it.
pub(super) async fn mark(server: &Postgres, stage: &Stage, name: &str) {
    stage.database.execute(&format!("DO $$ BEGIN RAISE LOG 'mark {name}'; END $$")).await;
    let wanted = format!("mark {name}");
    tokio::task::block_in_place(|| server.wait_for_log_line(|line| line.ends_with(&wanted), SOON));
}

/// The lines of the log between two marks.
pub(super) fn between<'a>(log: &'a str, from: &str, to: &str) -> Vec<&'a str> {
    let at = |name: &str| {
        let wanted = format!("LOG:  mark {name}");
        log.lines().position(|line| line.ends_with(&wanted)).unwrap()
    };
    log.lines().take(at(to)).skip(at(from)).collect()
}

/// A trigger that ran, or a growing table that was read from end to end.
pub(super) fn is_wrong(line: &str) -> bool {
    let scanned = |table: &str| line.contains(&format!("Seq Scan on {table} "));
    line.trim_start().starts_with("Trigger ") || GROWING.iter().any(|table| scanned(table))
}

/// A node of a plan, in all its loops.
#[derive(Default)]
struct Node {
    /// Whether it reads a table or an index, and so has no other nodes below it.
    is_scan: bool,
    /// Rows that it returned, and rows that its conditions removed.
    rows: f64,
    loops: f64,
    /// Pages that it read.
    pages: f64,
}

impl Node {
    /// Whether it went through an index for rows that are few. A condition on a column that is not the first of the
    /// index is checked in the index, and the entries that do not meet it are not counted as rows.
    fn is_walk(&self) -> bool {
        self.is_scan && self.pages > 20.0 + 5.0 * (self.rows + self.loops)
    }
}

/// A statement as it was executed.
pub(super) struct Executed {
    pub(super) text: String,
    nodes: Vec<Node>,
}

impl Executed {
    pub(super) fn rows(&self) -> f64 {
        self.nodes.iter().map(|node| node.rows).sum()
    }

    /// The statement, with single spaces.
    pub(super) fn query(&self) -> String {
        let text = self.text.split_once("Query Text: ").map_or("", |(_, text)| text);
        // The plan follows, whose nodes have costs.
        let query = text.lines().take_while(|line| !line.contains("  (cost="));
        with_single_spaces(&query.collect::<Vec<_>>().join(" "))
    }

    /// The rows of the node that touched the most.
    pub(super) fn rows_of_one_node(&self) -> f64 {
        self.nodes.iter().map(|node| node.rows).fold(0.0, f64::max)
    }

    /// Whether a node went through an index for few rows.
    pub(super) fn walks_through_an_index(&self) -> bool {
        self.nodes.iter().any(Node::is_walk)
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

/// The pages that a line says were read.
fn pages(line: &str) -> Option<f64> {
    let (_, counts) = line.split_once("Buffers: shared")?;
    Some(["hit=", "read="].iter().filter_map(|name| number_after(counts, name)).sum())
}

/// The statements whose plans are in these lines.
pub(super) fn executed(lines: &[&str]) -> Vec<Executed> {
    let mut statements: Vec<Executed> = Vec::new();
    for line in lines {
        if line.contains("LOG:  duration:") && line.ends_with("plan:") {
            statements.push(Executed { text: String::new(), nodes: Vec::new() });
        }
        let Some(statement) = statements.last_mut() else { continue };
        if let Some((node, actual)) = line.split_once("(actual ") {
            let is_scan = node.contains("Scan") && node.contains(" on ");
            let is_scan =
                is_scan && ["Function", "CTE", "Subquery"].iter().all(|kind| !node.contains(kind));
            let loops = number_after(actual, "loops=").unwrap();
            let rows = number_after(actual, "rows=").unwrap() * loops;
            statement.nodes.push(Node { is_scan, rows, loops, pages: 0.0 });
        } else if let Some(node) = statement.nodes.last_mut() {
            node.rows += removed(line).unwrap_or(0.0) * node.loops;
            node.pages += pages(line).unwrap_or(0.0);
        }
        statement.text.push_str(line);
        statement.text.push('\n');
    }
    statements
}

#[test]
fn rows_that_were_removed_and_entries_that_were_passed_over_are_found() {
    let plan = |node: &str, more: &str| {
        let text = format!(
            "LOG:  duration: 1 ms  plan:
             \tQuery Text: SELECT 1
             \tLimit  (cost=1..2 rows=1 width=8) (actual time=1..2 rows=1 loops=1)
             \t  Buffers: shared hit=900
             \t  ->  {node}  (cost=1..2 rows=1 width=8) (actual time=1..2 rows=2 loops=3)
             {more}"
        );
        executed(&text.lines().map(str::trim_start).collect::<Vec<_>>()).remove(0)
    };
    let scan = "Index Scan using seat_pkey on seat";
    let removed = plan(scan, "Rows Removed by Filter: 40\nBuffers: shared hit=60 read=9");
    assert_eq!((removed.rows(), removed.rows_of_one_node()), (127.0, 126.0));
    assert!(!removed.walks_through_an_index());
    assert_eq!(removed.query(), "SELECT 1");
    assert!(
        plan(scan, "Index Cond: (number = 1)\nBuffers: shared hit=60 read=9")
            .walks_through_an_index()
    );
    assert!(!plan("CTE Scan on w0", "Buffers: shared hit=69").walks_through_an_index());
}

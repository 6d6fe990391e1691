//! The statements in the code of the store: each must have been executed while the plans were read.

use std::path::Path;
use std::{env, fs};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The files that send statements in the daily work of the service. The others do so on request or once: the audit,
/// whose work is in proportion to what it reads, and migrations and backups.
const SOURCES: [&str; 4] =
    ["src/store/batch", "src/store/queries", "src/store/connection", "src/store/mod.rs"];

/// The first words of a literal that is SQL, or a part of a statement.
const BEGINNINGS: [&str; 14] = [
    "SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "FROM", "JOIN", "LEFT", "WHERE", "AND",
    "ORDER", "FOR", "EXISTS", "UNION",
];

/// Literals that PostgreSQL does not execute, by a part of their text.
const NOT_EXECUTED: [(&str, &str); 10] = [
    ("AND schedule_id = $2", "Citus: the worker of a batch"),
    ("AND $1::uuid IS NOT NULL", "Citus: the context of a batch is on the coordinator"),
    ("AND t.schedule_id = r.schedule_id", "Citus: the worker of live claims"),
    ("WITH customer AS NOT MATERIALIZED", "Citus: the worker of live claims"),
    ("FROM json_each(", "only SQLite has this function"),
    ("SELECT 1 FROM lineage WHERE system_id <> ''", "SQLite: a copy that was restored"),
    ("pragma_table_info", "SQLite: a copy that was restored"),
    ("FROM sqlite_master", "SQLite: a copy that was restored"),
    ("UPDATE sqlite_sequence", "SQLite: a copy that was restored"),
    ("randomblob", "SQLite: a copy that was restored"),
];

/// Statements that sea-orm builds: the place in the code, and the beginning of the text that is sent.
const BUILT: [(&str, &str); 12] = [
    (
        "bookings.rs booking::Entity::find_by_id",
        r#"FROM "booking" WHERE "booking"."schedule_id" = $1 AND"#,
    ),
    ("events.rs event::ActiveModel", r#"INSERT INTO "event""#),
    ("events.rs event::Entity::find", r#"FROM "event" WHERE "event"."id" > $1 ORDER BY"#),
    ("events.rs event::Entity::find_by_id", r#"FROM "event" WHERE "event"."id" = $1"#),
    ("holds.rs hold::Entity::find_by_id", r#"FROM "hold" WHERE "hold"."schedule_id" = $1 AND"#),
    ("plans.rs seat_plan::ActiveModel", r#"INSERT INTO "seat_plan""#),
    ("plans.rs seat_plan::Entity::find", r#"FROM "seat_plan" WHERE "seat_plan"."id" = $1"#),
    ("schedules.rs event::Entity::find_by_id", r#"FROM "event" WHERE "event"."id" = $1"#),
    ("schedules.rs schedule::ActiveModel", r#"INSERT INTO "schedule""#),
    ("schedules.rs schedule::Entity::find_by_id", r#"FROM "schedule" WHERE "schedule"."id" = $1"#),
    ("schedules.rs schedule_version::ActiveModel", r#"INSERT INTO "schedule_version""#),
    ("schedules.rs schedule_version::Entity::insert", r#"INSERT INTO "schedule_version""#),
];

/// A literal that is SQL.
pub(super) struct Sql {
    /// The file and the line.
    place: String,
    /// Its text between the parts that the code fills in, with single spaces.
    pieces: Vec<String>,
}

impl Sql {
    /// Whether the text contains all pieces in their order.
    fn is_in(&self, text: &str) -> bool {
        let mut rest = text;
        self.pieces.iter().all(|piece| match rest.split_once(piece.as_str()) {
            Some((_, after)) => {
                rest = after;
                true
            }
            None => false,
        })
    }
}

/// The text with single spaces.
pub(super) fn with_single_spaces(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The literals of a source that are SQL, without those of its tests.
fn literals_of(file: &str, source: &str) -> Vec<Sql> {
    let mut found = Vec::new();
    literals(source.parse().unwrap(), &mut found);
    let is_sql = |text: &String| {
        let text = text.trim_start_matches(|c: char| c.is_whitespace() || c == '(' || c == ')');
        BEGINNINGS.contains(&text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap())
            && text.contains(' ')
    };
    let sql = |(line, text): (usize, String)| {
        let pieces =
            text.split('{').map(|part| part.split_once('}').map_or(part, |(_, text)| text));
        let pieces = pieces.map(with_single_spaces).filter(|piece| !piece.is_empty()).collect();
        Sql { place: format!("{file}:{line}"), pieces }
    };
    found.into_iter().filter(|(_, text)| is_sql(text)).map(sql).collect()
}

/// Collects the literals with their lines; those of attributes, and so of comments, are left out.
fn literals(stream: TokenStream, found: &mut Vec<(usize, String)>) {
    let (mut in_test, mut before) = (false, ' ');
    for tree in stream {
        let mut mark = ' ';
        match tree {
            TokenTree::Group(group) if before == '#' => {
                in_test |= group.stream().to_string() == "cfg (test)";
            }
            TokenTree::Group(group) => {
                if !in_test {
                    literals(group.stream(), found);
                }
                in_test &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Punct(punct) => {
                mark = punct.as_char();
                in_test &= mark != ';';
            }
            TokenTree::Literal(literal) if !in_test => {
                let text = literal.to_string();
                if let Some((_, text)) = text.split_once('"') {
                    let text = text.trim_end_matches('#').trim_end_matches('"');
                    found.push((literal.span().start().line, unescaped(text)));
                }
            }
            TokenTree::Literal(_) | TokenTree::Ident(_) => {}
        }
        before = mark;
    }
}

/// The text of a literal: a line that ends in `\` continues at the first character of the next one.
fn unescaped(text: &str) -> String {
    let mut lines = text.split("\\\n");
    let first = lines.next().unwrap().to_owned();
    let text = lines.fold(first, |text, line| text + line.trim_start());
    text.replace("\\\"", "\"")
}

/// The places of a source at which sea-orm builds a statement: `file table::Entity::function`, or
/// `file table::ActiveModel`.
fn built_by(file: &str, source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let place = |(at, kind): (usize, &str)| {
        let table = code[..at].rsplit(|c| !is_word(c)).next().unwrap();
        let function = code[at + kind.len()..].split(|c| !is_word(c)).next().unwrap();
        format!("{file} {table}{kind}{function}")
    };
    let kinds = ["::Entity::", "::ActiveModel"].iter();
    let mut found: Vec<String> =
        kinds.flat_map(|kind| code.match_indices(kind).map(place)).collect();
    found.sort();
    found
}

/// The Rust files in the sources: the name and the text of each.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = SOURCES.iter().map(|source| root.join(source)).collect();
    let mut files = Vec::new();
    while let Some(path) = paths.pop() {
        if path.file_name().is_some_and(|name| name == "citus.rs") {
            // Statements that only Citus executes.
            continue;
        }
        if path.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            files.push((name, fs::read_to_string(path).unwrap()));
        }
    }
    files.sort();
    files
}

/// The statements of these files that are in none of the texts.
fn missing(files: &[(String, String)], executed: &[String]) -> Vec<String> {
    let is_excepted = |sql: &Sql| {
        let text = sql.pieces.join(" ");
        NOT_EXECUTED.iter().any(|(part, _)| text.contains(part))
    };
    let literals = files.iter().flat_map(|(file, source)| literals_of(file, source));
    let literals = literals.filter(|sql| !is_excepted(sql));
    let literals = literals.filter(|sql| !executed.iter().any(|text| sql.is_in(text)));
    let mut missing: Vec<String> =
        literals.map(|sql| format!("{}: {}", sql.place, sql.pieces.join(" … "))).collect();
    let mut known: Vec<&str> = BUILT.iter().map(|(place, _)| *place).collect();
    for place in files.iter().flat_map(|(file, source)| built_by(file, source)) {
        match known.iter().position(|known| *known == place) {
            Some(at) => drop(known.swap_remove(at)),
            None => missing.push(format!("{place}: add it to the list of what sea-orm builds")),
        }
    }
    missing
}

/// Fails if a statement of the code is in none of these texts.
pub(super) fn assert_all_are_in(executed: &[String]) {
    let missing = missing(&files(), executed);
    assert!(missing.is_empty(), "not executed by the test:\n{}", missing.join("\n"));
    for (place, text) in BUILT {
        assert!(executed.iter().any(|executed| executed.contains(text)), "{place} sends {text}");
    }
}

#[test]
fn a_statement_that_no_test_executes_is_found() {
    let source = r##"
        //! Selects. "SELECT 0"
        fn a() { run(format!("SELECT {} FROM seat WHERE {what} \
            AND number = 1", now)); }
        fn b() { run("DELETE FROM seat
            WHERE id = $1"); run(r#"SELECT "a""#); log("Selects nothing"); seat::Entity::find_by_id(7); }
        #[cfg(test)] mod tests { fn c() { run("SELECT 7") } }
    "##;
    let files = [("a.rs".to_owned(), source.to_owned())];
    let missing = |executed: &[&str]| {
        let executed: Vec<String> = executed.iter().map(|text| (*text).to_owned()).collect();
        let found = missing(&files, &executed).into_iter();
        found.map(|text| text.split_once(": ").unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    let built = "a.rs seat::Entity::find_by_id";
    assert_eq!(missing(&[]), ["a.rs:3", "a.rs:5", "a.rs:6", built]);
    let select = "SELECT now() FROM seat WHERE true AND number = 1";
    assert_eq!(missing(&[select, "DELETE FROM seat WHERE id = $1"]), ["a.rs:6", built]);
    let in_another_order = "FROM seat WHERE true AND number = 1 SELECT";
    assert_eq!(missing(&[in_another_order, "SELECT \"a\""]), ["a.rs:3", "a.rs:5", built]);
}

#[test]
fn the_statements_of_the_store_are_found() {
    let files = files();
    let count = |of: &str| {
        let in_file = files.iter().filter(|(name, _)| name == of);
        in_file.map(|(name, source)| literals_of(name, source).len()).sum::<usize>()
    };
    for (file, least) in [("write.rs", 9), ("load.rs", 4), ("queue.rs", 8), ("journal.rs", 1)] {
        assert!(count(file) >= least, "{file}: {}", count(file));
    }
    for (part, reason) in NOT_EXECUTED {
        let is_there = files.iter().any(|(_, source)| source.contains(part));
        assert!(is_there, "nothing has {part} any more ({reason})");
    }
    let built: Vec<String> =
        files.iter().flat_map(|(file, source)| built_by(file, source)).collect();
    for (place, _) in BUILT {
        assert!(built.iter().any(|built| built == place), "sea-orm does not build {place}");
    }
}

//! Which module may name which: the layers of the crate and of the store, and no cycle between files.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::{SourceFile, enforce, paths, planted, project};

/// Which top-level module of `src` may name which others, tests included. Every module may name
/// itself. Data flows one way: a row names only modules whose rows are below it.
const IMPORTS: &[(&str, &[&str])] = &[
    ("main", &[EVERYTHING]),
    ("lib", &[EVERYTHING]),
    ("cli", &[EVERYTHING]),
    ("app", &[BELOW]),
    ("http", &["service", "actors", "seat_map", "formats", "domain", "telemetry"]),
    (
        "background",
        &["actors", "seat_map", "queue", "store", "domain", "telemetry", "breaker", "faults"],
    ),
    (
        "service",
        &[
            "actors",
            "seat_map",
            "lock",
            "queue",
            "store",
            "domain",
            "telemetry",
            "batcher",
            "faults",
        ],
    ),
    ("actors", &["seat_map", "lock", "store", "domain", "telemetry", "batcher", "faults"]),
    ("seat_map", &["redis", "store", "domain", "telemetry", "breaker", "batcher", "faults"]),
    ("lock", &["redis", "domain", "telemetry", "breaker", "backoff", "faults"]),
    ("queue", &["redis", "store", "domain", "telemetry", "breaker", "batcher"]),
    ("redis", &[]),
    ("store", &["domain", "telemetry", "faults"]),
    ("config", &["domain", "telemetry"]),
    ("telemetry", &["domain", "breaker"]),
    ("formats", &["domain"]),
    ("breaker", &["backoff"]),
    ("backoff", &[]),
    ("batcher", &[]),
    ("domain", &[]),
    ("faults", &[]),
];

/// The folders of `src/store`, each of which may name those behind it and no other.
const STORE_LAYERS: [&str; 5] = ["audit", "schema", "batch", "queries", "connection"];

/// Whatever there is: for the roots of the crates, whose own items look like modules.
const EVERYTHING: &str = "everything";

/// Every module whose row is below.
const BELOW: &str = "everything below";

/// What is never let through, however the table is changed: handlers see neither rows nor locks.
const NEVER: &[(&str, &str)] = &[("http", "store"), ("http", "lock")];

fn imports(file: &SourceFile) -> Vec<String> {
    let Some(module) = file.row() else { return Vec::new() };
    let Some(row) = IMPORTS.iter().position(|(name, _)| *name == module) else {
        return vec![
            file.at(1, &format!("give `{module}` a row in IMPORTS of tests/tidy/imports.rs")),
        ];
    };
    let mut found = Vec::new();
    for (line, path) in paths::paths(&file.tokens(), &file.module()) {
        let named = path.first().copied().unwrap_or("lib");
        if named != module && !may_name(row, named) {
            let remedy = format!(
                "`{module}` may not name `{named}`: move the code to a module that may, or pass in \
                 what it needs (IMPORTS in tests/tidy/imports.rs)"
            );
            found.push(file.at(line, &remedy));
        }
    }
    found
}

/// Paths inside `src/store` that lead from a lower folder to a higher one.
fn upward_in_store(file: &SourceFile) -> Vec<String> {
    let layer = |path: &[&str]| match path {
        ["store", folder, ..] => STORE_LAYERS.iter().position(|layer| layer == folder),
        _ => None,
    };
    let own = file.module();
    let Some(place) = layer(&own) else { return Vec::new() };
    let paths = paths::paths(&file.tokens(), &own).into_iter();
    paths
        .filter(|(_, path)| layer(path).is_some_and(|named| named < place))
        .map(|(line, path)| {
            let remedy = format!(
                "`{}` is above this folder: move the code (STORE_LAYERS in tests/tidy/imports.rs)",
                path.join("::")
            );
            file.at(line, &remedy)
        })
        .collect()
}

fn may_name(row: usize, named: &str) -> bool {
    let mut rows = IMPORTS.iter().skip(row);
    let listed = rows.next().map_or(&[] as &[&str], |(_, listed)| listed);
    listed.contains(&EVERYTHING)
        || listed.contains(&named)
        || (listed.contains(&BELOW) && rows.any(|(below, _)| *below == named))
}

/// Files that name one another, directly or through others; each cycle is found once.
///
/// A file may name what its own ancestors declare: that is how a module is divided into files.
fn cycles(files: &[SourceFile]) -> Vec<String> {
    let modules: BTreeMap<Vec<&str>, &str> = files
        .iter()
        .filter(|file| file.row().is_some())
        .map(|file| (file.module(), file.path.as_str()))
        .collect();
    let mut named: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.row().is_some()) {
        let own = file.module();
        for (_, path) in paths::paths(&file.tokens(), &own) {
            let lengths = (1..=path.len()).rev();
            let target =
                lengths.filter_map(|length| modules.get_key_value(path.get(..length)?)).next();
            if let Some((module, target)) = target
                && !own.starts_with(module)
            {
                named.entry(&file.path).or_default().insert(target);
            }
        }
    }
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        named.keys().map(|file| (*file, reach(&named, file))).collect();
    let both = |one: &str, other: &str| {
        let names = |from, to| reached.get(from).is_some_and(|seen| seen.contains(to));
        names(one, other) && names(other, one)
    };
    let cycles: BTreeSet<Vec<&str>> = reached
        .keys()
        .filter(|file| both(file, file))
        .map(|file| reached.keys().copied().filter(|other| both(file, other)).collect())
        .collect();
    cycles.into_iter().map(|cycle| format!("a cycle of imports: {}", cycle.join(", "))).collect()
}

/// Every file that can be reached from a file.
fn reach<'a>(named: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &str) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = named.get(from).into_iter().flatten().copied().collect();
    while let Some(next) = open.pop() {
        if seen.insert(next) {
            open.extend(named.get(next).into_iter().flatten());
        }
    }
    seen
}

#[test]
fn no_two_files_import_each_other() -> io::Result<()> {
    let found = cycles(&project()?);
    assert!(found.is_empty(), "{} cycles to open:\n{}", found.len(), found.join("\n"));
    Ok(())
}

#[test]
fn a_cycle_between_files_is_found_and_a_parent_is_none() {
    let file =
        |path: &str, source: &str| SourceFile { path: path.to_owned(), source: source.to_owned() };
    let files = |back: &str| {
        [
            file("src/a/mod.rs", "mod b; mod c; use b::X;"),
            file("src/a/b.rs", "use super::c::Y; use super::Z;"),
            file("src/a/c.rs", back),
            file("src/d.rs", "use crate::a::X;"),
        ]
    };
    assert_eq!(cycles(&files("use super::Z;")), [""; 0]);
    let found = cycles(&files("use crate::d::W; fn f() { super::b::g() }"));
    assert_eq!(found, ["a cycle of imports: src/a/b.rs, src/a/c.rs"]);
}

#[test]
fn modules_name_only_those_below_them() -> io::Result<()> {
    enforce(imports)
}

#[test]
fn a_module_that_names_another_one_against_the_flow_is_found() {
    let source =
        "use crate::domain::ids;\nuse crate::{store::Pool, lock};\nuse super::super::super::store;
        mod tests { use super::super::super::super::app; use crate::http; }\nuse crate::*;";
    let found = planted(imports, "src/http/handlers/holds.rs", source);
    assert_eq!(found, ["2", "2", "3", "4", "5"]);
    assert_eq!(planted(imports, "src/http/mod.rs", "use super::store;"), ["1"]);
    assert_eq!(planted(imports, "src/service/mod.rs", "fn f() { super::http::g() }"), ["1"]);
    assert_eq!(planted(imports, "src/domain/ids.rs", "use crate::telemetry;"), ["1"]);
    assert_eq!(planted(imports, "src/app.rs", "use crate::{http, store, cli};"), ["1"]);
    assert_eq!(planted(imports, "src/main.rs", "use crate::store;"), [""; 0]);
    assert_eq!(planted(imports, "tests/api/a.rs", "use crate::store;"), [""; 0]);
}

#[test]
fn folders_of_the_store_name_only_those_below_them() -> io::Result<()> {
    enforce(upward_in_store)
}

#[test]
fn a_path_that_leads_upward_in_the_store_is_found() {
    let source = "use crate::store::{batch::A, connection::B};\nuse super::super::schema;";
    let found = planted(upward_in_store, "src/store/queries/holds.rs", source);
    assert_eq!(found, ["1", "2"]);
    assert_eq!(planted(upward_in_store, "src/store/audit/mod.rs", source), [""; 0]);
    assert_eq!(planted(upward_in_store, "src/store/mod.rs", source), [""; 0]);
}

#[test]
fn a_module_without_a_row_is_found() {
    assert_eq!(planted(imports, "src/misc.rs", ""), ["1"]);
    assert_eq!(planted(imports, "src/misc/mod.rs", ""), ["1"]);
}

#[test]
fn the_table_points_downwards_and_keeps_handlers_from_rows_and_locks() {
    for (row, (module, listed)) in IMPORTS.iter().enumerate() {
        for named in listed.iter().filter(|named| ![EVERYTHING, BELOW].contains(named)) {
            let below = IMPORTS.iter().skip(row + 1).any(|(below, _)| below == named);
            assert!(below, "`{module}` names `{named}`, which has no row below it");
        }
    }
    for (module, named) in NEVER {
        let row = IMPORTS.iter().position(|(name, _)| name == module);
        let kept = row.is_some_and(|row| !may_name(row, named));
        assert!(kept, "`{module}` must never name `{named}`: take it out of the row");
    }
}

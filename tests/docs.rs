//! Compares the documentation with the code: tables, links, and names of files and tests.
//!
//! A failure prints the expected text, ready to be pasted.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use seatlock::config::{HOLD_TTL_MAX_DEFAULT, variables};
use seatlock::http::openapi;
use seatlock::http::problem::Code;
use serde_json::Value;

/// Routes that the OpenAPI document does not describe: the document itself and its page.
const UNDESCRIBED: [&str; 2] = ["GET /docs/", "GET /openapi.json"];

/// Methods as OpenAPI spells them; a path has other fields, too.
const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// The folder of what cargo builds, which has no documentation of the project.
const BUILT: &str = "target";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page(path: &str) -> io::Result<String> {
    fs::read_to_string(root().join(path))
}

/// Returns the text between `<!-- name -->` and `<!-- /name -->`, trimmed.
fn between<'a>(text: &'a str, name: &str) -> io::Result<&'a str> {
    let part = text.split_once(&format!("<!-- {name} -->"));
    let part = part.and_then(|(_, rest)| rest.split_once(&format!("<!-- /{name} -->")));
    let (part, _) =
        part.ok_or_else(|| io::Error::other(format!("the marks of {name} are missing")))?;
    Ok(part.trim())
}

/// Returns the rows of a Markdown table without its head, each as its cells.
fn rows(table: &str) -> Vec<Vec<&str>> {
    let lines = table.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

/// Returns the texts in single back quotes, without blocks of code.
fn code_spans(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Returns the lines that are not in a block of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

/// Adds every file below `folder` whose name ends in `.extension`, without hidden folders.
fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != BUILT {
                files(&path, extension, found)?;
            }
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    Ok(())
}

fn assert_same(page: &str, expected: &str, name: &str, remedy: &str) {
    assert!(page == expected.trim(), "{remedy} between the marks of {name}:\n\n{expected}");
}

#[test]
fn every_variable_is_listed_as_the_program_declares_it() -> io::Result<()> {
    let program = Command::new(env!("CARGO_BIN_EXE_seatlock"))
        .args(["config", "list", "--markdown"])
        .output()?;
    let printed = String::from_utf8_lossy(&program.stdout);
    assert_eq!(rows(&printed).len(), variables().len(), "a row for each variable:\n{printed}");
    let remedy = "put what `seatlock config list --markdown` prints into docs/configuration.md";
    assert_same(
        between(&page("docs/configuration.md")?, "variables")?,
        &printed,
        "variables",
        remedy,
    );
    Ok(())
}

#[test]
fn every_metric_is_listed_as_it_is_declared() -> io::Result<()> {
    let program = Command::new(env!("CARGO_BIN_EXE_seatlock")).arg("metrics").output()?;
    let printed = String::from_utf8_lossy(&program.stdout);
    assert!(rows(&printed).len() > 60, "a row for each metric:\n{printed}");
    let remedy = "put what `seatlock metrics` prints into docs/metrics.md";
    assert_same(between(&page("docs/metrics.md")?, "metrics")?, &printed, "metrics", remedy);
    Ok(())
}

#[test]
fn every_error_code_is_listed_with_its_status_and_remedy() -> io::Result<()> {
    let head =
        "| Code | Status | Title | What to do | A payment taken before |\n|---|---|---|---|---|\n";
    let expected = Code::ALL.iter().fold(head.to_owned(), |table, code| {
        let (name, status, payment) = (code.name(), code.status(), code.payment().instruction());
        let (title, remedy) = (code.title(), code.remedy());
        format!("{table}| `{name}` | {status} | {title} | {remedy} | {payment} |\n")
    });
    let remedy = "put this into docs/errors.md";
    assert_same(between(&page("docs/errors.md")?, "codes")?, &expected, "codes", remedy);
    Ok(())
}

#[test]
fn the_openapi_document_is_the_one_of_the_handlers() -> io::Result<()> {
    let is_current = page("docs/openapi.json")? == openapi::json(HOLD_TTL_MAX_DEFAULT);
    assert!(is_current, "renew it: cargo run -- openapi > docs/openapi.json");
    Ok(())
}

#[test]
fn every_route_of_the_openapi_document_is_listed_and_no_other() -> io::Result<()> {
    let api = page("docs/api.md")?;
    let cells = rows(between(&api, "routes")?);
    let listed: BTreeSet<String> =
        cells.iter().filter_map(|cells| Some(cells.first()?.replace('`', ""))).collect();
    let document: Value = serde_json::from_str(&openapi::json(HOLD_TTL_MAX_DEFAULT))?;
    let paths = document.get("paths").and_then(Value::as_object).into_iter().flatten();
    let described = paths.flat_map(|(path, item)| {
        let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
        methods.map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    let expected: BTreeSet<String> = described.chain(UNDESCRIBED.map(str::to_owned)).collect();
    let missing: Vec<_> = expected.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&expected).collect();
    assert!(missing.is_empty(), "add these rows to the routes of docs/api.md: {missing:#?}");
    assert!(stale.is_empty(), "take these rows out of the routes of docs/api.md: {stale:#?}");
    Ok(())
}

/// Returns the targets of inline links, `[text](target)`, outside of code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in prose(text) {
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
        for rest in plain.split("](").skip(1) {
            let target = rest.split([')', ' ']).next().unwrap_or_default();
            found.push(target.to_owned());
        }
    }
    found
}

#[test]
fn every_relative_link_points_at_a_file() -> io::Result<()> {
    let mut pages = Vec::new();
    files(&root(), "md", &mut pages)?;
    let mut broken = Vec::new();
    for path in &pages {
        for link in links(&fs::read_to_string(path)?) {
            let target = link.split('#').next().unwrap_or_default();
            let elsewhere = target.is_empty() || target.contains("://");
            let folder = path.parent().unwrap_or(path);
            if !elsewhere && !folder.join(target).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(pages.len() > 5, "the walk found {} pages", pages.len());
    assert!(broken.is_empty(), "correct these links:\n{}", broken.join("\n"));
    Ok(())
}

#[test]
fn links_are_found_in_prose_and_not_in_code() {
    let text = "a [b](c.md) and [d `e`](f.md#g), `[h](i)`\n```sh\n[j](k)\n```\n[l](m \"n\")";
    assert_eq!(links(text), ["c.md", "f.md#g", "m"]);
}

/// Pages that name files of the code.
const WALKS: [&str; 4] =
    ["ARCHITECTURE.md", "CONTRIBUTING.md", "docs/failure-modes.md", "docs/seat-map-consistency.md"];

#[test]
fn every_file_that_a_page_about_the_code_names_exists() -> io::Result<()> {
    let folders = [
        "src/",
        "entity/",
        "loadgen/",
        "migration/",
        "tests/",
        "docs/",
        "scripts/",
        "monitoring/",
        "k8s/",
        "packaging/",
    ];
    for walk in WALKS {
        let text = page(walk)?;
        let named: BTreeSet<&str> = code_spans(&text)
            .into_iter()
            .filter(|span| folders.iter().any(|folder| span.starts_with(folder)))
            .collect();
        let missing: Vec<_> = named.iter().filter(|path| !root().join(path).exists()).collect();
        assert!(named.len() > 5, "{walk} names only {named:?}");
        assert!(missing.is_empty(), "correct these names in {walk}: {missing:#?}");
    }
    Ok(())
}

#[test]
fn every_test_that_the_architecture_names_exists() -> io::Result<()> {
    let text = page("ARCHITECTURE.md")?;
    let mut sources = Vec::new();
    for folder in ["src", "tests"] {
        files(&root().join(folder), "rs", &mut sources)?;
    }
    let sources: String = sources.iter().map(fs::read_to_string).collect::<io::Result<_>>()?;
    let guarded = rows(between(&text, "invariants")?);
    let mut missing = Vec::new();
    for row in &guarded {
        let tests = row.last().map(|cell| code_spans(cell)).unwrap_or_default();
        assert!(!tests.is_empty(), "an invariant without a test: {row:?}");
        missing.extend(tests.into_iter().filter(|name| !sources.contains(&format!("fn {name}("))));
    }
    assert!(guarded.len() >= 8, "{} invariants", guarded.len());
    assert!(missing.is_empty(), "no such tests: correct ARCHITECTURE.md: {missing:#?}");
    Ok(())
}

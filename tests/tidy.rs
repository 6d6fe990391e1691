//! The house rules that no lint has, enforced on the project's own files. Each failure names the place and the remedy.

use std::path::{Path, PathBuf};
use std::{fs, io};

#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/tokens.rs"]
mod tokens;

use tokens::Token;

/// The folders with the project's Rust files.
const FOLDERS: [&str; 6] =
    ["src", "entity/src", "loadgen/src", "migration/src", "tests", "benches"];

/// One Rust file of the project.
pub(crate) struct SourceFile {
    /// From the project's root, with `/` between its parts.
    path: String,
    source: String,
}

impl SourceFile {
    fn at(&self, line: usize, remedy: &str) -> String {
        format!("{}:{line}: {remedy}", self.path)
    }

    fn tokens(&self) -> Vec<Token> {
        tokens::tokens(&self.source)
    }

    /// The file's module path in the service's crate. It is empty outside the crate and in its root.
    fn module(&self) -> Vec<&str> {
        let Some(path) = self.path.strip_prefix("src/") else { return Vec::new() };
        let mut parts: Vec<_> = path.trim_end_matches(".rs").split('/').collect();
        let is_root = parts == ["lib"] || parts == ["main"];
        if is_root || parts.last() == Some(&"mod") {
            parts.pop();
        }
        parts
    }

    /// The module of the import table that the file belongs to; `None` outside the service's crate.
    fn row(&self) -> Option<&str> {
        let path = self.path.strip_prefix("src/")?;
        path.split('/').next().map(|part| part.trim_end_matches(".rs"))
    }
}

fn project() -> io::Result<Vec<SourceFile>> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in FOLDERS {
        if root.join(folder).is_dir() {
            walk(&root, &root.join(folder), &mut files)?;
        }
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path)?;
            let parts = path.strip_prefix(root).unwrap_or(&path).iter();
            let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
            files.push(SourceFile { path: parts.join("/"), source });
        }
    }
    Ok(())
}

/// Applies a rule to every file. Fails with the list of all places that it finds.
fn enforce(rule: fn(&SourceFile) -> Vec<String>) -> io::Result<()> {
    let found: Vec<_> = project()?.iter().flat_map(rule).collect();
    assert!(found.is_empty(), "{} places to correct:\n{}", found.len(), found.join("\n"));
    Ok(())
}

/// Returns the line of each place that a rule finds in a made-up file.
fn planted(rule: fn(&SourceFile) -> Vec<String>, path: &str, source: &str) -> Vec<String> {
    let file = SourceFile { path: path.to_owned(), source: source.to_owned() };
    let line = |found: &String| found.split(':').nth(1).unwrap_or_default().to_owned();
    rule(&file).iter().map(line).collect()
}

#[test]
fn the_walk_reaches_the_sources_and_the_tests() -> io::Result<()> {
    let files = project()?;
    for expected in ["src/lib.rs", "src/domain/plan.rs", "entity/src/lib.rs", "tests/tidy.rs"] {
        assert!(files.iter().any(|file| file.path == expected), "{expected} was not found");
    }
    Ok(())
}

#[test]
fn every_file_begins_with_a_header() -> io::Result<()> {
    enforce(rules::header)
}

#[test]
fn a_file_without_a_header_is_found() {
    assert_eq!(planted(rules::header, "src/a.rs", "//! Owns a."), [""; 0]);
    for wrong in ["", "// a", "//!", "//! ", "\n//! Owns a.", "use a;\n//! Owns a."] {
        assert_eq!(planted(rules::header, "src/a.rs", wrong), ["1"], "{wrong:?}");
    }
}

#[test]
fn no_file_is_too_long() -> io::Result<()> {
    enforce(rules::file_length)
}

#[test]
fn a_file_with_one_line_too_many_is_found() {
    let lines = "\n".repeat(rules::FILE_LINES_MAX);
    assert_eq!(planted(rules::file_length, "src/a.rs", &lines), [""; 0]);
    assert_eq!(planted(rules::file_length, "src/a.rs", &(lines + "a")), ["351"]);
}

#[test]
fn migration_steps_that_remove_something_name_the_step_whose_program_no_longer_needs_it()
-> io::Result<()> {
    enforce(rules::contracting_steps)
}

#[test]
fn a_migration_step_that_removes_something_under_a_plain_name_is_found() {
    let down = "const DOWN: &[&str] = &[\n    \"DROP TABLE a\",\n];\n";
    let step = |up: &str| format!("{down}async fn down() {{\n    DROP A\n    }}\n\"{up}\"\n");
    let steps = |name: &str, up: &str| planted(rules::contracting_steps, name, &step(up));
    let (plain, needs) = ("migration/src/m20270101_000001_a.rs", "migration/src/m2_a_needs_1_1.rs");
    assert_eq!(steps(plain, "ALTER TABLE a ADD COLUMN b TEXT"), [""; 0]);
    for up in ["DROP TABLE a", "ALTER TABLE a RENAME b TO c", "ALTER COLUMN b SET NOT NULL"] {
        assert_eq!(steps(plain, up), ["7"], "{up}");
        assert_eq!(steps(needs, up), [""; 0], "{up}");
    }
}

#[test]
fn no_statement_grows_with_its_data() -> io::Result<()> {
    enforce(rules::growing_statements)
}

#[test]
fn a_statement_that_grows_with_its_data_is_found() {
    let source = "find().filter(A.is_in(b))\nA.is_not_in (b)\ninsert_many(c)\n";
    assert_eq!(planted(rules::growing_statements, "src/store/a.rs", source), ["1", "2", "3"]);
    assert_eq!(planted(rules::growing_statements, "tests/a.rs", source), [""; 0]);
    let fine = "// is_in(b)\nlet sql = \"is_in(b)\";\nfn is_in_time() {}\n";
    assert_eq!(planted(rules::growing_statements, "src/store/a.rs", fine), [""; 0]);
}

#[test]
fn nothing_is_left_unfinished() -> io::Result<()> {
    enforce(rules::unfinished)
}

#[test]
fn unfinished_work_is_found_in_code_and_comments() {
    let (todo, fixme, xxx) = (concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"));
    let source = format!("// {todo}: a\nf(); // {fixme}\n/* {xxx} */\n");
    assert_eq!(planted(rules::unfinished, "src/a.rs", &source), ["1", "2", "3"]);
    let fine = "// SQLSTATE 53XXX0";
    assert_eq!(planted(rules::unfinished, "src/a.rs", fine), [""; 0]);
}

#[test]
fn domain_is_pure() -> io::Result<()> {
    enforce(rules::purity)
}

#[test]
fn impure_code_is_found_in_domain_and_allowed_elsewhere() {
    let source = "use tokio::time;\nfn f() { log::info!(\"\"); }\nuse sea_orm;\nInstant::now();
        std::time::SystemTime::now(); Uuid::now_v7();\nfastrand::u8(..);\nuse serde_json::Value;
        #[cfg(test)] mod tests { use serde_json::Value;\n fn f() { tokio::spawn(()) } }";
    let lines = ["1", "2", "3", "4", "5", "5", "6", "7", "9"];
    assert_eq!(planted(rules::purity, "src/domain/a.rs", source), lines);
    assert_eq!(planted(rules::purity, "src/store/a.rs", source), [""; 0]);
    let fine = "let log = 1.0_f64.log(2.0); let rand = log; use super::log::x; \"tokio::\"";
    assert_eq!(planted(rules::purity, "src/domain/a.rs", fine), [""; 0]);
    for path in ["src/domain/a/tests.rs", "src/domain/a/tests/b.rs"] {
        assert_eq!(planted(rules::purity, path, "use serde_json::Value;"), [""; 0]);
    }
}

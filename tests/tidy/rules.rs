//! Rules about single files: header, length, and what they must not contain.

use crate::SourceFile;

/// The longest file, in lines.
pub(crate) const FILE_LINES_MAX: usize = 350;

/// Words for unfinished work, pieced together so that this file is clean itself.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];

/// Crates that do I/O or belong to the shell; `domain` computes.
const IMPURE_CRATES: [&str; 9] = [
    "tokio",
    "actix",
    "actix_web",
    "sea_orm",
    "deadpool_redis",
    "serde_json",
    "log",
    "fastrand",
    "rand",
];

/// The only one of them that the tests of `domain` may use, to check how a type is serialized.
const ALLOWED_IN_TESTS: &str = "serde_json";

/// Clocks and randomness: `domain` takes times and ids as parameters.
const IMPURE_CALLS: [[&str; 2]; 4] =
    [["SystemTime", "now"], ["Instant", "now"], ["Uuid", "now_v7"], ["Uuid", "new_v4"]];

/// SQL of a migration step that removes something which older programs may still use.
const CONTRACTING: [&str; 4] = ["DROP ", "RENAME ", "ALTER COLUMN ", "SET NOT NULL"];

/// Calls of the query builder that add one parameter to a statement for each value.
const GROWING: [&str; 5] =
    ["is_in", "is_not_in", "in_tuples", "in_list_of_subqueries", "insert_many"];

/// Finds statements whose number of parameters grows with their data: every database limits that number.
pub(crate) fn growing_statements(file: &SourceFile) -> Vec<String> {
    if !file.path.starts_with("src/") && !file.path.starts_with("migration/src/") {
        return Vec::new();
    }
    let tokens = file.tokens();
    let calls = tokens.windows(2).filter(|pair| match pair {
        [name, open] => {
            GROWING.contains(&name.text.as_str()) && (open.text == "(" || open.text == "::")
        }
        _ => false,
    });
    let remedy = "one parameter for each value: join with a `RowSet` (src/store/connection/dialect.rs), which is one \
                  array or document of any size";
    calls.filter_map(|pair| Some(file.at(pair.first()?.line, remedy))).collect()
}

/// Finds migration steps that remove something and do not name, in their file name, the step whose program no
/// longer needs it (`src/store/schema/compatibility.rs`).
pub(crate) fn contracting_steps(file: &SourceFile) -> Vec<String> {
    let Some(name) = file.path.strip_prefix("migration/src/m2") else { return Vec::new() };
    let mut undoing = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(file.source.lines()) {
        undoing |= line.contains("fn down") || line.starts_with("const DOWN");
        if !undoing && !name.contains("_needs_") && CONTRACTING.iter().any(|sql| line.contains(sql))
        {
            let remedy = "older programs may need it: end the step's name in `_needs_<date>_<number>`, of the \
                          oldest step whose program no longer uses it (docs/operations.md)";
            found.push(file.at(number, remedy));
        }
        undoing &= line != "    }" && !line.ends_with("];");
    }
    found
}

/// Finds files without a `//!` header.
pub(crate) fn header(file: &SourceFile) -> Vec<String> {
    let header = file.source.lines().next().and_then(|line| line.strip_prefix("//!"));
    match header {
        Some(text) if !text.trim().is_empty() => Vec::new(),
        _ => vec![file.at(1, "begin with `//!` and a sentence on what the file owns")],
    }
}

/// Finds files of more than [`FILE_LINES_MAX`] lines.
pub(crate) fn file_length(file: &SourceFile) -> Vec<String> {
    let lines = file.source.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let remedy = format!("{lines} lines: split the file into files of at most {FILE_LINES_MAX}");
    vec![file.at(lines, &remedy)]
}

/// Finds I/O, clocks and randomness in `domain`.
/// Marks of unfinished work, in comments too, where clippy does not find them.
pub(crate) fn unfinished(file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(file.source.lines()) {
        let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
        for word in words.filter(|word| MARKS.contains(word)) {
            found.push(file.at(line, &format!("finish what `{word}` marks, and remove the mark")));
        }
    }
    found
}

pub(crate) fn purity(file: &SourceFile) -> Vec<String> {
    if file.module().first() != Some(&"domain") {
        return Vec::new();
    }
    let tokens = file.tokens();
    let is_test_file = file.module().contains(&"tests");
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = if at == 0 { "" } else { text(at - 1) };
        let is_path_head = text(at + 1) == "::" && before != "::";
        let names_crate = is_path_head || before == "use" || before == "crate";
        let is_allowed = token.text == ALLOWED_IN_TESTS && (token.in_test || is_test_file);
        if names_crate && IMPURE_CRATES.contains(&token.text.as_str()) && !is_allowed {
            let remedy = format!("`domain` is pure: move what needs `{}` out of it", token.text);
            found.push(file.at(token.line, &remedy));
        }
        for [head, call] in IMPURE_CALLS {
            if token.text == head && text(at + 1) == "::" && text(at + 2) == call {
                let remedy =
                    format!("`domain` is pure: take the result of `{head}::{call}` as a parameter");
                found.push(file.at(token.line, &remedy));
            }
        }
    }
    found
}

//! The rules about single files: how each begins, how long it may be, what must not be in it.

use crate::SourceFile;
use crate::tokens::{Token, is_word};

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

/// The one of them that `domain`'s tests may use, to show what a type looks like outside.
const PURE_ENOUGH_FOR_TESTS: &str = "serde_json";

/// Clocks and randomness, which are parameters in `domain`.
const IMPURE_CALLS: [[&str; 2]; 4] =
    [["SystemTime", "now"], ["Instant", "now"], ["Uuid", "now_v7"], ["Uuid", "new_v4"]];

/// What takes something away from programs that are still at work, in a step of the schema.
const TAKING_AWAY: [&str; 4] = ["DROP ", "RENAME ", "ALTER COLUMN ", "SET NOT NULL"];

/// Calls of the query builder that put a parameter into a statement for each of their values.
const GROWING: [&str; 5] =
    ["is_in", "is_not_in", "in_tuples", "in_list_of_subqueries", "insert_many"];

/// A statement that has more parameters the more it is about meets a limit of its database.
pub(crate) fn growing_statements(file: &SourceFile) -> Vec<String> {
    if !file.path.starts_with("src/") && !file.path.starts_with("migration/src/") {
        return Vec::new();
    }
    let tokens = file.tokens();
    let calls = tokens.windows(2).filter(|pair| match pair {
        [name, open] => GROWING.contains(&name.text) && (open.text == "(" || open.text == ":"),
        _ => false,
    });
    let remedy = "a parameter for each value: join with a `RowSet` (src/store/connection/dialect.rs), which is one array \
                  or document whatever its size";
    calls.filter_map(|pair| Some(file.at(pair.first()?.line, remedy))).collect()
}

/// A step of the schema that takes something away says in its name which program does without
/// (`src/store/schema/compatibility.rs`).
pub(crate) fn contracting_steps(file: &SourceFile) -> Vec<String> {
    let Some(name) = file.path.strip_prefix("migration/src/m2") else { return Vec::new() };
    let mut undoing = false;
    let mut found = Vec::new();
    for (number, line) in (1..).zip(file.source.lines()) {
        undoing |= line.contains("fn down") || line.starts_with("const DOWN");
        if !undoing && !name.contains("_needs_") && TAKING_AWAY.iter().any(|sql| line.contains(sql))
        {
            let remedy = "older programs may need it: end the step's name in `_needs_<date>_<number>`, of the \
                          oldest step whose program does without (docs/operations.md)";
            found.push(file.at(number, remedy));
        }
        undoing &= line != "    }" && !line.ends_with("];");
    }
    found
}

pub(crate) fn opening(file: &SourceFile) -> Vec<String> {
    let says = file.source.lines().next().and_then(|line| line.strip_prefix("//!"));
    match says {
        Some(text) if !text.trim().is_empty() => Vec::new(),
        _ => vec![file.at(1, "open with `//!` and say what the file owns")],
    }
}

pub(crate) fn file_length(file: &SourceFile) -> Vec<String> {
    let lines = file.source.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let remedy = format!("{lines} lines: split the file into files of at most {FILE_LINES_MAX}");
    vec![file.at(lines, &remedy)]
}

/// The line of the brace that closes the function that begins here; `None` if it has no body.
fn body_end(tokens: &[Token<'_>]) -> Option<usize> {
    // Parentheses and brackets may hold braces and semicolons of their own: `[u8; { N }]`.
    let (mut nested, mut braces) = (0_usize, 0_usize);
    for token in tokens {
        match token.text {
            "(" | "[" => nested += 1,
            ")" | "]" => nested = nested.saturating_sub(1),
            ";" if nested == 0 && braces == 0 => return None,
            "{" if nested == 0 || braces > 0 => braces += 1,
            "}" if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(token.line);
                }
            }
            _ => {}
        }
    }
    None
}

pub(crate) fn unfinished(file: &SourceFile) -> Vec<String> {
    let mut found = Vec::new();
    for (line, text) in (1..).zip(file.source.lines()) {
        for word in text.split(|c| !is_word(c)).filter(|word| MARKS.contains(word)) {
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
    let in_tests = test_lines(file, &tokens);
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = if at == 0 { "" } else { text(at - 1) };
        let is_path_head = text(at + 1) == "::" && before != "::";
        let names_crate = is_path_head || before == "use" || before == "crate";
        let excused = token.text == PURE_ENOUGH_FOR_TESTS
            && in_tests.iter().any(|lines| lines.contains(&token.line));
        if names_crate && IMPURE_CRATES.contains(&token.text) && !excused {
            let remedy = format!("`domain` is pure: move what needs `{}` out of it", token.text);
            found.push(file.at(token.line, &remedy));
        }
        for [head, call] in IMPURE_CALLS {
            if token.text == head && text(at + 1) == "::" && text(at + 2) == call {
                let remedy =
                    format!("`domain` is pure: take what `{head}::{call}` gives as a parameter");
                found.push(file.at(token.line, &remedy));
            }
        }
    }
    found
}

/// The lines of test code: a file called `tests.rs`, and what stands behind `#[cfg(test)]`.
fn test_lines(file: &SourceFile, tokens: &[Token<'_>]) -> Vec<std::ops::RangeInclusive<usize>> {
    if file.module().last() == Some(&"tests") {
        return vec![1..=usize::MAX];
    }
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    for (at, part) in tokens.windows(attribute.len()).enumerate() {
        if part.iter().map(|token| token.text).eq(attribute) {
            let item = tokens.get(at + attribute.len()..).unwrap_or_default();
            let first = item.first().map_or(0, |token| token.line);
            found.extend(body_end(item).map(|last| first..=last));
        }
    }
    found
}

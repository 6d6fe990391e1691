//! One name, one type: a public type of the crate has a name that no other public type has.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::{SourceFile, project};

/// What declares a type.
const KINDS: [&str; 5] = ["struct", "enum", "union", "trait", "type"];

/// Returns where each public type of the service's crate is declared, by name. Test code is left out.
fn declarations(files: &[SourceFile]) -> BTreeMap<String, Vec<String>> {
    let mut tests = BTreeSet::new();
    let mut found: BTreeMap<String, Vec<(Vec<&str>, String)>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.row().is_some()) {
        let (own, tokens) = (file.module(), file.tokens());
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
        for (at, token) in tokens.iter().enumerate() {
            if token.in_test && token.text == "mod" && text(at + 2) == ";" {
                tests.insert([own.join("::"), text(at + 1).to_owned()].join("::"));
            }
            if token.text != "pub" || token.in_test {
                continue;
            }
            // Behind `pub`, or behind `pub(…)`.
            let end = tokens.iter().skip(at).position(|token| token.text == ")").unwrap_or(0);
            let kind = at + 1 + if text(at + 1) == "(" { end } else { 0 };
            if KINDS.contains(&text(kind)) {
                let name = text(kind + 1).to_owned();
                let place = format!("{}:{}", file.path, token.line);
                found.entry(name).or_default().push((own.clone(), place));
            }
        }
    }
    let is_test = |module: &[&str]| {
        (1..=module.len()).any(|n| tests.contains(&module.get(..n).unwrap_or_default().join("::")))
    };
    let outside = found.into_iter().map(|(name, places)| {
        let places = places.into_iter().filter(|(module, _)| !is_test(module));
        (name, places.map(|(_, place)| place).collect())
    });
    outside.collect()
}

#[test]
fn a_public_type_has_a_name_of_its_own() -> io::Result<()> {
    let declared = declarations(&project()?);
    assert!(declared.len() > 200, "only {} public types were found", declared.len());
    let found: Vec<_> = declared
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("`{name}`: {}", places.join(", ")))
        .collect();
    let remedy = "give each of these types a name of its own, which says what it is";
    assert!(found.is_empty(), "{remedy}:\n{}", found.join("\n"));
    Ok(())
}

#[test]
fn types_of_one_name_are_found_outside_of_tests() {
    let file =
        |path: &str, source: &str| SourceFile { path: path.to_owned(), source: source.to_owned() };
    let files = [
        file("src/a.rs", "pub struct A;\n#[cfg(test)] mod tests;\npub(in crate::a) enum B {}"),
        file("src/b.rs", "mod c { pub(crate) trait A {} }\nstruct B; fn f(b: (B, B)) {}"),
        file("src/a/tests.rs", "pub struct A;"),
        file("src/d.rs", "#[cfg(test)] mod e { pub type A = (); } pub fn g() {}"),
        file("tests/f.rs", "pub struct A;"),
    ];
    let declared = declarations(&files);
    assert_eq!(declared["A"], ["src/a.rs:1", "src/b.rs:1"]);
    assert_eq!(declared["B"], ["src/a.rs:3"]);
    assert_eq!(declared.len(), 2);
}

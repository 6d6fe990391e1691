//! The module paths in a file: `crate::…` and `super::…`, in `use` trees and elsewhere.

use crate::tokens::Token;

/// A module path from the crate's root.
type Path<'a> = Vec<&'a str>;

/// Returns every path through `crate`, `super` or `self`, from the crate's root, with the line in which it
/// begins. `file` is the module of the tokens; modules inside the file are followed.
pub(crate) fn paths<'a>(tokens: &'a [Token], file: &[&'a str]) -> Vec<(usize, Path<'a>)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let mut found = Vec::new();
    let mut here = file.to_vec();
    // The depths at which the modules inside this file were opened.
    let mut opened = Vec::new();
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "mod" if text(at + 2) == "{" => {
                here.push(text(at + 1));
                opened.push(depth);
                at += 1;
            }
            "{" => depth += 1,
            "}" => {
                depth = depth.saturating_sub(1);
                if opened.last() == Some(&depth) {
                    opened.pop();
                    here.pop();
                }
            }
            // The paths behind `$crate` belong to the files that use the macro.
            "crate" if at > 0 && text(at - 1) == "$" => {}
            "crate" | "super" | "self" if text(at + 1) == "::" => {
                let mut ends = Vec::new();
                at = tree(tokens, at, here.clone(), &mut ends);
                found.extend(ends.into_iter().map(|path| (token.line, path)));
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// Follows one path or `use` tree from `at`, starting in the module `path`. Adds the end of each branch to `ends`
/// and returns the index behind the tree.
fn tree<'a>(
    tokens: &'a [Token],
    mut at: usize,
    mut path: Path<'a>,
    ends: &mut Vec<Path<'a>>,
) -> usize {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    loop {
        match text(at) {
            "crate" => path.clear(),
            "super" => drop(path.pop()),
            "{" => return group(tokens, at + 1, &path, ends),
            "self" | "*" | "<" | "" => {}
            name => path.push(name),
        }
        at += 1;
        if text(at) != "::" {
            ends.push(path);
            return at;
        }
        at += 1;
    }
}

/// Follows the branches between braces; `at` is behind the opening brace.
fn group<'a>(
    tokens: &'a [Token],
    mut at: usize,
    path: &Path<'a>,
    ends: &mut Vec<Path<'a>>,
) -> usize {
    loop {
        match tokens.get(at).map(|token| token.text.as_str()) {
            None => return at,
            Some("}") => return at + 1,
            Some(",") => at += 1,
            // The new name of `x as y`.
            Some("as") => at += 2,
            Some(_) => at = tree(tokens, at, path.clone(), ends),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::tokens;

    fn of(source: &str) -> Vec<String> {
        let tokens = tokens(source);
        let found = paths(&tokens, &["http", "handlers"]);
        found.into_iter().map(|(line, path)| format!("{line} {}", path.join("::"))).collect()
    }

    #[test]
    fn every_branch_of_a_use_tree_is_followed() {
        let source =
            "use crate::{\n  a::{self, b as c}, d::*, e,\n}; fn f() { crate::g::h::<I>() }";
        let expected = ["1 a", "1 a::b", "1 d", "1 e", "3 g::h"];
        assert_eq!(of(source), expected);
    }

    #[test]
    fn super_leads_to_the_parent_of_the_module_that_names_it() {
        let source =
            "use super::a; use super::super::b; use self::super::c; use super::{super::d, e};
            mod m { use super::f; mod n { use super::super::super::g; } use super::super::h; }
            use super::i; pub(super) fn j() {} pub(crate) fn k() {} use std::l;";
        let expected = [
            "1 http::a",
            "1 b",
            "1 http::c",
            "1 d",
            "1 http::e",
            "2 http::handlers::f",
            "2 http::g",
            "2 http::h",
            "3 http::i",
        ];
        assert_eq!(of(source), expected);
    }
}

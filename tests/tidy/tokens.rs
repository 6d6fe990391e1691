//! Rust source as a flat list of tokens with their lines: enough to read paths and declarations.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// A word or a punctuation mark of the source; comments, literals and lifetimes are left out.
pub(crate) struct Token {
    /// As written. `::` is one token, every other mark is one of its own.
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// Whether the token belongs to an item behind `#[cfg(test)]`.
    pub(crate) in_test: bool,
}

/// Splits a source into tokens. Panics if it is not valid Rust, so that no file passes unread.
#[expect(clippy::panic, reason = "a file that is not read would pass every rule")]
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let stream = source.parse().unwrap_or_else(|error| panic!("not Rust: {error}"));
    flatten(stream, false, &mut found);
    found
}

fn flatten(stream: TokenStream, in_test: bool, found: &mut Vec<Token>) {
    // Whether the current item is behind `#[cfg(test)]`, and the mark directly before this tree.
    let (mut test_item, mut before) = (false, ' ');
    for tree in stream {
        let in_test = in_test || test_item;
        let token = |text: &str, line| Token { text: text.to_owned(), line, in_test };
        let line = tree.span().start().line;
        let mut mark = ' ';
        match tree {
            TokenTree::Ident(word) if before != '\'' => found.push(token(&word.to_string(), line)),
            TokenTree::Punct(punct) => {
                mark = punct.as_char();
                test_item &= mark != ';';
                match (before, mark) {
                    (_, '\'') => {}
                    (':', ':') => {
                        found.pop();
                        found.push(token("::", line));
                        mark = ' ';
                    }
                    _ => found.push(token(&mark.to_string(), line)),
                }
            }
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::None => ("", ""),
                };
                found.push(token(open, line));
                flatten(group.stream(), in_test, found);
                found.push(token(close, group.span_close().start().line));
                match open {
                    "[" => test_item |= group.stream().to_string() == "cfg (test)",
                    "{" => test_item = false,
                    _ => {}
                }
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {}
        }
        before = mark;
    }
}

#[test]
fn comments_literals_and_lifetimes_are_no_tokens() {
    let source = r##"
        a /* { /* { */ { */ b // {
        "{ \" {" r#"{ " {"# br"{" b'{' '{' '\'' '\\' '"' '\u{7b}' c::d<'e> r#fn: { é }
    "##;
    let texts: Vec<_> = tokens(source).into_iter().map(|token| token.text).collect();
    assert_eq!(texts, ["a", "b", "c", "::", "d", "<", ">", "r#fn", ":", "{", "é", "}"]);
}

#[test]
fn a_token_has_its_line_even_after_literals_of_several_lines() {
    let lines: Vec<_> = tokens("a\n\"\n\n\" b /*\n*/ c").iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 4, 5]);
}

#[test]
fn the_tokens_of_a_test_item_are_marked_until_its_end() {
    let source = "#[cfg(test)] #[x] mod a; mod b; #[cfg(test)] fn c(d: [u8; 1]) { e; f } fn g() {}";
    let found = tokens(source);
    let marked: String = found.iter().filter(|t| t.in_test).map(|t| t.text.as_str()).collect();
    assert_eq!(marked, "#[x]moda;fnc(d:[u8;]){e;f}");
}

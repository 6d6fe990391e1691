//! Rust source as tokens with their lines: just enough to count braces and to read paths.

/// A word or a punctuation mark of the source; comments, texts, characters and lifetimes are left
/// out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    /// As written; `::` is one token, every other mark is one of its own.
    pub(crate) text: &'a str,
    /// Counted from 1.
    pub(crate) line: usize,
}

/// Splits a source. What is no valid Rust gives some tokens or other, never a panic.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut rest, mut line) = (source, 1);
    while let Some(first) = rest.chars().next() {
        let (counts, length) = piece(rest, first);
        let (text, after) = rest.split_at(length.min(rest.len()));
        if counts {
            found.push(Token { text, line });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    found
}

/// Whether what comes next is a token, and how many bytes it has.
fn piece(rest: &str, first: char) -> (bool, usize) {
    if rest.starts_with("//") {
        return (false, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (false, block_comment(rest));
    }
    if let Some(length) = raw_string(rest) {
        return (false, length);
    }
    match first {
        '"' => (false, quoted(rest, '"')),
        '\'' => (false, character_or_lifetime(rest)),
        ':' if rest.starts_with("::") => (true, 2),
        _ if is_word(first) => (true, rest.find(|c| !is_word(c)).unwrap_or(rest.len())),
        _ => (!first.is_whitespace(), first.len_utf8()),
    }
}

/// Letters, digits and underscores: names, keywords and numbers alike.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(tail) = rest.get(at..).filter(|tail| !tail.is_empty()) {
        if tail.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if tail.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                break;
            }
        } else {
            at += tail.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// `r"…"`, `r#"…"#`, and the same after `b` or `c`.
fn raw_string(rest: &str) -> Option<usize> {
    let body = rest.strip_prefix(['b', 'c']).unwrap_or(rest).strip_prefix('r')?;
    let text = body.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(body.len() - text.len()));
    let inside = text.strip_prefix('"')?;
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(rest.len() - inside.len() + length)
}

/// The length of a text or character with its quotation marks, `\` escaping what follows.
fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == mark {
            return at + c.len_utf8();
        } else {
            escaped = c == '\\';
        }
    }
    rest.len()
}

/// `'a'` and `'\n'` are characters, `'a` is a lifetime, whose name is left out with its mark.
fn character_or_lifetime(rest: &str) -> usize {
    let mut after = rest.chars().skip(1);
    match (after.next(), after.next()) {
        (Some('\\'), _) | (_, Some('\'')) => quoted(rest, '\''),
        _ => 1 + rest.split_at(1).1.find(|c| !is_word(c)).unwrap_or(rest.len() - 1),
    }
}

#[test]
fn comments_texts_characters_and_lifetimes_are_no_tokens() {
    let source = r##"
        a /* { /* { */ { */ b // {
        "{ \" {" r#"{ " {"# br"{" b'{' '{' '\'' '\\' '"' '\u{7b}' c::d<'e> r#fn 'f: { é1 }
    "##;
    let texts: Vec<_> = tokens(source).iter().map(|token| token.text).collect();
    let expected = ["a", "b", "b", "c", "::", "d", "<", ">", "r", "#", "fn", ":", "{", "é1", "}"];
    assert_eq!(texts, expected);
}

#[test]
fn a_token_knows_its_line_even_after_texts_of_several_lines() {
    let lines: Vec<_> = tokens("a\n\"\n\n\" b /*\n*/ c").iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 4, 5]);
}

#[test]
fn broken_source_ends_the_scan_without_a_panic() {
    for broken in ["\"", "'", "/*", "r#\"", "r#", "'\\", "\"\\", "b'", "/*/", "'é"] {
        assert!(tokens(broken).len() <= 2, "{broken}");
    }
}

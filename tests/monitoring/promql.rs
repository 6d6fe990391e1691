//! A partial reader of PromQL that finds the series in an expression.

/// A name with its matchers as written, such as `up{job="seatlock"}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Selector {
    pub(crate) name: String,
    /// Each matcher by label and text: `("job", "job=\"seatlock\"")`.
    pub(crate) matchers: Vec<(String, String)>,
}

impl Selector {
    /// The selector without its matchers of these labels.
    pub(crate) fn without(&self, labels: &[&str]) -> String {
        let kept = self.matchers.iter().filter(|(label, _)| !labels.contains(&label.as_str()));
        let kept: Vec<&str> = kept.map(|(_, text)| text.as_str()).collect();
        format!("{}{{{}}}", self.name, kept.join(","))
    }
}

/// Every selector of the service's series: names that begin with `seatlock_` or `process_`, and recorded series,
/// which contain a colon.
pub(crate) fn selectors(expression: &str) -> Vec<Selector> {
    let is_ours = |name: &str| {
        name.starts_with("seatlock_") || name.starts_with("process_") || name.contains(':')
    };
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphabetic() || letter == '"')
    {
        rest = &rest[start..];
        if rest.starts_with('"') {
            rest = &rest[quoted(rest)..];
            continue;
        }
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_' && letter != ':');
        let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after;
        if is_ours(name) {
            let matchers = rest.strip_prefix('{').map(matchers).unwrap_or_default();
            found.push(Selector { name: name.to_owned(), matchers });
        }
    }
    found
}

/// The length of the text in double quotes that `text` begins with.
fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return at + 1,
            _ => escaped = letter == '\\' && !escaped,
        }
    }
    text.len()
}

/// The matchers up to the closing brace.
fn matchers(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        let Some(value) = text.find('"').filter(|_| !text.starts_with('}')) else { return found };
        let label = text.split(['=', '!']).next().unwrap_or_default().trim();
        let end = value + quoted(&text[value..]);
        found.push((label.to_owned(), text[..end].to_owned()));
        text = &text[end..];
    }
}

#[test]
fn names_and_matchers_are_found_and_strings_are_ignored() {
    let text = "sum by (job) (rate(seatlock_a_total{b=~\"x|seatlock_no\", route=\"/s/{id}\"}[5m])) > \
                100 * job:seatlock_c:rate5m and up{job=\"d\"} == process_e";
    let found: Vec<String> = selectors(text).iter().map(|found| found.without(&["b"])).collect();
    assert_eq!(
        found,
        ["seatlock_a_total{route=\"/s/{id}\"}", "job:seatlock_c:rate5m{}", "process_e{}"]
    );
}

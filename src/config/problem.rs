//! Problems of a configuration, each with a description and an example of what is valid.

use thiserror::Error;

/// The most characters of a value that a problem shows.
const SHOWN_CHARACTERS: usize = 80;

/// One problem. Its text is one line and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{variable}{}: expected {expected}; for example {example}", assigned(value.as_deref()))]
pub struct ConfigProblem {
    /// The name of the variable; `.env` for a problem with that file, and then `value` is its path.
    pub variable: String,
    /// Its value, or its default if it is not set, without credentials; `[redacted]` for a secret.
    pub value: Option<String>,
    /// A description of valid values, which begins with a lowercase word.
    pub expected: String,
    /// Valid assignments, like `BIND=127.0.0.1:8080`.
    pub example: String,
}

/// `="value"`, shortened and with escaped control characters, or ` is not set`.
fn assigned(value: Option<&str>) -> String {
    match value {
        None => " is not set".to_owned(),
        Some(value) if value.chars().count() > SHOWN_CHARACTERS => {
            let start: String = value.chars().take(SHOWN_CHARACTERS).collect();
            format!("={start:?}…")
        }
        Some(value) => format!("={value:?}"),
    }
}

/// All problems: a heading, then a line for each.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the configuration has {}:\n{}", counted(.0.len()), lines(.0))]
pub struct ConfigProblems(pub Vec<ConfigProblem>);

fn counted(problems: usize) -> String {
    if problems == 1 { "a problem".to_owned() } else { format!("{problems} problems") }
}

fn lines(problems: &[ConfigProblem]) -> String {
    problems.iter().map(|problem| format!("  {problem}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(value: Option<&str>) -> ConfigProblem {
        ConfigProblem {
            variable: "HOLD_TTL".to_owned(),
            value: value.map(str::to_owned),
            expected: "a duration".to_owned(),
            example: "HOLD_TTL=600s".to_owned(),
        }
    }

    #[test]
    fn a_problem_is_one_line_that_says_what_to_write() {
        assert_eq!(
            problem(Some("soon\nish")).to_string(),
            r#"HOLD_TTL="soon\nish": expected a duration; for example HOLD_TTL=600s"#
        );
        assert_eq!(
            problem(None).to_string(),
            "HOLD_TTL is not set: expected a duration; for example HOLD_TTL=600s"
        );
    }

    #[test]
    fn a_long_value_is_cut() {
        let text = problem(Some(&"ö".repeat(500))).to_string();
        assert!(text.contains("ö\"…: expected"), "{text}");
        assert!(text.chars().count() < 200);
    }

    #[test]
    fn all_problems_are_printed() {
        let both = ConfigProblems(vec![problem(None), problem(Some("x"))]).to_string();
        assert!(both.starts_with("the configuration has 2 problems:\n"));
        assert_eq!(both.lines().count(), 3);
    }
}

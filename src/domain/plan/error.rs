//! What is wrong with a plan: one type for all formats, and the bounded list it is collected in.

/// The most problems that are reported at once; if there are more, the last entry says how many.
pub const PROBLEMS_MAX: usize = 20;

/// How much of a foreign text a message repeats, in characters.
const QUOTED_MAX: usize = super::LABEL_MAX;

/// One problem of a plan, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", before_message(.pointer))]
pub struct PlanError {
    /// Where: a JSON pointer (RFC 6901) into the document that was read, or a place in a CSV document
    /// such as `line 7, column 3`; empty for the whole of it.
    pub pointer: String,
    /// What, in stable snake_case, for programs.
    pub code: &'static str,
    /// What and how to mend it, for people.
    pub message: String,
}

impl PlanError {
    /// The same problem of a plan that is a field of a larger document: `parent` is the pointer to
    /// that field, such as `/seat_plan`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.pointer.insert_str(0, parent);
        self
    }
}

fn before_message(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!("{pointer}: ") }
}

/// Problems as they are found: the first ones are kept, all are counted.
#[derive(Debug, Default)]
pub(in crate::domain) struct Problems {
    listed: Vec<PlanError>,
    unlisted: usize,
}

impl Problems {
    /// Notes a problem.
    pub(in crate::domain) fn add(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        if self.listed.len() < PROBLEMS_MAX {
            let (pointer, message) = (pointer.into(), message.into());
            self.listed.push(PlanError { pointer, code, message });
        } else {
            self.unlisted += 1;
        }
    }

    /// Whether nothing was noted.
    pub(in crate::domain) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// `Ok` if nothing was noted, else the list, never longer than [`PROBLEMS_MAX`].
    pub(in crate::domain) fn none_or_all(mut self) -> Result<(), Vec<PlanError>> {
        if self.listed.is_empty() {
            return Ok(());
        }
        if self.unlisted > 0 {
            self.listed.truncate(PROBLEMS_MAX - 1);
            let further = self.unlisted + 1;
            self.listed.push(PlanError {
                pointer: String::new(),
                code: "more_problems",
                message: format!("{further} further problems: correct the listed ones, then retry"),
            });
        }
        Err(self.listed)
    }
}

/// The first ten of some things, and how many more there are. Each is cut to a length that is fit
/// to print; what is shown beside it, such as a count, follows in brackets.
pub(in crate::domain) fn first_ten<'a>(
    things: impl IntoIterator<Item = (&'a str, Option<String>)>,
) -> String {
    const SHOWN: usize = 10;
    let mut things = things.into_iter();
    let shown: Vec<_> = things
        .by_ref()
        .take(SHOWN)
        .map(|(text, beside)| {
            let beside = beside.map(|beside| format!(" ({beside})")).unwrap_or_default();
            format!("{}{beside}", quoted(text))
        })
        .collect();
    let further = match things.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    shown.join(", ") + &further
}

/// A foreign text between backticks, without control characters and not longer than it may be.
fn quoted(text: &str) -> String {
    let shown: String = text.chars().filter(|c| !c.is_control()).take(QUOTED_MAX).collect();
    let cut = if text.chars().count() > QUOTED_MAX { "…" } else { "" };
    format!("`{shown}{cut}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(count: usize) -> Vec<PlanError> {
        let mut problems = Problems::default();
        (0..count).for_each(|n| problems.add(format!("/sections/{n}"), "x", "mend it"));
        problems.none_or_all().err().unwrap_or_default()
    }

    #[test]
    fn twenty_problems_are_listed_and_the_rest_is_counted() {
        assert_eq!(found(0), []);
        assert_eq!(found(20).len(), 20);
        assert!(found(20).iter().all(|problem| problem.code == "x"));
        let many = found(1_000);
        assert_eq!(many.len(), PROBLEMS_MAX);
        let last = many.last().map(ToString::to_string).unwrap_or_default();
        assert_eq!(last, "981 further problems: correct the listed ones, then retry");
    }

    #[test]
    fn a_problem_can_be_moved_into_a_larger_document() {
        let moved = found(1).pop().map(|problem| problem.within("/seat_plan").to_string());
        assert_eq!(moved.as_deref(), Some("/seat_plan/sections/0: mend it"));
    }

    #[test]
    fn a_listing_is_short_whatever_is_listed() {
        let long = "x".repeat(10_000);
        assert!(first_ten(vec![(long.as_str(), None); 5_000]).len() < 1_000);
        let some = [("a\nb", Some("2 times".to_owned())), ("c", None)];
        assert_eq!(first_ten(some), "`ab` (2 times), `c`");
    }
}

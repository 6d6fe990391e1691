//! What is wrong with a plan: one type for all formats, and the bounded list it is collected in.

use crate::domain::name::shown;

/// The most problems that are reported at once. The last entry says so if the check stopped there.
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

/// Problems as they are found. Problems of one kind in one field have one cause, which is reported once
/// with its further places. After [`PROBLEMS_MAX`] problems nothing is kept: the reader of a plan
/// stops then.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    causes: Vec<RequestContext>,
    found: usize,
    is_stopped: bool,
}

#[derive(Debug)]
struct RequestContext {
    first: PlanError,
    further_places: Vec<String>,
}

impl Problems {
    /// Notes a problem.
    pub(crate) fn add(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        let pointer = pointer.into();
        let same = |first: &PlanError| {
            first.code == code && field_of(&first.pointer) == field_of(&pointer)
        };
        match self.causes.iter_mut().find(|cause| same(&cause.first)) {
            Some(cause) if self.found + 1 < PROBLEMS_MAX => {
                self.found += 1;
                cause.further_places.push(pointer);
            }
            _ => self.add_apart(pointer, code, message),
        }
    }

    /// Notes a problem that has a cause of its own, whatever others are like it.
    pub(crate) fn add_apart(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.found += 1;
        if !self.is_full() {
            let first = PlanError { pointer: pointer.into(), code, message: message.into() };
            self.causes.push(RequestContext { first, further_places: Vec::new() });
        }
    }

    /// Notes a problem that nothing can be looked for behind.
    pub(crate) fn add_last(&mut self, error: PlanError) {
        self.add(error.pointer, error.code, error.message);
        self.is_stopped = true;
    }

    /// Whether nothing was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// Whether so many were noted that looking for more is of no use.
    pub(crate) fn is_full(&self) -> bool {
        self.is_stopped || self.found >= PROBLEMS_MAX
    }

    /// `Ok` if nothing was noted, else the list, never longer than [`PROBLEMS_MAX`].
    pub(crate) fn none_or_all(self) -> Result<(), Vec<PlanError>> {
        if self.is_empty() {
            return Ok(());
        }
        let is_cut = self.found >= PROBLEMS_MAX;
        let mut listed: Vec<_> = self.causes.into_iter().map(RequestContext::told).collect();
        if is_cut {
            listed.push(PlanError {
                pointer: String::new(),
                code: "more_problems",
                message: format!(
                    "the check stopped after {PROBLEMS_MAX} problems: correct those that are listed, \
                     then retry"
                ),
            });
        }
        Err(listed)
    }
}

impl RequestContext {
    fn told(self) -> PlanError {
        const SHOWN: usize = 3;
        let mut error = self.first;
        let further = self.further_places.len();
        if further > 0 {
            let shown: Vec<_> = self.further_places.into_iter().take(SHOWN).collect();
            error.message.push_str(&format!(" (the same at {}", shown.join("; ")));
            if further > SHOWN {
                error.message.push_str(&format!(" and {} more places", further - SHOWN));
            }
            error.message.push(')');
        }
        error
    }
}

/// The part of a pointer that names a field, without the seat or line that has it: `label` of
/// `/sections/0/rows/1/seats/2/label`, `column 3` of `line 7, column 3`, nothing of `line 7`.
fn field_of(pointer: &str) -> &str {
    match pointer.rsplit_once(['/', ' ']) {
        Some(("line", _)) | None => "",
        Some((_, field)) => field,
    }
}

/// The first ten of some things, and how many more there are. Each is cut to a length that is fit
/// to print; what is shown beside it, such as a count, follows in brackets.
pub(crate) fn first_ten<'a>(things: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
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

/// A foreign text between backticks, fit to be printed anywhere and not longer than it may be.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", shown(text, QUOTED_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(count: usize) -> Vec<PlanError> {
        let mut problems = Problems::default();
        (0..count).for_each(|n| problems.add(format!("/sections/0/{n}"), "x", "mend it"));
        problems.none_or_all().err().unwrap_or_default()
    }

    #[test]
    fn after_twenty_problems_nothing_is_kept() {
        assert_eq!(found(0), []);
        assert_eq!(found(19).len(), 19);
        assert!(found(19).iter().all(|problem| problem.code == "x"));
        let many = found(1_000);
        assert_eq!(many.len(), PROBLEMS_MAX);
        assert_eq!(many.last().map(|problem| problem.code), Some("more_problems"));
    }

    #[test]
    fn one_cause_is_told_once_with_its_further_places() {
        let told = |places: &[&str]| {
            let mut problems = Problems::default();
            places.iter().for_each(|place| problems.add(*place, "x", "mend it"));
            let listed = problems.none_or_all().err().unwrap_or_default();
            listed.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&["line 2", "line 4"]), ["line 2: mend it (the same at line 4)"]);
        assert_eq!(
            told(&["/s/0/name", "/s/1/name", "/s/2/label", "/s/3/name", "/s/4/name", "/s/5/name"]),
            [
                "/s/0/name: mend it (the same at /s/1/name; /s/3/name; /s/4/name and 1 more places)",
                "/s/2/label: mend it",
            ]
        );
        let columns = ["line 2, column 1", "line 2, column 2", "line 3, column 1", "line 3"];
        assert_eq!(
            told(&columns),
            [
                "line 2, column 1: mend it (the same at line 3, column 1)",
                "line 2, column 2: mend it",
                "line 3: mend it",
            ]
        );
    }

    #[test]
    fn a_problem_can_be_moved_into_a_larger_document() {
        let moved = found(1).pop().map(|problem| problem.within("/seat_plan").to_string());
        assert_eq!(moved.as_deref(), Some("/seat_plan/sections/0/0: mend it"));
    }

    #[test]
    fn a_listing_is_short_whatever_is_listed() {
        let long = "x".repeat(10_000);
        assert!(first_ten(vec![(long.as_str(), None); 5_000]).len() < 1_000);
        let some = [("a\nb", Some("2 times".to_owned())), ("c", None)];
        assert_eq!(first_ten(some), "`a<U+000A>b` (2 times), `c`");
    }
}

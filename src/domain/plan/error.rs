//! The problems of a plan: one type for all formats, and the bounded list that collects them.

use crate::domain::name::shown;

/// The most problems of one report. If the check stopped at this number, the last entry is a message about that.
pub const PROBLEMS_MAX: usize = 20;

/// The most characters in a message of a text from the document.
const QUOTED_MAX: usize = super::LABEL_MAX;

/// One problem of a plan, with its remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", before_message(.pointer))]
pub struct PlanError {
    /// The location: a JSON pointer (RFC 6901) into the document, or a place in a CSV document such as
    /// `line 7, column 3`; empty for the whole document.
    pub pointer: String,
    /// The kind of problem, for programs; never changes.
    pub code: &'static str,
    /// The problem and its remedy, for people.
    pub message: String,
}

impl PlanError {
    pub(crate) fn new(
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }

    /// The same problem in a larger document, where the plan is the field `parent`, such as `/seat_plan`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.pointer.insert_str(0, parent);
        self
    }
}

fn before_message(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!("{pointer}: ") }
}

/// The problems found so far. Problems of one kind in one field are reported together: the first, with the places of
/// the others. After [`PROBLEMS_MAX`] problems no more are stored, and the reader of a plan stops.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    groups: Vec<ProblemGroup>,
    found: usize,
    is_stopped: bool,
}

#[derive(Debug)]
struct ProblemGroup {
    first: PlanError,
    further_places: Vec<String>,
}

impl Problems {
    /// Adds a problem.
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
        match self.groups.iter_mut().find(|group| same(&group.first)) {
            Some(group) if self.found + 1 < PROBLEMS_MAX => {
                self.found += 1;
                group.further_places.push(pointer);
            }
            _ => self.add_apart(pointer, code, message),
        }
    }

    /// Adds a problem that is reported separately from others of its kind.
    pub(crate) fn add_apart(
        &mut self,
        pointer: impl Into<String>,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.found += 1;
        if !self.is_full() {
            let first = PlanError::new(pointer, code, message);
            self.groups.push(ProblemGroup { first, further_places: Vec::new() });
        }
    }

    /// Adds a problem that ends the check.
    pub(crate) fn add_last(&mut self, error: PlanError) {
        self.add(error.pointer, error.code, error.message);
        self.is_stopped = true;
    }

    /// Whether there is no problem.
    pub(crate) fn is_empty(&self) -> bool {
        self.found == 0
    }

    /// Whether the check has to stop.
    pub(crate) fn is_full(&self) -> bool {
        self.is_stopped || self.found >= PROBLEMS_MAX
    }

    /// Returns `Ok` if there is no problem, otherwise the list, which has at most [`PROBLEMS_MAX`] entries.
    pub(crate) fn none_or_all(self) -> Result<(), Vec<PlanError>> {
        if self.is_empty() {
            return Ok(());
        }
        let is_cut = self.found >= PROBLEMS_MAX;
        let mut listed: Vec<_> = self.groups.into_iter().map(ProblemGroup::into_error).collect();
        if is_cut {
            let message = format!(
                "the check stopped after {PROBLEMS_MAX} problems: correct those that are listed, then \
                 retry"
            );
            listed.push(PlanError::new("", "more_problems", message));
        }
        Err(listed)
    }
}

impl ProblemGroup {
    fn into_error(self) -> PlanError {
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

/// Lists the first ten texts, each cut to a printable length, with a remark in brackets if it has one. Adds the number
/// of further texts.
pub(crate) fn first_ten<'a>(texts: impl IntoIterator<Item = (&'a str, Option<String>)>) -> String {
    const SHOWN: usize = 10;
    let mut texts = texts.into_iter();
    let shown: Vec<_> = texts
        .by_ref()
        .take(SHOWN)
        .map(|(text, remark)| {
            let remark = remark.map(|remark| format!(" ({remark})")).unwrap_or_default();
            format!("{}{remark}", quoted(text))
        })
        .collect();
    let further = match texts.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    shown.join(", ") + &further
}

/// Any text between backticks, in a printable form and cut to [`QUOTED_MAX`] characters.
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
    fn after_twenty_problems_none_is_kept() {
        assert_eq!(found(0), []);
        assert_eq!(found(19).len(), 19);
        assert!(found(19).iter().all(|problem| problem.code == "x"));
        let many = found(1_000);
        assert_eq!(many.len(), PROBLEMS_MAX);
        assert_eq!(many.last().map(|problem| problem.code), Some("more_problems"));
    }

    #[test]
    fn problems_of_one_kind_are_reported_once_with_their_places() {
        let reported = |places: &[&str]| {
            let mut problems = Problems::default();
            places.iter().for_each(|place| problems.add(*place, "x", "mend it"));
            let listed = problems.none_or_all().err().unwrap_or_default();
            listed.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(reported(&["line 2", "line 4"]), ["line 2: mend it (the same at line 4)"]);
        assert_eq!(
            reported(&[
                "/s/0/name",
                "/s/1/name",
                "/s/2/label",
                "/s/3/name",
                "/s/4/name",
                "/s/5/name"
            ]),
            [
                "/s/0/name: mend it (the same at /s/1/name; /s/3/name; /s/4/name and 1 more places)",
                "/s/2/label: mend it",
            ]
        );
        let columns = ["line 2, column 1", "line 2, column 2", "line 3, column 1", "line 3"];
        assert_eq!(
            reported(&columns),
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

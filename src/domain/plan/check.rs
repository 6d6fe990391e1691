//! The checks of every plan, whatever its format.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::error::{Problems, first_ten, quoted};
use super::seat_data::{
    LinkedGroups, check_attributes, check_point, check_position, check_price, check_rank,
};
use super::{
    LABEL_MAX, PlanSeat, ROWS_PER_SECTION_MAX, SEATS_MAX, SEATS_PER_ROW_MAX, SeatPlan, Section,
};
use crate::domain::name::{self, NameFault};

/// The names that a format has for the parts of a plan, for pointers into its documents.
pub(crate) struct FieldNames {
    /// The list of sections.
    pub(crate) sections: &'static str,
    /// A section's name.
    pub(crate) section_name: &'static str,
    /// A row's name.
    pub(crate) row_name: &'static str,
    /// A seat's number.
    pub(crate) number: &'static str,
    /// A seat's label.
    pub(crate) label: &'static str,
    /// A seat's price.
    pub(crate) price: &'static str,
    /// A seat's coordinates.
    pub(crate) x: &'static str,
    /// The remedy for labels that repeat or are missing.
    pub(crate) label_remedy: &'static str,
}

impl FieldNames {
    /// The names of the stored document.
    pub(crate) const DOCUMENT: Self = Self {
        sections: "sections",
        section_name: "name",
        row_name: "name",
        number: "number",
        label: "label",
        price: "price",
        x: "x",
        label_remedy: "give every seat a label of its own",
    };
}

/// The rule by which names are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// The rule of [`name::check`], for new plans. Names that look alike are refused, too.
    Entered,
    /// The rule of [`name::check_stored`], for plans that were stored before the present rule.
    Stored,
}

impl Names {
    fn check(self, text: &str) -> Result<(), NameFault> {
        match self {
            Self::Entered => name::check(text, LABEL_MAX),
            Self::Stored => name::check_stored(text, LABEL_MAX),
        }
    }

    /// The form in which names are compared.
    fn compared(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::Entered => name::folded(text),
            Self::Stored => Cow::Borrowed(text),
        }
    }
}

/// A location in the plan, by the indexes of section, row and seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Section(usize),
    Row(usize, usize),
    Seat(usize, usize, usize),
}

/// A text of the plan, with its location.
#[derive(Clone, Copy)]
struct Text<'p> {
    text: &'p str,
    /// The name of the text's kind in messages.
    what: &'static str,
    spot: Spot,
    field: &'static str,
}

/// The names of one scope, by the form in which they are compared, each as it was first written.
type Seen<'p> = HashMap<Cow<'p, str>, Text<'p>>;

/// Labels by the form in which they are compared.
type Labels<'p> = HashMap<Cow<'p, str>, Label<'p>>;

struct Label<'p> {
    first: Text<'p>,
    /// The names of section, row and seat, of which labels are often made.
    parts: [&'p str; 3],
    second: Option<Spot>,
    times: usize,
}

/// Adds every problem of the plan to `problems`, until there are too many. `locate` converts a pointer to a
/// location in the document that was read.
pub(crate) fn check(
    plan: &SeatPlan,
    rule: Names,
    names: &FieldNames,
    locate: &dyn Fn(String) -> String,
    problems: &mut Problems,
) {
    let (labels, groups) = (Labels::new(), LinkedGroups::new());
    Check { rule, names, locate, problems, labels, groups }.sections(&plan.sections);
    if let Some(Err(message)) = plan.focal_point.map(check_point) {
        problems.add(locate("/focal_point".to_owned()), "position_invalid", message);
    }
}

struct Check<'c, 'p> {
    rule: Names,
    names: &'c FieldNames,
    locate: &'c dyn Fn(String) -> String,
    problems: &'c mut Problems,
    labels: Labels<'p>,
    groups: LinkedGroups<'p, Spot>,
}

/// The names that are shared by all seats of a plan.
#[derive(Default)]
struct SharedNames<'p> {
    categories: Seen<'p>,
    groups: Seen<'p>,
}

impl<'p> Check<'_, 'p> {
    fn sections(&mut self, sections: &'p [Section]) {
        let mut names = Seen::new();
        let mut shared = SharedNames::default();
        for (s, section) in sections.iter().enumerate() {
            if self.problems.is_full() {
                break;
            }
            let spot = Spot::Section(s);
            let field = self.names.section_name;
            let name = Text { text: &section.name, what: "section name", spot, field };
            self.name(name, &mut names);
            if section.rows.len() > ROWS_PER_SECTION_MAX {
                let message = format!(
                    "{} rows: split the section into sections of at most {ROWS_PER_SECTION_MAX}",
                    section.rows.len()
                );
                self.problems.add(self.at(spot, "rows"), "too_many_rows", message);
            }
            self.rows(s, section, &mut shared);
        }
        let all = (self.locate)(format!("/{}", self.names.sections));
        match sections.iter().flat_map(|section| &section.rows).map(|row| row.seats.len()).sum() {
            0 => self.problems.add(all, "no_seats", "the plan has no seat: add at least one"),
            1..=SEATS_MAX => {}
            count => {
                let message =
                    format!("{count} seats: split the plan into plans of at most {SEATS_MAX}");
                self.problems.add(all, "too_many_seats", message);
            }
        }
        self.repeated_labels();
        // If some seats were not checked, their groups may look incomplete.
        if !self.problems.is_full() {
            self.linked_groups();
        }
    }

    fn rows(&mut self, s: usize, section: &'p Section, shared: &mut SharedNames<'p>) {
        let mut names = Seen::new();
        for (r, row) in section.rows.iter().enumerate() {
            if self.problems.is_full() {
                return;
            }
            let spot = Spot::Row(s, r);
            let field = self.names.row_name;
            self.name(Text { text: &row.name, what: "row name", spot, field }, &mut names);
            if row.seats.len() > SEATS_PER_ROW_MAX {
                let message = format!(
                    "{} seats: split the row into rows of at most {SEATS_PER_ROW_MAX}",
                    row.seats.len()
                );
                self.problems.add(self.at(spot, "seats"), "too_many_seats_in_row", message);
            }
            let mut numbers = Seen::new();
            for (n, seat) in row.seats.iter().enumerate() {
                if self.problems.is_full() {
                    return;
                }
                let spot = Spot::Seat(s, r, n);
                let field = self.names.number;
                let number = Text { text: &seat.number, what: "seat number", spot, field };
                self.name(number, &mut numbers);
                self.label(seat, spot, [&section.name, &row.name, &seat.number]);
                if let Some(text) = &seat.category {
                    let field = "category";
                    self.name(Text { text, what: "category", spot, field }, &mut shared.categories);
                }
                if let Some(text) = &seat.linked {
                    let field = "linked";
                    self.name(Text { text, what: "group", spot, field }, &mut shared.groups);
                    self.groups.add(text, s, spot);
                }
                self.values(seat, spot);
            }
        }
    }

    /// Checks what is neither a name nor a label.
    fn values(&mut self, seat: &PlanSeat, spot: Spot) {
        let checked = [
            (self.names.price, "price_out_of_range", check_price(seat.price)),
            (self.names.x, "position_invalid", check_position(seat.x, seat.y)),
            ("attributes", "attributes_invalid", check_attributes(&seat.attributes)),
            ("rank", "rank_out_of_range", check_rank(seat.rank)),
        ];
        for (field, code, result) in checked {
            if let Err(message) = result {
                self.problems.add(self.at(spot, field), code, message);
            }
        }
    }

    fn linked_groups(&mut self) {
        let groups = std::mem::replace(&mut self.groups, LinkedGroups::new());
        for (spot, code, message) in groups.faults(|spot| self.at(spot, "linked")) {
            self.problems.add(self.at(spot, "linked"), code, message);
        }
    }

    /// Checks a name that is new in its scope, and reports a name that only looks like an earlier one.
    fn name(&mut self, name: Text<'p>, seen: &mut Seen<'p>) {
        match seen.entry(self.rule.compared(name.text)) {
            Entry::Vacant(vacant) => {
                vacant.insert(name);
                if let Err(fault) = self.rule.check(name.text) {
                    self.add_fault(name, fault);
                }
            }
            Entry::Occupied(first) if first.get().text != name.text => {
                self.add_alike(name, *first.get());
            }
            Entry::Occupied(_) => {}
        }
    }

    fn label(&mut self, seat: &'p PlanSeat, spot: Spot, parts: [&'p str; 3]) {
        let field = self.names.label;
        let label = Text { text: &seat.label, what: "label", spot, field };
        if label.text.is_empty() {
            let message = format!("the seat has no label: {}", self.names.label_remedy);
            return self.problems.add(self.at(spot, field), "label_missing", message);
        }
        match self.labels.entry(self.rule.compared(label.text)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Label { first: label, parts, second: None, times: 1 });
                if let Err(fault) = self.rule.check(label.text) {
                    // If the label is made of a name with the same fault, the fault is reported already.
                    let has_fault = |part: &&str| {
                        self.rule.check(part).is_err_and(|of| of.code() == fault.code())
                    };
                    if !parts.iter().any(|part| has_fault(part) && label.text.contains(part)) {
                        self.add_fault(label, fault);
                    }
                }
            }
            Entry::Occupied(mut known) if known.get().first.text == label.text => {
                let known = known.get_mut();
                known.times += 1;
                known.second.get_or_insert(spot);
            }
            Entry::Occupied(known) => {
                let first = known.get().first;
                let first_parts = known.get().parts;
                // If the label is made of names that look alike, those names are reported already.
                let look_alike = |(one, other): (&str, &str)| {
                    one != other && name::folded(one) == name::folded(other)
                };
                if !parts.into_iter().zip(first_parts).any(look_alike) {
                    self.add_alike(label, first);
                }
            }
        }
    }

    fn add_fault(&mut self, name: Text<'_>, fault: NameFault) {
        let message = format!("the {} {fault}", name.what);
        self.problems.add(self.at(name.spot, name.field), fault.code(), message);
    }

    fn add_alike(&mut self, name: Text<'_>, first: Text<'_>) {
        let message = format!(
            "the {} {} differs from {} at {} only in what people cannot see: write both the same, \
             or give one another name",
            name.what,
            quoted(name.text),
            quoted(first.text),
            self.at(first.spot, first.field)
        );
        self.problems.add(self.at(name.spot, name.field), "names_alike", message);
    }

    /// Adds one problem for all labels that repeat, at the first seat that has one of them.
    fn repeated_labels(&mut self) {
        const SHOWN: usize = 10;
        let mut repeats: Vec<_> = std::mem::take(&mut self.labels)
            .into_values()
            .filter_map(|label| Some((label.first, label.second?, label.times)))
            .collect();
        repeats.sort_unstable_by_key(|(first, ..)| first.spot);
        let Some((first, ..)) = repeats.first() else { return };
        let at = |spot| self.at(spot, self.names.label);
        let shown = repeats.iter().take(SHOWN).map(|(first, second, times)| {
            let more = if *times > 2 { format!(", {times} times in all") } else { String::new() };
            (first.text, Some(format!("{} and {}{more}", at(first.spot), at(*second))))
        });
        let further = match repeats.len() {
            0..=SHOWN => String::new(),
            count => format!(" and {} more", count - SHOWN),
        };
        let message = format!(
            "several seats share a label, {} labels in all: {}{further}; {}",
            repeats.len(),
            first_ten(shown),
            self.names.label_remedy
        );
        self.problems.add(at(first.spot), "label_repeated", message);
    }

    /// The location of a field in the document that was read.
    fn at(&self, spot: Spot, field: &str) -> String {
        let all = self.names.sections;
        (self.locate)(match spot {
            Spot::Section(s) => format!("/{all}/{s}/{field}"),
            Spot::Row(s, r) => format!("/{all}/{s}/rows/{r}/{field}"),
            Spot::Seat(s, r, n) => format!("/{all}/{s}/rows/{r}/seats/{n}/{field}"),
        })
    }
}

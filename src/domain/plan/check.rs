//! The checks that every plan passes, whatever format it came in.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::error::{Problems, first_ten, quoted};
use super::{
    COORDINATE_MAX, LABEL_MAX, PRICE_MAX, PlanSeat, ROWS_PER_SECTION_MAX, Row, SEATS_MAX,
    SEATS_PER_ROW_MAX, Section,
};
use crate::domain::name::{self, NameFault};

/// What a format calls the parts of a plan, so that pointers lead into the document its author
/// wrote.
pub(crate) struct FieldNames {
    /// The list of sections.
    pub(crate) sections: &'static str,
    /// A section's name.
    pub(crate) section_name: &'static str,
    /// A row's name.
    pub(crate) row_name: &'static str,
    /// A seat's number.
    pub(crate) number: &'static str,
    /// Where a seat's label comes from.
    pub(crate) label: &'static str,
    /// Where a seat's price comes from.
    pub(crate) price: &'static str,
    /// Where a seat's coordinates come from.
    pub(crate) x: &'static str,
    /// What to do about labels that repeat or are missing.
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

/// By which rule names are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// That of [`name::check`]; and names that only look different are refused.
    Entered,
    /// A plan that was stored may have names that were accepted before the present rule.
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

/// Where something stands in the plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Spot {
    Section(usize),
    Row(usize, usize),
    Seat(usize, usize, usize),
}

/// Names of one scope by the form in which they are compared, each as it was first written.
type Seen<'p> = HashMap<Cow<'p, str>, (&'p str, Spot)>;

/// Labels by the form in which they are compared.
type Labels<'p> = HashMap<Cow<'p, str>, Label<'p>>;

struct Label<'p> {
    seat: Named<'p>,
    first: Spot,
    second: Option<Spot>,
    times: usize,
}

/// A seat's label with the names that it is often made of.
#[derive(Clone, Copy)]
struct Named<'p> {
    label: &'p str,
    parts: [&'p str; 3],
}

/// Adds every problem of the sections to `problems`, until there are too many. `locate` turns a pointer
/// into a place in the document that was read.
pub(crate) fn check(
    sections: &[Section],
    rule: Names,
    names: &FieldNames,
    locate: &dyn Fn(String) -> String,
    problems: &mut Problems,
) {
    Check { rule, names, locate, problems }.sections(sections);
}

struct Check<'c> {
    rule: Names,
    names: &'c FieldNames,
    locate: &'c dyn Fn(String) -> String,
    problems: &'c mut Problems,
}

impl Check<'_> {
    fn sections(&mut self, sections: &[Section]) {
        let (mut seen, mut categories, mut labels) = (Seen::new(), Seen::new(), Labels::new());
        for (s, section) in sections.iter().enumerate() {
            self.section(s, section, &mut seen, (&mut categories, &mut labels));
        }
        let all = || format!("/{}", self.names.sections);
        match sections.iter().flat_map(|section| &section.rows).map(|row| row.seats.len()).sum() {
            0 => self.problems.add(
                (self.locate)(all()),
                "no_seats",
                "the plan has no seat: add at least one",
            ),
            1..=SEATS_MAX => {}
            count => {
                let message =
                    format!("{count} seats: split the plan into plans of at most {SEATS_MAX}");
                self.problems.add((self.locate)(all()), "too_many_seats", message);
            }
        }
        self.repeats(labels);
    }

    fn section<'p>(
        &mut self,
        s: usize,
        section: &'p Section,
        seen: &mut Seen<'p>,
        (categories, labels): (&mut Seen<'p>, &mut Labels<'p>),
    ) {
        if self.problems.is_full() {
            return;
        }
        let spot = Spot::Section(s);
        self.name(&section.name, "section name", (spot, self.names.section_name), seen);
        if section.rows.len() > ROWS_PER_SECTION_MAX {
            let message = format!(
                "{} rows: split the section into sections of at most {ROWS_PER_SECTION_MAX}",
                section.rows.len()
            );
            self.problems.add(self.at(spot, "rows"), "too_many_rows", message);
        }
        let mut rows = Seen::new();
        for (r, row) in section.rows.iter().enumerate() {
            self.row((s, r), (&section.name, row), &mut rows, (&mut *categories, &mut *labels));
        }
    }

    fn row<'p>(
        &mut self,
        (s, r): (usize, usize),
        (section, row): (&'p str, &'p Row),
        seen: &mut Seen<'p>,
        (categories, labels): (&mut Seen<'p>, &mut Labels<'p>),
    ) {
        if self.problems.is_full() {
            return;
        }
        let spot = Spot::Row(s, r);
        self.name(&row.name, "row name", (spot, self.names.row_name), seen);
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
            self.name(&seat.number, "seat number", (spot, self.names.number), &mut numbers);
            let parts = [section, row.name.as_str(), seat.number.as_str()];
            self.label(Named { label: &seat.label, parts }, spot, labels);
            if let Some(category) = &seat.category {
                self.name(category, "category", (spot, "category"), categories);
            }
            self.price_and_place(seat, spot);
        }
    }

    fn price_and_place(&mut self, seat: &PlanSeat, spot: Spot) {
        if let Err(message) = check_price(seat.price) {
            self.problems.add(self.at(spot, self.names.price), "price_out_of_range", message);
        }
        let sound = |coordinate: f64| coordinate.abs() <= COORDINATE_MAX;
        match (seat.x, seat.y) {
            (None, None) => {}
            (Some(x), Some(y)) if sound(x) && sound(y) => {}
            _ => self.problems.add(
                self.at(spot, self.names.x),
                "position_invalid",
                format!("give both x and y, each at most {COORDINATE_MAX} from 0, or neither"),
            ),
        }
    }

    /// Judges a name, and whether another of its scope looks the same. A name that was judged already
    /// is not judged again.
    fn name<'p>(
        &mut self,
        text: &'p str,
        what: &str,
        (spot, field): (Spot, &str),
        seen: &mut Seen<'p>,
    ) {
        match seen.entry(self.rule.compared(text)) {
            Entry::Vacant(vacant) => {
                vacant.insert((text, spot));
            }
            Entry::Occupied(known) => {
                let (first, first_spot) = *known.get();
                if first != text {
                    self.alike((text, spot), (first, first_spot), (what, field));
                }
                return;
            }
        }
        if let Err(fault) = self.rule.check(text) {
            self.problems.add(self.at(spot, field), fault.code(), format!("the {what} {fault}"));
        }
    }

    fn alike(
        &mut self,
        (text, spot): (&str, Spot),
        (first, first_spot): (&str, Spot),
        (what, field): (&str, &str),
    ) {
        let message = format!(
            "the {what} {} differs from {} at {} only in what people cannot see: write both the same, \
             or give one another name",
            quoted(text),
            quoted(first),
            self.at(first_spot, field)
        );
        self.problems.add(self.at(spot, field), "names_alike", message);
    }

    fn label<'p>(&mut self, seat: Named<'p>, spot: Spot, labels: &mut Labels<'p>) {
        let field = self.names.label;
        if seat.label.is_empty() {
            let message = format!("the seat has no label: {}", self.names.label_remedy);
            return self.problems.add(self.at(spot, field), "label_missing", message);
        }
        match labels.entry(self.rule.compared(seat.label)) {
            Entry::Vacant(vacant) => {
                vacant.insert(Label { seat, first: spot, second: None, times: 1 });
            }
            Entry::Occupied(mut known) if known.get().seat.label == seat.label => {
                let label = known.get_mut();
                label.times += 1;
                label.second.get_or_insert(spot);
                return;
            }
            Entry::Occupied(known) => {
                let (first, first_spot) = (known.get().seat, known.get().first);
                // If the label was made of names that look alike, these were told.
                let mut parts = seat.parts.into_iter().zip(first.parts);
                let look_alike = |(one, other): (&str, &str)| {
                    one != other && name::folded(one) == name::folded(other)
                };
                if !parts.any(look_alike) {
                    let texts = ((seat.label, spot), (first.label, first_spot));
                    self.alike(texts.0, texts.1, ("label", field));
                }
                return;
            }
        }
        if let Err(fault) = self.rule.check(seat.label) {
            // If the label was made of a name with the same fault, that was told.
            let has_fault =
                |part: &&str| self.rule.check(part).is_err_and(|of| of.code() == fault.code());
            if !seat.parts.iter().any(|part| has_fault(part) && seat.label.contains(*part)) {
                self.problems.add(self.at(spot, field), fault.code(), format!("the label {fault}"));
            }
        }
    }

    /// One problem for all labels that repeat, at the first seat whose label another one has too.
    fn repeats(&mut self, labels: Labels<'_>) {
        const SHOWN: usize = 10;
        let mut repeats: Vec<_> = labels
            .into_values()
            .filter_map(|label| Some((label.first, label.second?, label.seat.label, label.times)))
            .collect();
        repeats.sort_unstable_by_key(|(first, ..)| *first);
        let Some((first, ..)) = repeats.first() else { return };
        let at = |spot| self.at(spot, self.names.label);
        let shown = repeats.iter().take(SHOWN).map(|(first, second, label, times)| {
            let more = if *times > 2 { format!(", {times} times in all") } else { String::new() };
            (*label, Some(format!("{} and {}{more}", at(*first), at(*second))))
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
        self.problems.add(at(*first), "label_repeated", message);
    }

    /// The place of a field in the document that was read.
    fn at(&self, spot: Spot, field: &str) -> String {
        let all = self.names.sections;
        (self.locate)(match spot {
            Spot::Section(s) => format!("/{all}/{s}/{field}"),
            Spot::Row(s, r) => format!("/{all}/{s}/rows/{r}/{field}"),
            Spot::Seat(s, r, n) => format!("/{all}/{s}/rows/{r}/seats/{n}/{field}"),
        })
    }
}

/// Refuses prices outside 0 to [`PRICE_MAX`].
pub(crate) fn check_price(price: i64) -> Result<(), String> {
    if (0..=PRICE_MAX).contains(&price) {
        Ok(())
    } else {
        Err(format!("the price {price} must be 0 to {PRICE_MAX} minor units"))
    }
}

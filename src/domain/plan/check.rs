//! The checks that every plan passes, whatever format it came in.

use std::collections::HashMap;

use super::error::{Problems, first_ten};
use super::{
    COORDINATE_MAX, LABEL_MAX, PRICE_MAX, PlanSeat, ROWS_PER_SECTION_MAX, Row, SEATS_MAX,
    SEATS_PER_ROW_MAX, Section,
};

/// What a format calls the parts of a plan, so that pointers lead into the document its author
/// wrote.
pub(in crate::domain) struct FieldNames {
    /// The list of sections.
    pub(in crate::domain) sections: &'static str,
    /// A section's name.
    pub(in crate::domain) section_name: &'static str,
    /// A row's name.
    pub(in crate::domain) row_name: &'static str,
    /// A seat's number.
    pub(in crate::domain) number: &'static str,
    /// Where a seat's label comes from.
    pub(in crate::domain) label: &'static str,
    /// Where a seat's price comes from.
    pub(in crate::domain) price: &'static str,
    /// Where a seat's coordinates come from.
    pub(in crate::domain) x: &'static str,
    /// What to do about labels that repeat or are missing.
    pub(in crate::domain) label_remedy: &'static str,
}

impl FieldNames {
    /// The names of the stored document.
    pub(super) const DOCUMENT: Self = Self {
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

/// Adds every problem of the sections to `problems`.
pub(super) fn check(sections: &[Section], names: &FieldNames, problems: &mut Problems) {
    let all = format!("/{}", names.sections);
    for (index, section) in sections.iter().enumerate() {
        check_section(section, &format!("{all}/{index}"), names, problems);
    }
    match sections.iter().flat_map(|section| &section.rows).map(|row| row.seats.len()).sum() {
        0 => problems.add(all, "no_seats", "the plan has no seat: add at least one"),
        1..=SEATS_MAX => {}
        count => {
            let message =
                format!("{count} seats: split the plan into plans of at most {SEATS_MAX}");
            problems.add(all, "too_many_seats", message);
        }
    }
    check_repeats(sections, names, problems);
}

fn check_section(section: &Section, at: &str, names: &FieldNames, problems: &mut Problems) {
    check_text(&section.name, "section name", || field(at, names.section_name), problems);
    if section.rows.len() > ROWS_PER_SECTION_MAX {
        let message = format!(
            "{} rows: split the section into sections of at most {ROWS_PER_SECTION_MAX}",
            section.rows.len()
        );
        problems.add(field(at, "rows"), "too_many_rows", message);
    }
    for (index, row) in section.rows.iter().enumerate() {
        check_row(row, &format!("{at}/rows/{index}"), names, problems);
    }
}

fn check_row(row: &Row, at: &str, names: &FieldNames, problems: &mut Problems) {
    check_text(&row.name, "row name", || field(at, names.row_name), problems);
    if row.seats.len() > SEATS_PER_ROW_MAX {
        let message = format!(
            "{} seats: split the row into rows of at most {SEATS_PER_ROW_MAX}",
            row.seats.len()
        );
        problems.add(field(at, "seats"), "too_many_seats_in_row", message);
    }
    for (index, seat) in row.seats.iter().enumerate() {
        // Most seats are sound, so their pointers are made only when something is found.
        check_seat(seat, &|name| field(&format!("{at}/seats/{index}"), name), names, problems);
    }
}

fn check_seat(
    seat: &PlanSeat,
    at: &dyn Fn(&str) -> String,
    names: &FieldNames,
    problems: &mut Problems,
) {
    check_text(&seat.number, "seat number", || at(names.number), problems);
    if seat.label.is_empty() {
        let message = format!("the seat has no label: {}", names.label_remedy);
        problems.add(at(names.label), "label_missing", message);
    } else {
        check_text(&seat.label, "label", || at(names.label), problems);
    }
    check_price(seat.price, || at(names.price), problems);
    if let Some(category) = &seat.category {
        check_text(category, "category", || at("category"), problems);
    }
    let sound = |coordinate: f64| coordinate.abs() <= COORDINATE_MAX;
    match (seat.x, seat.y) {
        (None, None) => {}
        (Some(x), Some(y)) if sound(x) && sound(y) => {}
        _ => problems.add(
            at(names.x),
            "position_invalid",
            format!("give both x and y, each at most {COORDINATE_MAX} from 0, or neither"),
        ),
    }
}

/// Refuses prices outside 0 to [`PRICE_MAX`].
pub(super) fn check_price(price: i64, at: impl Fn() -> String, problems: &mut Problems) {
    if !(0..=PRICE_MAX).contains(&price) {
        let message = format!("the price {price} must be 0 to {PRICE_MAX} minor units");
        problems.add(at(), "price_out_of_range", message);
    }
}

/// Refuses texts that are empty, longer than [`LABEL_MAX`] or not printable.
pub(super) fn check_text(text: &str, what: &str, at: impl Fn() -> String, problems: &mut Problems) {
    let length = text.chars().count();
    if length == 0 {
        problems.add(at(), "text_empty", format!("the {what} is empty: give one"));
    }
    if length > LABEL_MAX {
        let message = format!("the {what} has {length} characters: shorten it to {LABEL_MAX}");
        problems.add(at(), "text_too_long", message);
    }
    if text.chars().any(char::is_control) {
        let message = format!("the {what} contains a control character: remove it");
        problems.add(at(), "control_character", message);
    }
}

/// One problem for all repeats, at the first seat whose label another one has too.
fn check_repeats(sections: &[Section], names: &FieldNames, problems: &mut Problems) {
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for (_, label) in labels(sections) {
        *uses.entry(label).or_default() += 1;
    }
    let mut first = None;
    let mut repeats = Vec::new();
    for (at, label) in labels(sections) {
        // Removed, so that each label is listed once, in plan order.
        if let Some(times @ 2..) = uses.remove(label) {
            first.get_or_insert(at);
            repeats.push((label, Some(format!("{times} times"))));
        }
    }
    let Some((section, row, seat)) = first else { return };
    let message = format!(
        "several seats share a label, {} labels in all: {}; {}",
        repeats.len(),
        first_ten(repeats),
        names.label_remedy
    );
    let seat = format!("/{}/{section}/rows/{row}/seats/{seat}", names.sections);
    problems.add(field(&seat, names.label), "label_repeated", message);
}

/// Every label that is there, with the indexes of its section, row and seat.
fn labels(sections: &[Section]) -> impl Iterator<Item = ((usize, usize, usize), &str)> {
    sections.iter().enumerate().flat_map(|(s, section)| {
        section.rows.iter().enumerate().flat_map(move |(r, row)| {
            let seats = row.seats.iter().enumerate().filter(|(_, seat)| !seat.label.is_empty());
            seats.map(move |(n, seat)| ((s, r, n), seat.label.as_str()))
        })
    })
}

/// The pointer to a field of the object at `parent`.
fn field(parent: &str, name: &str) -> String {
    format!("{parent}/{name}")
}

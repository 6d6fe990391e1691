//! Plans given by counts: sections of equal rows, each with one price.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};

use super::check::check_price;
use super::error::Problems;
use super::{
    LABEL_MAX, PlanError, PlanSeat, ROWS_PER_SECTION_MAX, Row, SEATS_MAX, SEATS_PER_ROW_MAX,
    SeatPlan, Section,
};
use crate::domain::name;
use crate::domain::whole::whole;

/// A section of equal rows. `{"name":"A","rows":20,"seats_per_row":30,"price":9900}` gives the
/// labels `A-1-1` to `A-20-30`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct InlineSection {
    /// The first part of the labels, unique among the sections. The longest label, such as
    /// `A-20-30`, may have [`LABEL_MAX`] characters.
    pub name: String,
    /// How many rows: 1 to [`ROWS_PER_SECTION_MAX`].
    #[serde(deserialize_with = "whole")]
    pub rows: u32,
    /// How many seats in each row: 1 to [`SEATS_PER_ROW_MAX`].
    #[serde(deserialize_with = "whole")]
    pub seats_per_row: u32,
    /// The price of each seat in minor units: 0 to [`PRICE_MAX`](super::PRICE_MAX).
    #[serde(deserialize_with = "whole")]
    pub price: i64,
}

impl SeatPlan {
    /// The plan that the sections describe, rows and seats counted from 1.
    ///
    /// # Errors
    /// All problems, at most [`PROBLEMS_MAX`](super::PROBLEMS_MAX), with pointers such as
    /// `/sections/0/rows`. Counts are checked before seats are generated.
    pub fn from_inline(sections: &[InlineSection]) -> Result<Self, Vec<PlanError>> {
        let mut problems = Problems::default();
        check(sections, &mut problems);
        problems.none_or_all()?;
        Ok(Self { sections: sections.iter().map(section).collect(), focal_point: None })
    }
}

/// Checks the sections. A label ends in two numbers, so labels are unique exactly if the section names are.
fn check(sections: &[InlineSection], problems: &mut Problems) {
    let mut names = HashMap::new();
    for (index, section) in sections.iter().enumerate() {
        if problems.is_full() {
            return;
        }
        let at = |field: &str| format!("/sections/{index}/{field}");
        match names.entry(name::folded(&section.name)) {
            Entry::Vacant(vacant) => {
                vacant.insert((index, &section.name));
                check_name(section, &at, problems);
            }
            Entry::Occupied(first) => {
                let (first, name) = *first.get();
                let (code, differs) = if *name == section.name {
                    ("section_repeated", "")
                } else {
                    ("names_alike", " but for what people cannot see")
                };
                let message =
                    format!("section {first} has this name already{differs}: give each its own");
                problems.add(at("name"), code, message);
            }
        }
        let counts = [
            ("rows", section.rows, ROWS_PER_SECTION_MAX),
            ("seats_per_row", section.seats_per_row, SEATS_PER_ROW_MAX),
        ];
        for (field, count, max) in counts {
            if count == 0 || count as usize > max {
                let message = format!("{field} is {count}: give 1 to {max}, or split the section");
                problems.add(at(field), "count_out_of_range", message);
            }
        }
        if let Err(message) = check_price(section.price) {
            problems.add(at("price"), "price_out_of_range", message);
        }
    }
    let seats =
        |section: &InlineSection| u64::from(section.rows) * u64::from(section.seats_per_row);
    match sections.iter().map(seats).fold(0, u64::saturating_add) {
        0 => problems.add("/sections", "no_seats", "the plan has no seat: add at least one"),
        count if count > SEATS_MAX as u64 => {
            let message =
                format!("{count} seats: split the plan into plans of at most {SEATS_MAX}");
            problems.add("/sections", "too_many_seats", message);
        }
        _ => {}
    }
}

/// Checks a name, and the length of the longest label made of it.
fn check_name(section: &InlineSection, at: &dyn Fn(&str) -> String, problems: &mut Problems) {
    let InlineSection { name, rows, seats_per_row, .. } = section;
    if let Err(fault) = name::check(name, LABEL_MAX) {
        return problems.add(at("name"), fault.code(), format!("the section name {fault}"));
    }
    let longest = label(name, *rows, *seats_per_row).chars().count();
    if longest > LABEL_MAX {
        let message = format!(
            "labels of this section would have up to {longest} characters: shorten its name by {}",
            longest - LABEL_MAX
        );
        problems.add(at("name"), "text_too_long", message);
    }
}

fn section(inline: &InlineSection) -> Section {
    let seat = |row, number: u32| PlanSeat {
        number: number.to_string(),
        label: label(&inline.name, row, number),
        price: inline.price,
        ..PlanSeat::default()
    };
    let row = |row: u32| Row {
        name: row.to_string(),
        seats: (1..=inline.seats_per_row).map(|number| seat(row, number)).collect(),
    };
    Section { name: inline.name.clone(), rows: (1..=inline.rows).map(row).collect() }
}

fn label(section: &str, row: u32, number: u32) -> String {
    format!("{section}-{row}-{number}")
}

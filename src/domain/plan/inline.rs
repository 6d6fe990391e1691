//! Plans given by counts: sections of equal rows, each with one price.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Not;

use serde::{Deserialize, Serialize};

use super::error::{Problems, quoted};
use super::seat_data::{check_attributes, check_price, check_rank};
use super::{
    LABEL_MAX, PlanError, PlanSeat, ROWS_PER_SECTION_MAX, Row, SEATS_MAX, SEATS_PER_ROW_MAX,
    SeatAttribute, SeatPlan, Section, attributes,
};
use crate::domain::name;
use crate::domain::whole::{optional_whole, whole, whole_list};

/// A section of equal rows. `{"name":"A","rows":20,"seats_per_row":30,"price":9900}` gives the
/// labels `A-1-1` to `A-20-30`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
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
    /// The price category of each seat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// What distinguishes each seat of the section.
    #[serde(default, deserialize_with = "attributes", skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<SeatAttribute>,
    /// The numbers of the seats with a gap, such as an aisle, before them, in each row.
    #[serde(
        default,
        deserialize_with = "whole_list::<_, _, SEATS_PER_ROW_MAX>",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub gaps_before: Vec<u32>,
    /// The rank of each seat; 1 is best.
    #[serde(default, deserialize_with = "optional_whole", skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// Whether each row is a group of linked seats, such as a table, with the name `section-row`.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub linked_rows: bool,
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
    let mut categories = HashMap::new();
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
        check_values(section, &at, problems);
        if let Some(category) = &section.category {
            let first = *categories.entry(name::folded(category)).or_insert(category);
            if let Err(fault) = name::check(category, LABEL_MAX) {
                problems.add(at("category"), fault.code(), format!("the category {fault}"));
            } else if first != category {
                let message = format!(
                    "the category differs from {} only in what people cannot see: write both the same",
                    quoted(first)
                );
                problems.add(at("category"), "names_alike", message);
            }
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

/// Checks what is neither a name nor a count.
fn check_values(section: &InlineSection, at: &dyn Fn(&str) -> String, problems: &mut Problems) {
    let InlineSection { price, attributes, gaps_before, rank, seats_per_row, linked_rows, .. } =
        section;
    let stray = gaps_before.iter().find(|number| !(2..=*seats_per_row).contains(*number));
    let gaps = stray.map_or(Ok(()), |number| {
        Err(format!("there is no gap before seat {number}: give numbers from 2 to {seats_per_row}"))
    });
    let linked = match (linked_rows, seats_per_row) {
        (true, 1) => Err("a row has one seat: link rows of several seats".to_owned()),
        _ => Ok(()),
    };
    for (field, code, result) in [
        ("price", "price_out_of_range", check_price(*price)),
        ("attributes", "attributes_invalid", check_attributes(attributes)),
        ("gaps_before", "gap_invalid", gaps),
        ("rank", "rank_out_of_range", check_rank(*rank)),
        ("linked_rows", "linked_alone", linked),
    ] {
        if let Err(message) = result {
            problems.add(at(field), code, message);
        }
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
        category: inline.category.clone(),
        attributes: inline.attributes.clone(),
        gap: inline.gaps_before.contains(&number),
        rank: inline.rank,
        linked: inline.linked_rows.then(|| format!("{}-{row}", inline.name)),
        x: None,
        y: None,
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

//! The seat plan: sections, rows and seats in the order that gives every seat its number.
//!
//! A [`SeatPlan`] is always valid: every constructor checks it. Names follow the rule of [`name`](super::name),
//! and names that look alike are refused; a plan that was stored before that rule is read as it is. The serde
//! form is the stored document, `{"sections":[{"name","rows":[{"name","seats":[…]}]}]}`. Fields that are absent are not
//! written, so a plan without them is stored with the same bytes as before there were such fields.

mod attribute;
mod check;
mod error;
mod inline;
mod seat_data;

use std::ops::Not;

use serde::{Deserialize, Serialize};

pub use attribute::SeatAttribute;
pub(crate) use attribute::attributes;
pub(crate) use check::FieldNames;
pub use error::{PROBLEMS_MAX, PlanError};
pub(crate) use error::{Problems, first_ten, quoted};
pub use inline::InlineSection;

use super::ids::SeatNumber;
pub(crate) use check::Names;

/// The most seats in a plan, and so in a schedule.
pub const SEATS_MAX: usize = 100_000;

/// The most rows in a section.
pub const ROWS_PER_SECTION_MAX: usize = 1_000;

/// The most seats in a row.
pub const SEATS_PER_ROW_MAX: usize = 1_000;

/// The most characters of a label; section, row, category and number texts have the same limit.
pub const LABEL_MAX: usize = 64;

/// The highest price of a seat in minor units: 100 million euros. The sum over [`SEATS_MAX`] seats
/// stays below 2^53, so every total is exact in JSON readers that read numbers as doubles (RFC 8259 §6).
pub const PRICE_MAX: i64 = 10_000_000_000;

/// The greatest distance of a coordinate from the origin, in the units of the plan's author.
pub const COORDINATE_MAX: f64 = 1e9;

/// The highest rank of a seat.
pub const RANK_MAX: u32 = 1_000_000;

/// A seat plan: the immutable layout that schedules are sold from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Document")]
pub struct SeatPlan {
    sections: Vec<Section>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    focal_point: Option<Point>,
}

/// A point of the plan, in the units of its author, at most [`COORDINATE_MAX`] from the origin either way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// Distance from the left edge.
    pub x: f64,
    /// Distance from the upper edge.
    pub y: f64,
}

/// A part of the hall. Its name may repeat; only the label identifies a seat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// 1 to [`LABEL_MAX`] characters.
    pub name: String,
    /// In plan order, at most [`ROWS_PER_SECTION_MAX`].
    pub rows: Vec<Row>,
}

/// A row of a section. Its name may repeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// 1 to [`LABEL_MAX`] characters.
    pub name: String,
    /// In plan order, at most [`SEATS_PER_ROW_MAX`].
    pub seats: Vec<PlanSeat>,
}

/// One seat of a plan.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PlanSeat {
    /// The text on the seat, such as `7` or `7a`; 1 to [`LABEL_MAX`] characters. It is not the [`SeatNumber`].
    pub number: String,
    /// The public name, unique in the plan; 1 to [`LABEL_MAX`] characters.
    pub label: String,
    /// In minor units, 0 to [`PRICE_MAX`].
    pub price: i64,
    /// The price category, where the plan has categories; 1 to [`LABEL_MAX`] characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Distance from the left edge, at most [`COORDINATE_MAX`] either way; present exactly if `y` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<f64>,
    /// Distance from the upper edge, at most [`COORDINATE_MAX`] either way; present exactly if `x` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<f64>,
    /// What distinguishes the seat, in the order of [`SeatAttribute`], each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<SeatAttribute>,
    /// Whether there is a gap, such as an aisle, between this seat and the one before it in its row.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub gap: bool,
    /// How good the seat is: 1 is best, [`RANK_MAX`] the last. Several seats may have the same rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<u32>,
    /// The group of seats, such as a table or a sofa, that is only taken and given back as a whole. The name of the
    /// group has 1 to [`LABEL_MAX`] characters; all seats of the plan with this name are the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked: Option<String>,
}

/// A plan that was read from a document.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadPlan {
    /// The plan.
    pub plan: SeatPlan,
    /// Sentences for the author: what was read differently from how it was written.
    pub notes: Vec<String>,
}

/// A seat with its section and row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacedSeat<'a> {
    /// The name of its section.
    pub section: &'a str,
    /// The name of its row.
    pub row: &'a str,
    /// The seat itself.
    pub seat: &'a PlanSeat,
}

impl SeatPlan {
    /// A plan of these sections.
    ///
    /// # Errors
    /// All problems, at most [`PROBLEMS_MAX`], with pointers into the stored document's form.
    pub fn new(sections: Vec<Section>) -> Result<Self, Vec<PlanError>> {
        Self::checked(
            sections,
            None,
            &FieldNames::DOCUMENT,
            &|pointer| pointer,
            Problems::default(),
        )
    }

    /// Like [`SeatPlan::new`], for a reader of another format. `names` are the names of the format's fields, `locate`
    /// converts a pointer to a location in its document, and `problems` are those that the reader has found already.
    pub(crate) fn checked(
        sections: Vec<Section>,
        focal_point: Option<Point>,
        names: &FieldNames,
        locate: &dyn Fn(String) -> String,
        mut problems: Problems,
    ) -> Result<Self, Vec<PlanError>> {
        let plan = Self { sections, focal_point };
        check::check(&plan, Names::Entered, names, locate, &mut problems);
        problems.none_or_all()?;
        Ok(plan)
    }

    /// The point from which seats without a rank are judged: near seats are better. It is the middle of the edge of
    /// the stage, for example.
    #[must_use]
    pub fn focal_point(&self) -> Option<Point> {
        self.focal_point
    }

    /// The sections in plan order.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Every seat in plan order with its number, which counts from 0 without gaps.
    pub fn seats(&self) -> impl Iterator<Item = (SeatNumber, PlacedSeat<'_>)> {
        let placed = self.sections.iter().flat_map(|section| {
            section.rows.iter().flat_map(move |row| {
                row.seats.iter().map(move |seat| PlacedSeat {
                    section: &section.name,
                    row: &row.name,
                    seat,
                })
            })
        });
        (0..).map(SeatNumber).zip(placed)
    }

    /// How many seats there are: 1 to [`SEATS_MAX`].
    #[must_use]
    pub fn seat_count(&self) -> usize {
        self.sections.iter().flat_map(|section| &section.rows).map(|row| row.seats.len()).sum()
    }
}

/// The stored form before it is checked.
#[derive(Deserialize)]
struct Document {
    sections: Vec<Section>,
    #[serde(default)]
    focal_point: Option<Point>,
}

impl TryFrom<Document> for SeatPlan {
    type Error = String;

    /// Fails with one text of all problems, as a deserialiser requires.
    fn try_from(Document { sections, focal_point }: Document) -> Result<Self, String> {
        let plan = Self { sections, focal_point };
        let mut problems = Problems::default();
        let names = &FieldNames::DOCUMENT;
        check::check(&plan, Names::Stored, names, &|pointer| pointer, &mut problems);
        problems.none_or_all().map_err(|problems| {
            problems.iter().map(PlanError::to_string).collect::<Vec<_>>().join("; ")
        })?;
        Ok(plan)
    }
}

#[cfg(test)]
mod tests;

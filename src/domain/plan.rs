//! The seat plan: sections, rows and seats in the order that gives every seat its number.
//!
//! A [`SeatPlan`] is always valid: every constructor checks it. Names follow the rule of [`name`](super::name),
//! and names that look alike are refused; a plan that was stored before that rule is read as it is. The serde
//! form is the stored document, `{"sections":[{"name","rows":[{"name","seats":[…]}]}]}`.

mod check;
mod error;
mod inline;

use serde::{Deserialize, Serialize};

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

/// A seat plan: the immutable layout that schedules are sold from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Document")]
pub struct SeatPlan {
    sections: Vec<Section>,
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        Self::checked(sections, &FieldNames::DOCUMENT, &|pointer| pointer, Problems::default())
    }

    /// Like [`SeatPlan::new`], for a reader of another format. `names` are the names of the format's fields, `locate`
    /// converts a pointer to a location in its document, and `problems` are those that the reader has found already.
    pub(crate) fn checked(
        sections: Vec<Section>,
        names: &FieldNames,
        locate: &dyn Fn(String) -> String,
        mut problems: Problems,
    ) -> Result<Self, Vec<PlanError>> {
        check::check(&sections, Names::Entered, names, locate, &mut problems);
        problems.none_or_all()?;
        Ok(Self { sections })
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
}

impl TryFrom<Document> for SeatPlan {
    type Error = String;

    /// Fails with one text of all problems, as a deserialiser requires.
    fn try_from(Document { sections }: Document) -> Result<Self, String> {
        let mut problems = Problems::default();
        let names = &FieldNames::DOCUMENT;
        check::check(&sections, Names::Stored, names, &|pointer| pointer, &mut problems);
        problems.none_or_all().map_err(|problems| {
            problems.iter().map(PlanError::to_string).collect::<Vec<_>>().join("; ")
        })?;
        Ok(Self { sections })
    }
}

#[cfg(test)]
mod tests;

//! The fields of a seat in CSV: how each column is written, and how those are read that are neither names nor numbers
//! with a decimal comma.

use std::borrow::Cow;

use crate::domain::plan::{PlacedSeat, RANK_MAX, SeatAttribute, quoted};
use crate::formats::csv::columns::CsvColumn;

/// The separator of attributes. No spreadsheet separates fields by it.
const SEPARATOR: char = '|';

/// The code and the message of a field that is wrong.
type Fault = (&'static str, String);

/// The text of a column; empty if the seat has no value for it.
pub(crate) fn write<'a>(column: CsvColumn, placed: &PlacedSeat<'a>) -> Cow<'a, str> {
    fn shown<'a>(value: Option<impl ToString>) -> Cow<'a, str> {
        value.map(|value| value.to_string().into()).unwrap_or_default()
    }
    let PlacedSeat { section, row, seat } = *placed;
    match column {
        CsvColumn::Section => section.into(),
        CsvColumn::Row => row.into(),
        CsvColumn::Number => seat.number.as_str().into(),
        CsvColumn::Label => seat.label.as_str().into(),
        CsvColumn::X => shown(seat.x),
        CsvColumn::Y => shown(seat.y),
        CsvColumn::Category => seat.category.as_deref().unwrap_or_default().into(),
        CsvColumn::Price => shown(Some(seat.price)),
        CsvColumn::Attributes => {
            let names: Vec<_> = seat.attributes.iter().map(|attribute| attribute.name()).collect();
            names.join(&SEPARATOR.to_string()).into()
        }
        CsvColumn::Gap => if seat.gap { "yes" } else { "" }.into(),
        CsvColumn::Rank => shown(seat.rank),
        CsvColumn::Linked => seat.linked.as_deref().unwrap_or_default().into(),
    }
}

/// Reads attributes such as `wheelchair|aisle`, in any order and case, with blanks or hyphens for underscores.
pub(crate) fn attributes(text: &str) -> Result<Vec<SeatAttribute>, Fault> {
    let parts = text.split(SEPARATOR).map(str::trim).filter(|part| !part.is_empty());
    let mut attributes = parts.map(attribute).collect::<Result<Vec<_>, _>>()?;
    attributes.sort_unstable();
    Ok(attributes)
}

fn attribute(text: &str) -> Result<SeatAttribute, Fault> {
    text.to_lowercase().replace([' ', '-'], "_").parse().map_err(|_| {
        let known = <SeatAttribute as strum::VariantNames>::VARIANTS.join(", ");
        let message =
            format!("{} is no attribute: give some of {known}, with | between them", quoted(text));
        ("attributes_invalid", message)
    })
}

/// Reads whether there is a gap.
pub(crate) fn gap(text: &str) -> Result<bool, Fault> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "1" | "x" => Ok(true),
        "" | "no" | "false" | "0" => Ok(false),
        _ => {
            let message = format!(
                "{} is neither yes nor no: give yes if there is a gap before the seat, or leave it empty",
                quoted(text)
            );
            Err(("gap_invalid", message))
        }
    }
}

/// Reads a rank, if there is one.
pub(crate) fn rank(text: &str) -> Result<Option<u32>, Fault> {
    let wrong = |_| {
        let message = format!("{} is no rank: give 1 to {RANK_MAX}; 1 is best", quoted(text));
        ("rank_out_of_range", message)
    };
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(wrong) }
}

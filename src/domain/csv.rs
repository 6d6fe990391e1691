//! Seat plans as CSV (RFC 4180), the form that spreadsheets read and write: a header, then a line for
//! each seat.
//!
//! The columns `section`, `row` and `number` must be there; `label`, `x`, `y`, `category` and `price`
//! may be; their order is free. A byte order mark, any line ends and `;` as separator are taken, too;
//! with `;` a coordinate may have a decimal comma. Lines without any text are skipped.
//!
//! The form says less than a [`SeatPlan`] can: seats that name the same section and row are one row,
//! wherever they stand, and a section or row without a seat is not there.

mod columns;
mod draft;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{
    FieldNames, PlacedSeat, PlanError, PlanSeat, Problems, SEATS_MAX, SeatPlan, first_ten,
};
use super::prices::Prices;
use columns::{Column, Columns};
use draft::Draft;
use records::{Record, Records};

/// What the checks of every plan call its parts: the columns they come from.
const FIELD_NAMES: FieldNames = FieldNames {
    sections: "sections",
    section_name: Column::Section.name(),
    row_name: Column::Row.name(),
    number: Column::Number.name(),
    label: Column::Label.name(),
    price: Column::Price.name(),
    x: Column::X.name(),
    label_remedy: "give every seat a label of its own in the column `label`",
};

/// Reads a plan. Sections, rows and seats keep the order in which they first appear. A seat without
/// a label gets `section-row-number`. Its own price, in whole minor units, wins over those of `prices`.
///
/// # Errors
/// All problems, at most [`PROBLEMS_MAX`](super::plan::PROBLEMS_MAX). Their pointers name the line of
/// the document and, if one is to blame, the column, both counted from 1: `line 7, column 3`. The
/// codes of this form alone are `not_utf8`, `header_missing`, `column_missing`, `column_unknown`,
/// `column_repeated`, `field_count`, `line_break` and `price_invalid`; the others are those of
/// [`SeatPlan::new`] and of prices. A document that is not UTF-8, or whose header is wrong, is told so
/// and nothing else.
pub fn parse(document: &[u8], prices: &Prices) -> Result<SeatPlan, Vec<PlanError>> {
    let alone = |error| vec![error];
    let mut records = Records::of(document);
    let header = records.read().map_err(alone)?;
    let columns = Columns::of(header.as_ref())?;
    let mut reading = Reading::new(columns, prices, records.separator());
    while let Some(record) = records.read().map_err(alone)? {
        reading.take(&record);
    }
    reading.finish()
}

/// Writes a plan with all columns, CRLF at the end of each line. [`parse`] makes the same plan of it
/// if no section or row of a section shares its name with another and none is empty.
#[must_use]
pub fn write(plan: &SeatPlan) -> String {
    let mut document = Column::ALL.map(Column::name).join(",");
    document.push_str("\r\n");
    for (_, PlacedSeat { section, row, seat }) in plan.seats() {
        let coordinate = |value: Option<f64>| value.map_or_else(String::new, |v| v.to_string());
        let (x, y, price) = (coordinate(seat.x), coordinate(seat.y), seat.price.to_string());
        let category = seat.category.as_deref().unwrap_or_default();
        let fields = [section, row, &seat.number, &seat.label, &x, &y, category, &price];
        document.push_str(&fields.map(quoted).join(","));
        document.push_str("\r\n");
    }
    document
}

/// A field as it is written: between quotes if it could be misread (RFC 4180 §2, rules 5 to 7).
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// A plan while its seats are read.
struct Reading<'a> {
    columns: Columns,
    prices: &'a Prices,
    has_decimal_commas: bool,
    draft: Draft,
    categories: BTreeSet<String>,
    /// Categories, and seats without one, that have no price, with the line of the first such seat.
    unpriced: BTreeMap<Option<String>, usize>,
    problems: Problems,
}

impl<'a> Reading<'a> {
    fn new(columns: Columns, prices: &'a Prices, separator: u8) -> Self {
        Self {
            columns,
            prices,
            has_decimal_commas: separator == b';',
            draft: Draft::default(),
            categories: BTreeSet::new(),
            unpriced: BTreeMap::new(),
            problems: Problems::default(),
        }
    }

    /// Adds the seat of a line, or what is wrong with the line.
    fn take(&mut self, record: &Record) {
        // No text of a plan goes on over lines, and what looks so is a quote that nobody closed.
        if let Some(column) = record.broken_field() {
            let at = columns::place(record.line, Some(column));
            let message = "the field goes on over lines: close its quote, or write it on one line";
            return self.problems.add(at, "line_break", message);
        }
        let (fields, columns) = (record.fields.len(), self.columns.count());
        if fields != columns {
            let message = format!(
                "the line has {fields} fields and the header {columns}: give each column its field, \
                 and put quotes around texts that contain the separator"
            );
            return self.problems.add(columns::place(record.line, None), "field_count", message);
        }
        if self.draft.is_full() {
            return self.draft.turn_away();
        }
        let seat = self.seat(record);
        let text = |column| self.columns.text(record, column);
        self.draft.add(text(Column::Section), text(Column::Row), seat, record.line);
    }

    fn seat(&mut self, record: &Record) -> PlanSeat {
        let text = |column| Some(self.columns.text(record, column)).filter(|text| !text.is_empty());
        let owned = |column| text(column).map(str::to_owned);
        let (number, category) =
            (owned(Column::Number).unwrap_or_default(), owned(Column::Category));
        let label = owned(Column::Label).unwrap_or_else(|| {
            let part = |column| text(column).unwrap_or_default();
            format!("{}-{}-{number}", part(Column::Section), part(Column::Row))
        });
        if let Some(category) = &category {
            self.categories.insert(category.clone());
        }
        let price = self.price(record, category.as_deref());
        let place = self.coordinate(record, Column::X).zip(self.coordinate(record, Column::Y));
        // A coordinate that is no number is told already, and must not look like a missing one.
        let (x, y) = place.unwrap_or_default();
        PlanSeat { number, label, price, category, x, y }
    }

    /// What the seat costs; nothing if that is a problem, so that it is told once.
    fn price(&mut self, record: &Record, category: Option<&str>) -> i64 {
        let digits = self.columns.text(record, Column::Price);
        if digits.is_empty() {
            let price = self.prices.of(category);
            if price.is_none() {
                self.unpriced.entry(category.map(str::to_owned)).or_insert(record.line);
            }
            return price.unwrap_or_default();
        }
        digits.parse().unwrap_or_else(|_| {
            let message = format!(
                "{} is not a price: give whole minor units, such as 9900 for 99.00",
                first_ten([(digits, None)])
            );
            self.problems.add(
                self.columns.at(record.line, Column::Price),
                "price_invalid",
                message,
            );
            0
        })
    }

    /// A coordinate, if there is one; the outer `None` is for what is no number.
    fn coordinate(&mut self, record: &Record, column: Column) -> Option<Option<f64>> {
        let text = self.columns.text(record, column);
        if text.is_empty() {
            return Some(None);
        }
        let number = if self.has_decimal_commas { text.replace(',', ".") } else { text.to_owned() };
        let number = number.parse().ok();
        if number.is_none() {
            let shown = first_ten([(text, None)]);
            let message = format!("{shown} is not a coordinate: give a number, such as 12.5");
            self.problems.add(self.columns.at(record.line, column), "position_invalid", message);
        }
        number.map(Some)
    }

    fn finish(mut self) -> Result<SeatPlan, Vec<PlanError>> {
        let count = self.draft.count();
        if count > SEATS_MAX {
            let message =
                format!("{count} seats: split the plan into plans of at most {SEATS_MAX}");
            self.problems.add("", "too_many_seats", message);
        }
        if count > 0 {
            self.check_prices();
        } else {
            // If no line could be read, it would mislead to say that there is no seat.
            std::mem::take(&mut self.problems).none_or_all()?;
        }
        let (sections, lines) = self.draft.finish();
        SeatPlan::checked(sections, &FIELD_NAMES, self.problems)
            .map_err(|errors| errors.into_iter().map(|e| lines.locate(e, &self.columns)).collect())
    }

    /// Every seat needs a price, and every price that names a category a category of that name.
    fn check_prices(&mut self) {
        // A line that was not understood, or not looked at, may be the one that has the category.
        if self.problems.is_empty() {
            let known = self.categories.iter().map(String::as_str).collect();
            if let Some(message) = self.prices.without_category(&known) {
                self.problems.add("", "price_without_category", message);
            }
        }
        let remedy = "fill in the column `price`, or give";
        let mut unpriced: Vec<_> = std::mem::take(&mut self.unpriced).into_iter().collect();
        unpriced.sort_unstable_by_key(|(_, line)| *line);
        let named: Vec<_> = unpriced
            .iter()
            .filter_map(|(category, line)| Some((category.as_deref()?, *line)))
            .collect();
        if let Some((_, line)) = named.first() {
            let message = format!(
                "categories without a price: {}; {remedy} each one (`NAME=9900`) or one for all \
                 (`9900`)",
                first_ten(named.iter().map(|(category, _)| (*category, None)))
            );
            self.problems.add(self.columns.at(*line, Column::Price), "price_missing", message);
        }
        if let Some((_, line)) = unpriced.iter().find(|(category, _)| category.is_none()) {
            let message = format!(
                "some seats have neither price nor category: {remedy} one for all (`9900`)"
            );
            self.problems.add(self.columns.at(*line, Column::Price), "price_missing", message);
        }
    }
}

#[cfg(test)]
mod tests;

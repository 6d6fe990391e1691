//! Seat plans as CSV (RFC 4180), the form that spreadsheets read and write: a header, then a line for
//! each seat.
//!
//! The columns `section`, `row` and `number` must be there; `label`, `x`, `y`, `category` and `price`
//! may be; their order is free. What spreadsheets do is understood: a byte order mark, any line ends,
//! semicolons or tabs as separators (with them a coordinate may have a decimal comma), a first line
//! `sep=;`, headers in any case and with blanks around them, some other names for columns, columns
//! without name and text, lines without text.
//!
//! The form says less than a [`SeatPlan`] can: seats that name the same section and row are one row,
//! wherever they stand, and a section or row without a seat is not there.

mod columns;
mod draft;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::plan::{
    FieldNames, PlacedSeat, PlanError, PlanSeat, Problems, ReadPlan, SEATS_MAX, SeatPlan,
    first_ten, quoted as between_backticks,
};
use crate::formats::prices::Prices;
use columns::{Columns, CsvColumn};
use draft::PlanDraft;
use records::{CsvRecord, LINE_BREAK, Records};

/// What the checks of every plan call its parts: the columns they come from.
const FIELD_NAMES: FieldNames = FieldNames {
    sections: "sections",
    section_name: CsvColumn::Section.name(),
    row_name: CsvColumn::Row.name(),
    number: CsvColumn::Number.name(),
    label: CsvColumn::Label.name(),
    price: CsvColumn::Price.name(),
    x: CsvColumn::X.name(),
    label_remedy: "give every seat a label of its own in the column `label`",
};

/// Reads a plan. Sections, rows and seats keep the order in which they first appear. A seat without
/// a label gets `section-row-number`. Its own price, in whole minor units, wins over those of `prices`.
///
/// # Errors
/// All problems, at most [`PROBLEMS_MAX`](crate::domain::plan::PROBLEMS_MAX). Their pointers name the line of
/// the document and, if one is to blame, the column, both counted from 1: `line 7, column 3`. The
/// codes of this form alone are `not_utf8`, `separator_unknown`, `header_missing`, `column_missing`,
/// `column_unknown`, `column_repeated`, `column_unnamed`, `field_count`, `line_break`, `line_too_long`
/// and `price_invalid`; the others are those of [`SeatPlan::new`] and of prices. Reading stops after
/// [`PROBLEMS_MAX`](crate::domain::plan::PROBLEMS_MAX) problems, at the first seat too many, and at a line
/// with far too many fields or bytes.
pub fn parse(document: &[u8], prices: &Prices) -> Result<ReadPlan, Vec<PlanError>> {
    let alone = |error| vec![error];
    let mut records = Records::of(document).map_err(alone)?;
    let header = records.read().map_err(alone)?;
    let (columns, notes) = Columns::of(header.as_ref())?;
    let mut reading = Reading::new(columns, prices, records.separator());
    while let Some(record) = records.read().map_err(alone)? {
        reading.take(&record);
        if reading.problems.is_full() {
            break;
        }
    }
    reading.finish().map(|plan| ReadPlan { plan, notes })
}

/// Writes a plan with all columns, CRLF at the end of each line. [`parse`] makes the same plan of it
/// if no section or row of a section shares its name with another and none is empty.
#[must_use]
pub fn write(plan: &SeatPlan) -> String {
    let mut document = CsvColumn::ALL.map(CsvColumn::name).join(",");
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
    draft: PlanDraft,
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
            has_decimal_commas: separator != b',',
            draft: PlanDraft::default(),
            categories: BTreeSet::new(),
            unpriced: BTreeMap::new(),
            problems: Problems::default(),
        }
    }

    /// Adds the seat of a line, or what is wrong with the line.
    fn take(&mut self, record: &CsvRecord) {
        // No text of a plan goes on over lines, and what looks so is a quote that nobody closed.
        if let Some(column) = record.broken_field() {
            let at = records::place(record.line, Some(column));
            return self.problems.add(at, "line_break", LINE_BREAK);
        }
        if let Some(column) = self.columns.unnamed(record) {
            return self.stray_text(record, column);
        }
        let (fields, columns) = (record.count(), self.columns.count());
        if fields < self.columns.count_needed() {
            let message = format!(
                "the line has {fields} fields and the header {columns}: give each column its field"
            );
            return self.problems.add(records::place(record.line, None), "field_count", message);
        }
        if self.draft.is_full() {
            let message = format!(
                "more than {SEATS_MAX} seats: split the plan into plans of at most {SEATS_MAX}"
            );
            return self.problems.add_last(PlanError {
                pointer: records::place(record.line, None),
                code: "too_many_seats",
                message,
            });
        }
        let seat = self.seat(record);
        let text = |column| self.columns.text(record, column);
        self.draft.add(text(CsvColumn::Section), text(CsvColumn::Row), seat, record.line);
    }

    /// Text that belongs to no column of the plan: behind the last, or below an empty header.
    fn stray_text(&mut self, record: &CsvRecord, column: usize) {
        let columns = self.columns.count();
        if column > columns {
            let message = format!(
                "the line has {} fields and the header {columns}: give each column its field, and put \
                 quotes around texts that contain the separator",
                record.count()
            );
            return self.problems.add(records::place(record.line, None), "field_count", message);
        }
        let text = record.get(column - 1).unwrap_or_default();
        let message = format!(
            "the column has no name in the header, but the text {}: name it, or remove the text",
            between_backticks(text)
        );
        self.problems.add(records::place(record.line, Some(column)), "column_unnamed", message);
    }

    fn seat(&mut self, record: &CsvRecord) -> PlanSeat {
        let text = |column| Some(self.columns.text(record, column)).filter(|text| !text.is_empty());
        let owned = |column| text(column).map(str::to_owned);
        let (number, category) =
            (owned(CsvColumn::Number).unwrap_or_default(), owned(CsvColumn::Category));
        let label = owned(CsvColumn::Label).unwrap_or_else(|| {
            let part = |column| text(column).unwrap_or_default();
            format!("{}-{}-{number}", part(CsvColumn::Section), part(CsvColumn::Row))
        });
        if let Some(category) = &category {
            self.categories.insert(category.clone());
        }
        let price = self.price(record, category.as_deref());
        let place =
            self.coordinate(record, CsvColumn::X).zip(self.coordinate(record, CsvColumn::Y));
        // A coordinate that is no number is told already, and must not look like a missing one.
        let (x, y) = place.unwrap_or_default();
        PlanSeat { number, label, price, category, x, y }
    }

    /// What the seat costs; nothing if that is a problem, so that it is told once.
    fn price(&mut self, record: &CsvRecord, category: Option<&str>) -> i64 {
        let digits = self.columns.text(record, CsvColumn::Price).trim();
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
                between_backticks(digits)
            );
            self.problems.add(
                self.columns.at(record.line, CsvColumn::Price),
                "price_invalid",
                message,
            );
            0
        })
    }

    /// A coordinate, if there is one; the outer `None` is for what is no number.
    fn coordinate(&mut self, record: &CsvRecord, column: CsvColumn) -> Option<Option<f64>> {
        let text = self.columns.text(record, column).trim();
        if text.is_empty() {
            return Some(None);
        }
        let number = if self.has_decimal_commas { text.replace(',', ".") } else { text.to_owned() };
        let number = number.parse().ok();
        if number.is_none() {
            let shown = between_backticks(text);
            let message = format!("{shown} is not a coordinate: give a number, such as 12.5");
            self.problems.add(self.columns.at(record.line, column), "position_invalid", message);
        }
        number.map(Some)
    }

    fn finish(mut self) -> Result<SeatPlan, Vec<PlanError>> {
        // If not all was read, or no line could be, it would mislead to judge the whole.
        if self.problems.is_full() || self.draft.count() == 0 {
            std::mem::take(&mut self.problems).none_or_all()?;
        } else {
            self.check_prices();
        }
        let (sections, lines) = self.draft.finish();
        let locate = |pointer: String| lines.locate(&pointer, &self.columns);
        SeatPlan::checked(sections, &FIELD_NAMES, &locate, self.problems)
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
            self.problems.add_apart(
                self.columns.at(*line, CsvColumn::Price),
                "price_missing",
                message,
            );
        }
        if let Some((_, line)) = unpriced.iter().find(|(category, _)| category.is_none()) {
            let message = format!(
                "some seats have neither price nor category: {remedy} one for all (`9900`)"
            );
            self.problems.add_apart(
                self.columns.at(*line, CsvColumn::Price),
                "price_missing",
                message,
            );
        }
    }
}

#[cfg(test)]
mod tests;

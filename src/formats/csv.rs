//! Seat plans as CSV (RFC 4180), which spreadsheets read and write: a header, then a line for each seat.
//!
//! The columns `section`, `row` and `number` are required; `label`, `x`, `y`, `category`, `price`, `attributes`, `gap`,
//! `rank` and `linked` are optional; their order is free. Variants of spreadsheets are accepted: a byte order mark, any line ends, semicolons or
//! tabs as separators (with them a coordinate may have a decimal comma), a first line `sep=;`, headers in any case
//! and with blanks around them, some other names for columns, columns without name and text, lines without text.
//!
//! CSV cannot express every [`SeatPlan`]: there is no focal point, seats of the same section and row are one row, wherever they are in the
//! document, and sections and rows have at least one seat.

mod columns;
mod draft;
mod records;
mod seat_fields;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use ::csv::{Terminator, WriterBuilder};
use strum::VariantArray as _;

use crate::domain::plan::{
    FieldNames, PlanError, PlanSeat, Problems, ReadPlan, SEATS_MAX, SeatPlan, first_ten, quoted,
};
use crate::formats::prices::Prices;
use columns::{Columns, CsvColumn};
use draft::PlanDraft;
use records::{CsvRecord, LINE_BREAK, Records};

/// The columns, as the names of the parts of a plan.
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

/// Reads a plan. Sections, rows and seats have the order in which they first appear. A seat without a label gets the
/// label `section-row-number`. A seat's own price, in whole minor units, takes precedence over `prices`.
///
/// # Errors
/// All problems, at most [`PROBLEMS_MAX`](crate::domain::plan::PROBLEMS_MAX). Their pointers are the line and,
/// where it is known, the column, both counted from 1: `line 7, column 3`. Reading stops after that many problems,
/// at the first seat above the limit, and at a line with far too many fields or bytes.
pub fn parse(document: &[u8], prices: &Prices) -> Result<ReadPlan, Vec<PlanError>> {
    let alone = |error| vec![error];
    let mut records = Records::of(document).map_err(alone)?;
    let header = records.read().map_err(alone)?;
    let (columns, notes) = Columns::of(header.as_ref())?;
    let mut reading = Reading::new(columns, prices, records.separator());
    while let Some(record) = records.read().map_err(alone)? {
        reading.add(&record);
        if reading.problems.is_full() {
            break;
        }
    }
    reading.finish().map(|plan| ReadPlan { plan, notes })
}

/// Writes a plan with all columns that it needs, CRLF at the end of each line. [`parse`] reads the same plan if no section
/// shares its name with another, nor a row with another of its section, none is empty, and there is no focal point.
#[must_use]
#[expect(clippy::expect_used, reason = "writing text to memory cannot fail")]
pub fn write(plan: &SeatPlan) -> String {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let is_written = |column: &CsvColumn| {
        column.is_always_written()
            || plan.seats().any(|(_, seat)| !seat_fields::write(*column, &seat).is_empty())
    };
    let columns: Vec<_> = CsvColumn::VARIANTS.iter().copied().filter(is_written).collect();
    writer
        .write_record(columns.iter().map(|column| column.name()))
        .expect("a Vec takes every write");
    for (_, seat) in plan.seats() {
        let fields = columns.iter().map(|column| seat_fields::write(*column, &seat));
        writer.write_record(fields.map(Cow::into_owned)).expect("a Vec takes every write");
    }
    let document = writer.into_inner().expect("a Vec takes every write");
    String::from_utf8(document).expect("fields and separators are UTF-8")
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

    /// Adds the seat of a line, or the problem of the line.
    fn add(&mut self, record: &CsvRecord) {
        // No text of a plan has several lines, so a quote is not closed.
        if let Some(column) = record.broken_field() {
            let at = records::place(record.line, Some(column));
            return self.problems.add(at, "line_break", LINE_BREAK);
        }
        if let Some(column) = self.columns.unnamed(record) {
            return self.report_unnamed(record, column);
        }
        let fields = record.fields.len();
        let columns = self.columns.count();
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
            let at = records::place(record.line, None);
            return self.problems.add_last(PlanError::new(at, "too_many_seats", message));
        }
        let seat = self.seat(record);
        let text = |column| self.columns.text(record, column);
        self.draft.add(text(CsvColumn::Section), text(CsvColumn::Row), seat, record.line);
    }

    /// Reports a text that is in no column with a name: after the last column, or in one with an empty header.
    fn report_unnamed(&mut self, record: &CsvRecord, column: usize) {
        let columns = self.columns.count();
        if column > columns {
            let message = format!(
                "the line has {} fields and the header {columns}: give each column its field, and put \
                 quotes around texts that contain the separator",
                record.fields.len()
            );
            return self.problems.add(records::place(record.line, None), "field_count", message);
        }
        let text = record.fields.get(column - 1).unwrap_or_default();
        let message = format!(
            "the column has no name in the header, but the text {}: name it, or remove the text",
            quoted(text)
        );
        self.problems.add(records::place(record.line, Some(column)), "column_unnamed", message);
    }

    fn seat(&mut self, record: &CsvRecord) -> PlanSeat {
        let text = |column| Some(self.columns.text(record, column)).filter(|text| !text.is_empty());
        let owned = |column| text(column).map(str::to_owned);
        let (number, category) =
            (owned(CsvColumn::Number).unwrap_or_default(), owned(CsvColumn::Category));
        let linked = owned(CsvColumn::Linked);
        let label = owned(CsvColumn::Label).unwrap_or_else(|| {
            let part = |column| text(column).unwrap_or_default();
            format!("{}-{}-{number}", part(CsvColumn::Section), part(CsvColumn::Row))
        });
        if let Some(category) = &category {
            self.categories.insert(category.clone());
        }
        let price = self.price(record, category.as_deref());
        let position =
            self.coordinate(record, CsvColumn::X).zip(self.coordinate(record, CsvColumn::Y));
        // A coordinate that is not a number is reported already. The other coordinate is dropped, so that a missing
        // coordinate is not reported in addition.
        let (x, y) = position.unwrap_or_default();
        let attributes = self.field(record, CsvColumn::Attributes, seat_fields::attributes);
        let gap = self.field(record, CsvColumn::Gap, seat_fields::gap);
        let rank = self.field(record, CsvColumn::Rank, seat_fields::rank);
        PlanSeat { number, label, price, category, x, y, attributes, gap, rank, linked }
    }

    /// The value of a column, by `read`; the default if it has a problem, which is reported here.
    fn field<T: Default>(
        &mut self,
        record: &CsvRecord,
        column: CsvColumn,
        read: fn(&str) -> Result<T, (&'static str, String)>,
    ) -> T {
        read(self.columns.text(record, column).trim()).unwrap_or_else(|(code, message)| {
            self.problems.add(self.columns.at(record.line, column), code, message);
            T::default()
        })
    }

    /// The price of the seat; zero if it has a problem, which is reported here.
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
                quoted(digits)
            );
            self.problems.add(
                self.columns.at(record.line, CsvColumn::Price),
                "price_invalid",
                message,
            );
            0
        })
    }

    /// A coordinate; `Some(None)` if the field is empty, `None` if it is not a number, which is reported here.
    fn coordinate(&mut self, record: &CsvRecord, column: CsvColumn) -> Option<Option<f64>> {
        let text = self.columns.text(record, column).trim();
        if text.is_empty() {
            return Some(None);
        }
        let number = if self.has_decimal_commas { text.replace(',', ".") } else { text.to_owned() };
        let number = number.parse().ok();
        if number.is_none() {
            let shown = quoted(text);
            let message = format!("{shown} is not a coordinate: give a number, such as 12.5");
            self.problems.add(self.columns.at(record.line, column), "position_invalid", message);
        }
        number.map(Some)
    }

    fn finish(mut self) -> Result<SeatPlan, Vec<PlanError>> {
        // If some lines were not read, the checks of the whole plan would report false problems.
        if self.problems.is_full() || self.draft.count() == 0 {
            std::mem::take(&mut self.problems).none_or_all()?;
        } else {
            self.check_prices();
        }
        let (sections, lines) = self.draft.finish();
        let locate = |pointer: String| lines.locate(&pointer, &self.columns);
        SeatPlan::checked(sections, None, &FIELD_NAMES, &locate, self.problems)
    }

    /// Checks that every seat has a price, and that every category with a price exists.
    fn check_prices(&mut self) {
        // A line with a problem was not added, and may be the one that has the category.
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

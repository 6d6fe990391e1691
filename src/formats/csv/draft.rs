//! A plan that grows seat by seat, and remembers the line that each seat comes from.

use std::collections::HashMap;

use crate::domain::plan::{PlanSeat, Row, SEATS_MAX, Section};
use crate::formats::csv::columns::{Columns, CsvColumn};
use crate::formats::csv::records::place;

/// Sections and rows in the order in which they first appeared.
#[derive(Default)]
pub(crate) struct PlanDraft {
    sections: Vec<DraftSection>,
    by_name: HashMap<String, usize>,
    count: usize,
}

struct DraftSection {
    name: String,
    rows: Vec<DraftRow>,
    by_name: HashMap<String, usize>,
}

struct DraftRow {
    row: Row,
    lines: Vec<usize>,
}

/// The line of each seat, by section and row.
pub(crate) struct SeatLines(Vec<Vec<Vec<usize>>>);

impl PlanDraft {
    /// Whether no plan has room for another seat.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= SEATS_MAX
    }

    /// Adds a seat behind the others of its row.
    pub(crate) fn add(&mut self, section: &str, row: &str, seat: PlanSeat, line: usize) {
        self.count += 1;
        let new = self.sections.len();
        let index = *self.by_name.entry(section.to_owned()).or_insert(new);
        if index == new {
            let (name, rows, by_name) = (section.to_owned(), Vec::new(), HashMap::new());
            self.sections.push(DraftSection { name, rows, by_name });
        }
        if let Some(section) = self.sections.get_mut(index) {
            section.add(row, seat, line);
        }
    }

    /// How many seats there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The sections as a plan has them, and where their seats come from.
    pub(crate) fn finish(self) -> (Vec<Section>, SeatLines) {
        let finish = |section: DraftSection| {
            let rows = section.rows.into_iter().map(|row| (row.row, row.lines));
            let (rows, lines) = rows.unzip();
            (Section { name: section.name, rows }, lines)
        };
        let (sections, lines) = self.sections.into_iter().map(finish).unzip();
        (sections, SeatLines(lines))
    }
}

impl DraftSection {
    fn add(&mut self, row: &str, seat: PlanSeat, line: usize) {
        let new = self.rows.len();
        let index = *self.by_name.entry(row.to_owned()).or_insert(new);
        if index == new {
            let row = Row { name: row.to_owned(), seats: Vec::new() };
            self.rows.push(DraftRow { row, lines: Vec::new() });
        }
        if let Some(row) = self.rows.get_mut(index) {
            row.row.seats.push(seat);
            row.lines.push(line);
        }
    }
}

impl SeatLines {
    /// Turns a pointer into the plan, such as `/sections/0/rows/1/seats/2/label`, into a place in the
    /// document. What is wrong with a section or row is told where its first seat is.
    pub(crate) fn locate(&self, pointer: &str, columns: &Columns) -> String {
        let mut indexes = pointer.split('/').filter_map(|part| part.parse::<usize>().ok());
        let section = indexes.next().and_then(|section| self.0.get(section));
        let row = section.and_then(|rows| rows.get(indexes.next().unwrap_or_default()));
        let line = row.and_then(|lines| lines.get(indexes.next().unwrap_or_default()));
        let column = pointer.rsplit('/').next().and_then(CsvColumn::named);
        match (line, column) {
            (Some(line), Some(column)) => columns.at(*line, column),
            (Some(line), None) => place(*line, None),
            (None, _) => String::new(),
        }
    }
}

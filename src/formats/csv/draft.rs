//! A plan that is built seat by seat, with the line of each seat.

use indexmap::IndexMap;

use crate::domain::plan::{PlanSeat, Row, SEATS_MAX, Section};
use crate::formats::csv::columns::{Columns, CsvColumn};
use crate::formats::csv::records::place;

/// Sections and their rows by name, in the order in which they first appeared.
#[derive(Default)]
pub(crate) struct PlanDraft {
    sections: IndexMap<String, IndexMap<String, DraftRow>>,
    count: usize,
}

#[derive(Default)]
struct DraftRow {
    seats: Vec<PlanSeat>,
    lines: Vec<usize>,
}

/// The line of each seat, by section and row.
pub(crate) struct SeatLines(Vec<Vec<Vec<usize>>>);

impl PlanDraft {
    /// Whether the plan has as many seats as a plan may have.
    pub(crate) fn is_full(&self) -> bool {
        self.count >= SEATS_MAX
    }

    /// Adds a seat at the end of its row.
    pub(crate) fn add(&mut self, section: &str, row: &str, seat: PlanSeat, line: usize) {
        self.count += 1;
        let rows = self.sections.entry(section.to_owned()).or_default();
        let row = rows.entry(row.to_owned()).or_default();
        row.seats.push(seat);
        row.lines.push(line);
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The sections of the plan, and the lines of their seats.
    pub(crate) fn finish(self) -> (Vec<Section>, SeatLines) {
        let row = |(name, DraftRow { seats, lines })| (Row { name, seats }, lines);
        let section = |(name, rows): (String, IndexMap<String, DraftRow>)| {
            let (rows, lines) = rows.into_iter().map(row).unzip();
            (Section { name, rows }, lines)
        };
        let (sections, lines) = self.sections.into_iter().map(section).unzip();
        (sections, SeatLines(lines))
    }
}

impl SeatLines {
    /// Turns a pointer into the plan, such as `/sections/0/rows/1/seats/2/label`, into a place in the document. The
    /// place of a section or row is that of its first seat.
    pub(crate) fn locate(&self, pointer: &str, columns: &Columns) -> String {
        let mut indexes = pointer.split('/').filter_map(|part| part.parse::<usize>().ok());
        let section = indexes.next().and_then(|section| self.0.get(section));
        let row = section.and_then(|rows| rows.get(indexes.next().unwrap_or_default()));
        let line = row.and_then(|lines| lines.get(indexes.next().unwrap_or_default()));
        let column: Option<CsvColumn> =
            pointer.rsplit('/').next().and_then(|field| field.parse().ok());
        match (line, column) {
            (Some(line), Some(column)) => columns.at(*line, column),
            (Some(line), None) => place(*line, None),
            (None, _) => String::new(),
        }
    }
}

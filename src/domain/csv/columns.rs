//! The columns of a plan: their names, and where the header puts them.

use super::records::Record;
use crate::domain::plan::{PlanError, Problems, first_ten};

/// A column that a plan may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Section,
    Row,
    Number,
    Label,
    X,
    Y,
    Category,
    Price,
}

impl Column {
    /// Every column, in the order in which they are written.
    pub(super) const ALL: [Self; 8] = [
        Self::Section,
        Self::Row,
        Self::Number,
        Self::Label,
        Self::X,
        Self::Y,
        Self::Category,
        Self::Price,
    ];

    /// Those that every document has.
    const REQUIRED: [Self; 3] = [Self::Section, Self::Row, Self::Number];

    /// What the header calls it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Section => "section",
            Self::Row => "row",
            Self::Number => "number",
            Self::Label => "label",
            Self::X => "x",
            Self::Y => "y",
            Self::Category => "category",
            Self::Price => "price",
        }
    }

    /// The column of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.name() == name)
    }
}

/// The columns that a document has, in its own order.
#[derive(Debug)]
pub(super) struct Columns(Vec<Column>);

impl Columns {
    /// Reads the header; fails with all that is wrong with it.
    pub(super) fn of(header: Option<&Record>) -> Result<Self, Vec<PlanError>> {
        let known = "the columns are section, row, number and, if wanted, label, x, y, category, \
                     price, with commas or semicolons between them";
        let mut problems = Problems::default();
        let Some(header) = header else {
            let message = format!("the document is empty: begin it with a header; {known}");
            return Err(vec![PlanError {
                pointer: String::new(),
                code: "header_missing",
                message,
            }]);
        };
        let mut columns = Vec::new();
        for (position, name) in (1..).zip(&header.fields) {
            let at = place(header.line, Some(position));
            let shown = first_ten([(name, None)]);
            match Column::named(name) {
                None => {
                    let message = format!("there is no column {shown}: {known}");
                    problems.add(at, "column_unknown", message);
                }
                Some(column) if columns.contains(&column) => {
                    let message = format!("the column {shown} is there already: remove one");
                    problems.add(at, "column_repeated", message);
                }
                Some(column) => columns.push(column),
            }
        }
        for column in Column::REQUIRED.iter().filter(|column| !columns.contains(column)) {
            let message = format!("the column `{}` is missing: {known}", column.name());
            problems.add(place(header.line, None), "column_missing", message);
        }
        problems.none_or_all()?;
        Ok(Self(columns))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// What a record says in a column; nothing if the document does not have the column.
    pub(super) fn text<'r>(&self, record: &'r Record, column: Column) -> &'r str {
        self.index(column).and_then(|index| record.fields.get(index)).unwrap_or_default()
    }

    /// A place in the document, as far as the document has this column.
    pub(super) fn at(&self, line: usize, column: Column) -> String {
        place(line, self.index(column).map(|index| index + 1))
    }

    fn index(&self, column: Column) -> Option<usize> {
        self.0.iter().position(|known| *known == column)
    }
}

/// A place in a document: a line, or one of its fields; both count from 1.
pub(super) fn place(line: usize, column: Option<usize>) -> String {
    match column {
        Some(column) => format!("line {line}, column {column}"),
        None => format!("line {line}"),
    }
}

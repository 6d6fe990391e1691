//! The columns of a plan: their names, and their order in the header.

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::domain::name;
use crate::domain::plan::{PlanError, Problems, quoted};
use crate::formats::csv::records::{CsvRecord, place};

/// A column that a plan may have, in the order in which they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub(crate) enum CsvColumn {
    Section,
    Row,
    Number,
    Label,
    X,
    Y,
    Category,
    Price,
    Attributes,
    Gap,
    Rank,
    Linked,
}

impl CsvColumn {
    /// The columns that every document must have.
    const REQUIRED: [Self; 3] = [Self::Section, Self::Row, Self::Number];

    /// Whether every plan that is written has it. The others are written if a seat has a value, so that a plan without
    /// them is written with the same bytes as before there were such columns.
    pub(crate) const fn is_always_written(self) -> bool {
        !matches!(self, Self::Attributes | Self::Gap | Self::Rank | Self::Linked)
    }

    /// Its name in the header.
    pub(crate) const fn name(self) -> &'static str {
        self.into_str()
    }

    /// Its names in other programs, in small letters, with blanks between words.
    const fn synonyms(self) -> &'static [&'static str] {
        match self {
            Self::Section => &["zone", "area", "sector", "block", "section name"],
            Self::Row => &["row name", "row number"],
            Self::Number => &["seat", "seat number", "seat no"],
            Self::Label => &["seat label", "seat id"],
            Self::X => &["x position"],
            Self::Y => &["y position"],
            Self::Category => &["price category", "category name"],
            Self::Price => &["seat price"],
            Self::Attributes => &["attribute", "seat attributes"],
            Self::Gap => &["gap before"],
            Self::Rank => &["seat rank"],
            Self::Linked => &["linked group", "table"],
        }
    }

    /// The column of a header, in any case and with blanks around it.
    fn of_header(header: &str) -> Option<Self> {
        let words = name::folded(header).to_lowercase().replace(['_', '-', '.'], " ");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        let by_synonym = || {
            let mut columns = Self::VARIANTS.iter().copied();
            columns.find(|column| column.synonyms().contains(&words.as_str()))
        };
        words.parse().ok().or_else(by_synonym)
    }
}

/// The columns of a document, in its own order. A column without a name must be empty in every line.
#[derive(Debug)]
pub(crate) struct Columns(Vec<Option<CsvColumn>>);

impl Columns {
    /// Reads the header, with notes on what was read differently from how it was written. Fails with all problems.
    pub(crate) fn of(header: Option<&CsvRecord>) -> Result<(Self, Vec<String>), Vec<PlanError>> {
        let known = "the columns are section, row, number and, if wanted, label, x, y, category, \
                     price, attributes, gap, rank, linked, with commas, semicolons or tabs between them";
        let mut problems = Problems::default();
        let Some(header) = header else {
            let message = format!("the document is empty: begin it with a header; {known}");
            return Err(vec![PlanError::new("", "header_missing", message)]);
        };
        let mut columns = Self(Vec::new());
        let mut notes = Vec::new();
        for (position, header_name) in (1..).zip(&header.fields) {
            let at = || place(header.line, Some(position));
            let shown = quoted(header_name);
            if name::folded(header_name).is_empty() {
                columns.0.push(None);
                continue;
            }
            let Some(column) = CsvColumn::of_header(header_name) else {
                let message = format!("there is no column {shown}: {known}");
                problems.add(at(), "column_unknown", message);
                columns.0.push(None);
                continue;
            };
            if let Some(earlier) = columns.index(column) {
                let message = format!(
                    "the column {shown} means `{}`, and column {} does, too: remove one",
                    column.name(),
                    earlier + 1
                );
                problems.add(at(), "column_repeated", message);
                columns.0.push(None);
                continue;
            }
            columns.0.push(Some(column));
            if !header_name.trim().eq_ignore_ascii_case(column.name()) {
                notes.push(format!("column {position}, {shown}, was read as `{}`", column.name()));
            }
        }
        let missing: Vec<_> = CsvColumn::REQUIRED
            .into_iter()
            .filter(|column| columns.index(*column).is_none())
            .map(|column| quoted(column.name()))
            .collect();
        if !missing.is_empty() {
            let message =
                format!("there is no column {}: {known}", missing.join(" and no column "));
            problems.add(place(header.line, None), "column_missing", message);
        }
        problems.none_or_all()?;
        let unnamed = (1..).zip(&columns.0).filter(|(_, column)| column.is_none());
        notes.extend(unnamed.map(|(position, _)| {
            format!("column {position} has no name, is empty in every line, and was ignored")
        }));
        Ok((columns, notes))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The fewest fields of a line: columns without a name may be left out at the end.
    pub(crate) fn count_needed(&self) -> usize {
        self.0.iter().rposition(Option::is_some).map_or(0, |last| last + 1)
    }

    /// The first field with text, counted from 1, that is in no column with a name.
    pub(crate) fn unnamed(&self, record: &CsvRecord) -> Option<usize> {
        let unnamed = |(index, field): &(usize, &str)| {
            self.0.get(*index).is_none_or(Option::is_none) && !field.trim().is_empty()
        };
        record.fields.iter().enumerate().find(unnamed).map(|(index, _)| index + 1)
    }

    /// The text of a record in a column; empty if the document does not have the column.
    pub(crate) fn text<'r>(&self, record: &'r CsvRecord, column: CsvColumn) -> &'r str {
        self.index(column).and_then(|index| record.fields.get(index)).unwrap_or_default()
    }

    /// A place in the document: the line, and the column if the document has it.
    pub(crate) fn at(&self, line: usize, column: CsvColumn) -> String {
        place(line, self.index(column).map(|index| index + 1))
    }

    fn index(&self, column: CsvColumn) -> Option<usize> {
        self.0.iter().position(|known| *known == Some(column))
    }
}

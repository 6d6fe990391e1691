//! From bytes to records, each with the line it begins in. The `csv` crate reads them: what RFC 4180
//! leaves open, such as a quote inside a field without quotes, is taken as spreadsheets take it.

use std::io::{Chain, Read as _};

use ::csv::{ErrorKind, Reader, ReaderBuilder, StringRecord};

use super::columns::place;
use crate::domain::plan::PlanError;

/// One record.
#[derive(Debug)]
pub(super) struct Record {
    /// Where it begins, counted from 1.
    pub(super) line: usize,
    /// At least one, and one of them has text.
    pub(super) fields: StringRecord,
}

impl Record {
    /// The column, counted from 1, of a field that goes on over lines.
    pub(super) fn broken_field(&self) -> Option<usize> {
        let broken = |(_, field): &(usize, &str)| field.contains(['\r', '\n']);
        (1..).zip(&self.fields).find(broken).map(|(column, _)| column)
    }
}

/// The records of a document. All of it is in memory; reading it is no I/O.
pub(super) struct Records<'a> {
    separator: u8,
    reader: Reader<Chain<&'a [u8], &'a [u8]>>,
    lines: Lines<'a>,
}

impl<'a> Records<'a> {
    pub(super) fn of(document: &'a [u8]) -> Self {
        let separator = separator(document);
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(separator);
        // With a line end at the end, a quote that is never closed shows as a field with a line break.
        let reader = builder.from_reader(document.chain(b"\n".as_slice()));
        Self { separator, reader, lines: Lines { rest: document, offset: 0, line: 1 } }
    }

    /// `,` or `;`.
    pub(super) fn separator(&self) -> u8 {
        self.separator
    }

    /// The next record with any text in it. Spreadsheets like to end a document with lines of nothing
    /// but separators.
    pub(super) fn read(&mut self) -> Result<Option<Record>, PlanError> {
        let mut fields = StringRecord::new();
        while self.reader.read_record(&mut fields).map_err(|error| self.unreadable(&error))? {
            if fields.iter().any(|field| !field.is_empty()) {
                let offset = fields.position().map_or(0, ::csv::Position::byte);
                return Ok(Some(Record { line: self.lines.at(offset), fields }));
            }
        }
        Ok(None)
    }

    fn unreadable(&mut self, error: &::csv::Error) -> PlanError {
        let pointer = match error.kind() {
            ErrorKind::Utf8 { pos: Some(position), err } => {
                place(self.lines.at(position.byte()), Some(err.field() + 1))
            }
            _ => String::new(),
        };
        let message = "the text is not UTF-8: save the document as UTF-8 (in a spreadsheet, as \
                       “CSV UTF-8”)";
        PlanError { pointer, code: "not_utf8", message: message.to_owned() }
    }
}

/// What stands between the fields: `;` if the first line has one and no comma, since no column's name
/// has either.
fn separator(document: &[u8]) -> u8 {
    let mut lines = document.split(|byte| is_line_end(*byte));
    let first = lines.find(|line| !line.is_empty()).unwrap_or_default();
    if first.contains(&b';') && !first.contains(&b',') { b';' } else { b',' }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Counts lines on the way through a document. The library counts, too, but is behind by one after
/// CRLF, and does not count CR.
struct Lines<'a> {
    rest: &'a [u8],
    offset: u64,
    line: usize,
}

impl Lines<'_> {
    /// The line, counted from 1, of the first text at or behind an offset, which never goes back.
    fn at(&mut self, offset: u64) -> usize {
        while let Some((byte, rest)) = self.rest.split_first() {
            if self.offset >= offset && !is_line_end(*byte) {
                break;
            }
            // CRLF ends one line, not two.
            let ends = *byte == b'\n' || *byte == b'\r' && rest.first() != Some(&b'\n');
            self.line += usize::from(ends);
            self.rest = rest;
            self.offset += 1;
        }
        self.line
    }
}

//! From bytes to records, each with the line it begins in. The `csv-core` crate reads them: what RFC 4180
//! leaves open, such as a quote inside a field without quotes, is taken as spreadsheets take it. A record
//! is read into buffers of a fixed size, so no document decides how much memory that takes.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::domain::plan::PlanError;

/// The most fields of a line. Spreadsheets write empty ones behind those that have a meaning.
const FIELDS_MAX: usize = 256;

/// The most bytes in the fields of a line: ten times what the longest texts of a seat have.
const RECORD_MAX: usize = 32 * 1024;

/// UTF-8's byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What may stand between fields.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// One record.
#[derive(Debug)]
pub(crate) struct CsvRecord {
    /// Where it begins, counted from 1.
    pub(crate) line: usize,
    text: String,
    /// Where each field ends in `text`.
    ends: Vec<usize>,
}

impl CsvRecord {
    /// How many fields there are: at least one.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// A field, counted from 0.
    pub(crate) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before)).copied();
        self.text.get(start.unwrap_or_default()..end)
    }

    /// All fields.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.count()).filter_map(|index| self.get(index))
    }

    /// The column, counted from 1, of a field that goes on over lines.
    pub(crate) fn broken_field(&self) -> Option<usize> {
        let broken = |(_, field): &(usize, &str)| field.contains(['\r', '\n']);
        (1..).zip(self.fields()).find(broken).map(|(column, _)| column)
    }
}

/// The records of a document. All of it is in memory; reading it is no I/O.
pub(crate) struct Records<'a> {
    separator: u8,
    reader: Box<Reader>,
    document: &'a [u8],
    /// How much of the document has been read.
    read: usize,
    lines: Lines<'a>,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

impl<'a> Records<'a> {
    /// Fails if the document is not in UTF-8 as far as its first bytes tell, or asks for a separator
    /// that is none.
    pub(crate) fn of(document: &'a [u8]) -> Result<Self, PlanError> {
        refuse_utf16(document)?;
        let (separator, read) = opening(document)?;
        let reader = Box::new(ReaderBuilder::new().delimiter(separator).build());
        let lines = Lines { rest: document, offset: 0, line: 1 };
        let (fields, ends) = (vec![0; RECORD_MAX], vec![0; FIELDS_MAX]);
        Ok(Self { separator, reader, document, read, lines, fields, ends })
    }

    /// What stands between the fields.
    pub(crate) fn separator(&self) -> u8 {
        self.separator
    }

    /// The next record with any text in it. Spreadsheets like to end a document with lines of nothing
    /// but separators.
    pub(crate) fn read(&mut self) -> Result<Option<CsvRecord>, PlanError> {
        loop {
            let begin = self.read;
            let Some((bytes, count)) = self.read_raw()? else { return Ok(None) };
            if bytes > 0 {
                return self.record(begin, bytes, count).map(Some);
            }
        }
    }

    /// Reads a record into the buffers; gives its bytes and fields.
    fn read_raw(&mut self) -> Result<Option<(usize, usize)>, PlanError> {
        let (begin, mut bytes, mut count) = (self.read, 0, 0);
        loop {
            // With a line end behind the document, a quote that is never closed shows as a field with a
            // line break.
            let rest = match self.document.get(self.read..) {
                Some([]) => b"\n".as_slice(),
                Some(rest) => rest,
                None => &[],
            };
            let fields = self.fields.get_mut(bytes..).unwrap_or_default();
            let ends = self.ends.get_mut(count..).unwrap_or_default();
            let (result, read, written, ended) = self.reader.read_record(rest, fields, ends);
            self.read += read;
            bytes += written;
            count += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::Record => return Ok(Some((bytes, count))),
                ReadRecordResult::End => return Ok(None),
                ReadRecordResult::OutputEndsFull => {
                    let line = self.lines.at(begin);
                    let message = format!(
                        "the line has more than {FIELDS_MAX} fields: remove what stands behind the \
                         columns of the plan"
                    );
                    let pointer = place(line, None);
                    return Err(PlanError { pointer, code: "field_count", message });
                }
                ReadRecordResult::OutputFull => return Err(self.too_long(begin, count)),
            }
        }
    }

    fn too_long(&mut self, begin: usize, count: usize) -> PlanError {
        let start = count.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
        let open = self.fields.get(start.unwrap_or_default()..).unwrap_or_default();
        let line = self.lines.at(begin);
        if open.iter().any(|byte| is_line_end(*byte)) {
            let (pointer, message) = (place(line, Some(count + 1)), LINE_BREAK.to_owned());
            return PlanError { pointer, code: "line_break", message };
        }
        let message = format!(
            "the line has more than {RECORD_MAX} bytes: shorten its texts, or check that the document \
             is CSV"
        );
        PlanError { pointer: place(line, None), code: "line_too_long", message }
    }

    fn record(&mut self, begin: usize, bytes: usize, count: usize) -> Result<CsvRecord, PlanError> {
        let line = self.lines.at(begin);
        let ends = self.ends.get(..count).unwrap_or_default().to_vec();
        let (mut text, mut start) = (String::with_capacity(bytes), 0);
        for (column, end) in (1..).zip(&ends) {
            // Field by field: bytes on both sides of a separator are no character together.
            let field = std::str::from_utf8(self.fields.get(start..*end).unwrap_or_default());
            text.push_str(field.map_err(|_| not_utf8(place(line, Some(column))))?);
            start = *end;
        }
        Ok(CsvRecord { line, text, ends })
    }
}

/// The message for a field that goes on over lines.
pub(crate) const LINE_BREAK: &str =
    "the field goes on over lines: close its quote, or write it on one line";

fn not_utf8(pointer: String) -> PlanError {
    let message = "the text is not UTF-8: save the document as UTF-8 (in a spreadsheet, as \
                   “CSV UTF-8”)";
    PlanError { pointer, code: "not_utf8", message: message.to_owned() }
}

/// Spreadsheets write UTF-16 when they are asked for “Unicode text”.
fn refuse_utf16(document: &[u8]) -> Result<(), PlanError> {
    let has_mark = document.starts_with(b"\xFF\xFE") || document.starts_with(b"\xFE\xFF");
    let has_nul = document.iter().take(4).any(|byte| *byte == 0);
    if has_mark || has_nul {
        let message = "the document is UTF-16: save it as UTF-8 (in a spreadsheet, as “CSV UTF-8”)";
        let pointer = place(1, Some(1));
        return Err(PlanError { pointer, code: "not_utf8", message: message.to_owned() });
    }
    Ok(())
}

/// The separator, and where the records begin. A first line `sep=;` names the separator, as spreadsheets
/// write it. Otherwise it is the one that the first line has most of, since no column's name has any.
fn opening(document: &[u8]) -> Result<(u8, usize), PlanError> {
    let mark = if document.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let text = document.get(mark..).unwrap_or_default();
    let blank = text.iter().take_while(|byte| is_line_end(**byte)).count();
    let text = text.get(blank..).unwrap_or_default();
    let first = text.split(|byte| is_line_end(*byte)).next().unwrap_or_default();
    let named =
        first.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(first);
    if named.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"sep=")) {
        return match named.get(4..) {
            Some([separator]) if SEPARATORS.contains(separator) => {
                Ok((*separator, mark + blank + first.len()))
            }
            _ => {
                let message = "the first line must name a comma, a semicolon or a tab as separator, \
                               such as `sep=;`; or leave it out";
                let line = Lines { rest: document, offset: 0, line: 1 }.at(mark + blank);
                let pointer = place(line, None);
                Err(PlanError { pointer, code: "separator_unknown", message: message.to_owned() })
            }
        };
    }
    let times = |separator: u8| first.iter().filter(|byte| **byte == separator).count();
    // Of several the last is taken, so the comma, which is the usual one, comes last.
    let separator = SEPARATORS.into_iter().rev().max_by_key(|separator| times(*separator));
    Ok((separator.unwrap_or(b','), mark))
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Counts lines on the way through a document. The library counts, too, but is behind by one after
/// CRLF, and does not count CR.
struct Lines<'a> {
    rest: &'a [u8],
    offset: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line, counted from 1, of the first text at or behind an offset, which never goes back.
    fn at(&mut self, offset: usize) -> usize {
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

/// A place in a document: a line, or one of its fields; both count from 1.
pub(crate) fn place(line: usize, column: Option<usize>) -> String {
    match column {
        Some(column) => format!("line {line}, column {column}"),
        None => format!("line {line}"),
    }
}

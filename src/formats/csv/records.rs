//! CSV records, each with the number of its first line. The `csv-core` crate reads them into buffers of a fixed size,
//! which bounds the memory for any document. Where RFC 4180 leaves a choice, the crate reads as spreadsheets do.

use ::csv::StringRecord;
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::domain::plan::PlanError;

/// The most fields of a line. Spreadsheets write empty fields after those of the plan.
const FIELDS_MAX: usize = 256;

/// The most bytes in the fields of a line: ten times the longest texts of a seat.
const RECORD_MAX: usize = 32 * 1024;

/// UTF-8's byte order mark.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// The characters that separate fields.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// One record.
#[derive(Debug)]
pub(crate) struct CsvRecord {
    /// Its first line, counted from 1.
    pub(crate) line: usize,
    /// At least one.
    pub(crate) fields: StringRecord,
}

impl CsvRecord {
    /// The column, counted from 1, of a field with a line break.
    pub(crate) fn broken_field(&self) -> Option<usize> {
        self.fields.iter().position(|field| field.contains(['\r', '\n'])).map(|index| index + 1)
    }
}

/// The records of a document in memory.
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
    /// Fails if the first bytes are UTF-16, or the document names another separator than the accepted ones.
    pub(crate) fn of(document: &'a [u8]) -> Result<Self, PlanError> {
        refuse_utf16(document)?;
        let (separator, read) = separator_and_start(document)?;
        let reader = Box::new(ReaderBuilder::new().delimiter(separator).build());
        let lines = Lines { rest: document, offset: 0, line: 1 };
        let fields = vec![0; RECORD_MAX];
        let ends = vec![0; FIELDS_MAX];
        Ok(Self { separator, reader, document, read, lines, fields, ends })
    }

    /// The character that separates fields.
    pub(crate) fn separator(&self) -> u8 {
        self.separator
    }

    /// The next record with text. Spreadsheets write lines with separators only at the end of documents.
    pub(crate) fn read(&mut self) -> Result<Option<CsvRecord>, PlanError> {
        loop {
            let begin = self.read;
            let Some((bytes, count)) = self.read_raw()? else { return Ok(None) };
            if bytes > 0 {
                return self.record(begin, bytes, count).map(Some);
            }
        }
    }

    /// Reads a record into the buffers. Returns its numbers of bytes and fields.
    fn read_raw(&mut self) -> Result<Option<(usize, usize)>, PlanError> {
        let begin = self.read;
        let mut bytes = 0;
        let mut count = 0;
        loop {
            // A line end is added after the document, so that a quote that is never closed becomes a field with a
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
                    return Err(PlanError::new(place(line, None), "field_count", message));
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
            return PlanError::new(place(line, Some(count + 1)), "line_break", LINE_BREAK);
        }
        let message = format!(
            "the line has more than {RECORD_MAX} bytes: shorten its texts, or check that the document \
             is CSV"
        );
        PlanError::new(place(line, None), "line_too_long", message)
    }

    fn record(&mut self, begin: usize, bytes: usize, count: usize) -> Result<CsvRecord, PlanError> {
        let line = self.lines.at(begin);
        let mut fields = StringRecord::with_capacity(bytes, count);
        let mut start = 0;
        for (column, end) in (1..).zip(self.ends.iter().take(count)) {
            // Decoded field by field: bytes on both sides of a separator are not one character.
            let field = std::str::from_utf8(self.fields.get(start..*end).unwrap_or_default());
            fields.push_field(field.map_err(|_| not_utf8(place(line, Some(column))))?);
            start = *end;
        }
        Ok(CsvRecord { line, fields })
    }
}

/// The message for a field with a line break.
pub(crate) const LINE_BREAK: &str =
    "the field goes on over lines: close its quote, or write it on one line";

fn not_utf8(pointer: String) -> PlanError {
    let message = "the text is not UTF-8: save the document as UTF-8 (in a spreadsheet, as \
                   “CSV UTF-8”)";
    PlanError::new(pointer, "not_utf8", message)
}

/// Refuses UTF-16, which spreadsheets write as “Unicode text”.
fn refuse_utf16(document: &[u8]) -> Result<(), PlanError> {
    let has_mark = document.starts_with(b"\xFF\xFE") || document.starts_with(b"\xFE\xFF");
    let has_nul = document.iter().take(4).any(|byte| *byte == 0);
    if has_mark || has_nul {
        let message = "the document is UTF-16: save it as UTF-8 (in a spreadsheet, as “CSV UTF-8”)";
        return Err(PlanError::new(place(1, Some(1)), "not_utf8", message));
    }
    Ok(())
}

/// The separator, and the offset of the first record. A first line `sep=;`, which some spreadsheets write, names the
/// separator. Otherwise it is the most frequent accepted separator of the first line: no column name contains one.
fn separator_and_start(document: &[u8]) -> Result<(u8, usize), PlanError> {
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
                Err(PlanError::new(place(line, None), "separator_unknown", message))
            }
        };
    }
    let times = |separator: u8| first.iter().filter(|byte| **byte == separator).count();
    // Of equal counts, `max_by_key` returns the last, so the comma is the last in this order.
    let separator = SEPARATORS.into_iter().rev().max_by_key(|separator| times(*separator));
    Ok((separator.unwrap_or(b','), mark))
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Counts lines. The library's own count is off by one after CRLF, and omits CR.
struct Lines<'a> {
    rest: &'a [u8],
    offset: usize,
    line: usize,
}

impl Lines<'_> {
    /// The line, counted from 1, of the first text at or after an offset. Offsets must not decrease.
    fn at(&mut self, offset: usize) -> usize {
        while let Some((byte, rest)) = self.rest.split_first() {
            if self.offset >= offset && !is_line_end(*byte) {
                break;
            }
            let ends = *byte == b'\n' || *byte == b'\r' && rest.first() != Some(&b'\n');
            self.line += usize::from(ends);
            self.rest = rest;
            self.offset += 1;
        }
        self.line
    }
}

/// A place in a document: a line, or one of its fields, both counted from 1.
pub(crate) fn place(line: usize, column: Option<usize>) -> String {
    match column {
        Some(column) => format!("line {line}, column {column}"),
        None => format!("line {line}"),
    }
}

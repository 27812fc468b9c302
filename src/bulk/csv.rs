//! Tables (RFC 4180): a row of column names, then a patient on each row. Delimiters are commas, semicolons, tabs or bars.
//!
//! The columns are in [`columns`]. A column that is not known is refused until the operator says what it is, because a
//! value that is silently left out may be the one that tells two patients apart.

pub mod columns;
mod row;

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use csv_core::ReadRecordResult;
use serde::{Deserialize, Serialize};

use self::columns::{Column, Field};
use super::window::Window;
use super::{LONGEST, OpenError, Piece, REJECTED, Rules, Told, Unread};
use crate::hl7v2::charset::Charset;
use crate::id::Timestamp;
use crate::pix::feed_v2::FeedRequest;
use crate::storage::identities::Place;

pub use row::{Dates, RowError};

/// What a table needs to be told about, beyond what its names of columns tell.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Options {
    /// What columns are, by their names in the file; an empty one is left out.
    pub columns: BTreeMap<String, String>,
    /// How dates are written.
    pub dates: Dates,
}

/// Why a table was not begun.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// The first row is no row of names.
    #[error("the first row is longer than {0} bytes; it must have the names of the columns")]
    TooLong(usize),
    /// Names that are not known.
    #[error(
        "these columns are not known: {}; say what each is with --column \"NAME=FIELD\", or leave it out with \
         --column \"NAME=\"",
        .0.join(", ")
    )]
    Unknown(Vec<String>),
    /// `--column` names a column that is not there.
    #[error("--column names {0}, which is no column of the file")]
    Absent(String),
    /// `--column` names a field that does not exist.
    #[error("--column names the field {0}, which does not exist")]
    NoField(String),
    /// Two columns say the same.
    #[error("two columns are both {0}")]
    Twice(String),
    /// Nothing identifies a patient.
    #[error(
        "no column has the patient identifier; one must be named id, or be said to be it with --column \"NAME=id\""
    )]
    NoId,
}

/// Reads a table.
pub struct Reader<R> {
    window: Window<R>,
    rules: Rules,
    columns: Vec<Column>,
    heading: Vec<u8>,
    parser: csv_core::Reader,
    delimiter: u8,
    fields: Vec<u8>,
    ends: Vec<usize>,
}

/// What the parser found in view.
enum Found {
    /// A row of so many bytes, of which so many fields are read.
    Row(usize, usize),
    TooLong,
    End,
}

impl<R: Read + Seek> Reader<R> {
    pub(super) fn open(file: R, from: Place, rules: Rules) -> Result<Self, OpenError> {
        let mut reader = Self {
            window: Window::open(file, Place::default())?,
            rules,
            columns: Vec::new(),
            heading: Vec::new(),
            parser: csv_core::Reader::new(),
            delimiter: b',',
            fields: vec![0; LONGEST],
            ends: vec![0; 4_096],
        };
        reader.read_header()?;
        if from.offset > 0 {
            let Self { window, .. } = reader;
            reader = Self { window: window.reopen(from)?, ..reader };
        }
        Ok(reader)
    }

    fn read_header(&mut self) -> Result<(), OpenError> {
        self.pass_over()?;
        let length = self.window.line_length(LONGEST, |byte| byte == b'\n' || byte == b'\r')?;
        let line = &self.window.bytes()[..length];
        let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
        self.delimiter = [b',', b';', b'\t', b'|'].into_iter().rev().max_by_key(|one| count(*one)).unwrap_or(b',');
        self.parser = self.new_parser();
        let names = match self.find()? {
            Found::Row(length, fields) => {
                self.heading = self.window.bytes()[..length].trim_ascii_end().to_vec();
                self.heading.push(b'\n');
                let names = (0..fields).map(|at| self.field(at)).collect::<Vec<_>>();
                self.window.consume(length);
                names
            }
            Found::TooLong => return Err(HeaderError::TooLong(LONGEST).into()),
            Found::End => return Err(HeaderError::Empty.into()),
        };
        self.columns = columns::named(&names, &self.rules.table.columns)?;
        Ok(())
    }

    fn new_parser(&self) -> csv_core::Reader {
        csv_core::ReaderBuilder::new().delimiter(self.delimiter).build()
    }

    pub(super) fn heading(&self) -> &[u8] {
        &self.heading
    }

    pub(super) fn place(&self) -> Place {
        self.window.place(0)
    }

    pub(super) fn next(&mut self) -> std::io::Result<Option<Piece>> {
        self.pass_over()?;
        let (line, from) = (self.window.line(), self.window.offset());
        let (length, content) = match self.find()? {
            Found::End => return Ok(None),
            Found::Row(length, fields) => (length, self.decode(fields)),
            Found::TooLong => {
                // What opened a quotation and did not close it is this line; the next is a row of its own.
                self.window.skip_line(|byte| byte == b'\n')?;
                let to = self.window.offset();
                return Ok(Some(Piece { line, from, to, content: Err(Unread::TooLong(LONGEST)) }));
            }
        };
        self.window.consume(length);
        Ok(Some(Piece { line, from, to: self.window.offset(), content }))
    }

    /// Empty lines, and those that tell why a row was rejected before.
    fn pass_over(&mut self) -> std::io::Result<()> {
        loop {
            self.window.skip(|byte| byte == b'\n' || byte == b'\r')?;
            self.window.at_least(REJECTED.len())?;
            if !self.window.bytes().starts_with(REJECTED) {
                return Ok(());
            }
            self.window.skip_line(|byte| byte == b'\n' || byte == b'\r')?;
        }
    }

    /// Has the parser find the end of the row in view and take its fields apart.
    fn find(&mut self) -> std::io::Result<Found> {
        let (mut read, mut written, mut fields) = (0, 0, 0);
        self.parser.reset();
        loop {
            let input = self.window.bytes().get(read..).unwrap_or_default();
            let (result, taken, put, ended) =
                self.parser.read_record(input, &mut self.fields[written..], &mut self.ends[fields..]);
            (read, written, fields) = (read + taken, written + put, fields + ended);
            match result {
                ReadRecordResult::Record => return Ok(Found::Row(read, fields)),
                ReadRecordResult::End => return Ok(Found::End),
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => return Ok(Found::TooLong),
                ReadRecordResult::InputEmpty if read > LONGEST => return Ok(Found::TooLong),
                // At the end of the file the parser is given nothing, which ends the last row.
                ReadRecordResult::InputEmpty => drop(self.window.fill()?),
            }
        }
    }

    fn field(&self, at: usize) -> String {
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        let bytes = self.fields.get(start..self.ends[at]).unwrap_or_default();
        // UTF-8, else windows-1252, which spreadsheets write.
        Charset::Undeclared.decode(bytes).unwrap_or_default().trim().to_owned()
    }

    fn decode(&self, fields: usize) -> Result<Vec<Told>, Unread> {
        if fields != self.columns.len() {
            return Err(RowError::Fields { expected: self.columns.len(), found: fields }.into());
        }
        let values = self.columns.iter().enumerate().filter(|(_, column)| column.field != Field::Ignored);
        let values = values.map(|(at, column)| (*column, self.field(at))).filter(|(_, value)| !value.is_empty());
        Ok(vec![row::decode(&values.collect(), &self.rules)?])
    }
}

/// The columns of a table that we write.
pub fn heading() -> Vec<u8> {
    let names: Vec<String> = columns::written().map(|column| column.name()).collect();
    let mut line = names.join(",").into_bytes();
    line.push(b'\n');
    line
}

/// A change as rows: mostly one, more for a record with more identifiers than there are columns.
pub fn encode(change: &FeedRequest, at: Timestamp, rules: &Rules) -> Vec<u8> {
    let mut text = Vec::new();
    for values in row::encode(change, at, rules) {
        for (number, column) in columns::written().enumerate() {
            if number > 0 {
                text.push(b',');
            }
            write_field(&mut text, values.get(&column).map(String::as_str).unwrap_or_default());
        }
        text.push(b'\n');
    }
    text
}

fn write_field(text: &mut Vec<u8>, value: &str) {
    let plain = value.bytes().all(|byte| !matches!(byte, b',' | b'"' | b'\r' | b'\n' | b'#'));
    if plain {
        text.extend_from_slice(value.as_bytes());
    } else {
        text.push(b'"');
        text.extend_from_slice(value.replace('"', "\"\"").as_bytes());
        text.push(b'"');
    }
}

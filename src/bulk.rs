//! Many patients at once: files of them taken in and written out, as CSV, HL7 v2 messages, a FHIR Bundle or NDJSON.
//!
//! A reader cuts its file into pieces (a row, a message, a resource) without ever holding more than one, and turns each
//! into what a feed would have said: the rules of feeds are the rules of files. [`import`] has the store do it, many
//! pieces in one write together with the place that was reached; [`export`] writes what an import reads.

pub mod csv;
pub mod export;
pub mod fhir;
pub mod hl7v2;
pub mod import;
mod rejects;
mod window;

#[cfg(test)]
mod tests;

use std::io::{Read, Seek};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::fhir::json::JsonError;
use crate::fhir::outcome::Refusal as ResourceRefusal;
use crate::hl7v2::ParseError;
use crate::id::{AssigningAuthority, Domains, Timestamp};
use crate::pix::feed_v2::{self, FeedRequest};
use crate::storage::identities::{MergeRules, Place};

/// The longest row, message or resource that is read, in bytes.
pub const LONGEST: usize = 1 << 20;

/// How lines of a rejects file begin that say why the next piece was rejected. Readers pass them over, so that a rejects
/// file can be imported when its pieces were mended.
const REJECTED: &[u8] = b"# rejected, line ";

/// A form of file.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A table with a row of column names.
    Csv,
    /// HL7 v2 messages, with or without frames and batch segments.
    Hl7v2,
    /// A FHIR Bundle of Patient resources in JSON.
    #[value(alias = "bundle")]
    FhirBundle,
    /// FHIR Patient resources in JSON, each on a line.
    Ndjson,
}

impl Format {
    /// The form of a file by its beginning. Anything that is neither JSON nor HL7 v2 is taken for a table, whose column
    /// names will tell.
    pub fn of(head: &[u8]) -> Self {
        let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
        let head = head.trim_ascii_start();
        let start = head.strip_prefix(b"\x0B").unwrap_or(head);
        if [&b"MSH"[..], b"FHS", b"BHS"].iter().any(|name| start.starts_with(name)) {
            return Self::Hl7v2;
        }
        if !head.starts_with(b"{") {
            return Self::Csv;
        }
        // One resource on each line, or one resource on many lines: an NDJSON line is a whole object by itself.
        let line = &head[..memchr::memchr(b'\n', head).unwrap_or(head.len())];
        let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
        let has = |name: &[u8]| memchr::memmem::find(line, name).is_some();
        let is_resource = !has(b"\"Bundle\"") && !has(b"\"entry\"") && (is_whole || has(b"\"Patient\""));
        if is_resource { Self::Ndjson } else { Self::FhirBundle }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Hl7v2 => "hl7v2",
            Self::FhirBundle => "fhir-bundle",
            Self::Ndjson => "ndjson",
        }
    }
}

/// How a file is understood.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Domains known here.
    pub domains: Domains,
    /// The authority of identifiers that name none; none refuses them.
    pub default_authority: Option<AssigningAuthority>,
    /// What a table needs beyond.
    pub table: csv::Options,
}

/// What a piece of a file tells.
#[derive(Clone, Debug)]
pub struct Told {
    /// What is to be done.
    pub change: FeedRequest,
    /// Whether a merge needs both identifiers to be known.
    pub merging: MergeRules,
    /// When it was so, if that is told.
    pub at: Option<Timestamp>,
}

impl Told {
    fn new(change: FeedRequest) -> Self {
        Self { change, merging: MergeRules::Lenient, at: None }
    }
}

/// A piece of a file.
#[derive(Debug)]
pub struct Piece {
    /// Its first line, counted from 1.
    pub line: u64,
    /// Its first byte.
    pub from: u64,
    /// The byte behind its last.
    pub to: u64,
    /// What it tells; nothing if it is of no patient.
    pub content: Result<Vec<Told>, Unread>,
}

/// Why a piece was not read. The text has no patient data.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unread {
    /// More bytes than the limit.
    #[error("longer than {0} bytes, or something in it is not closed")]
    TooLong(usize),
    /// A row of a table.
    #[error(transparent)]
    Row(#[from] csv::RowError),
    /// Not an HL7 v2 message.
    #[error(transparent)]
    Message(#[from] ParseError),
    /// No feed message, or one that no source may send.
    #[error(transparent)]
    Feed(#[from] feed_v2::Refusal),
    /// Lines between messages.
    #[error("a line that belongs to no message")]
    Stray,
    /// BTS-1 is not the number of messages.
    #[error("the batch trailer counts {told} messages, and {found} are there: the file may not be whole")]
    BatchCount {
        /// BTS-1.
        told: u64,
        /// Messages since BHS.
        found: u64,
    },
    /// BHS without BTS, JSON without its end.
    #[error("the file ends before it is whole")]
    CutShort,
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not what is needed of a resource.
    #[error(transparent)]
    Resource(#[from] ResourceRefusal),
    /// A Bundle entry that is no object.
    #[error("an entry of the Bundle is no object")]
    Entry,
    /// No identifier of our domains.
    #[error("no identifier of a domain that is configured here")]
    NoIdentifier,
    /// `active` is false and no link says what replaces the record.
    #[error("the record is not in use and names none that replaces it")]
    Inactive,
    /// A Bundle that deletes.
    #[error("a deletion, which an import does not do")]
    Deletion,
}

/// Why a file was not begun.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The operating system refused.
    #[error("the file could not be read: {0}")]
    Io(#[from] std::io::Error),
    /// The column names of a table.
    #[error(transparent)]
    Header(#[from] csv::HeaderError),
}

/// Reads a file piece by piece.
pub enum Reader<R> {
    /// A table.
    Csv(Box<csv::Reader<R>>),
    /// Messages.
    Hl7v2(hl7v2::Reader<R>),
    /// A Bundle.
    Bundle(fhir::BundleReader<R>),
    /// Lines.
    Ndjson(fhir::LineReader<R>),
}

impl<R: Read + Seek> Reader<R> {
    /// A reader that goes on from a place, `Place::default()` being the beginning.
    pub fn open(format: Format, file: R, from: Place, rules: Rules) -> Result<Self, OpenError> {
        Ok(match format {
            Format::Csv => Self::Csv(Box::new(csv::Reader::open(file, from, rules)?)),
            Format::Hl7v2 => Self::Hl7v2(hl7v2::Reader::open(file, from, rules)?),
            Format::FhirBundle => Self::Bundle(fhir::BundleReader::open(file, from, rules)?),
            Format::Ndjson => Self::Ndjson(fhir::LineReader::open(file, from, rules)?),
        })
    }

    /// The next piece; none at the end.
    pub fn next_piece(&mut self) -> std::io::Result<Option<Piece>> {
        match self {
            Self::Csv(reader) => reader.next(),
            Self::Hl7v2(reader) => reader.next(),
            Self::Bundle(reader) => reader.next(),
            Self::Ndjson(reader) => reader.next(),
        }
    }

    /// The place behind the last piece.
    pub fn place(&self) -> Place {
        match self {
            Self::Csv(reader) => reader.place(),
            Self::Hl7v2(reader) => reader.place(),
            Self::Bundle(reader) => reader.place(),
            Self::Ndjson(reader) => reader.place(),
        }
    }

    /// What a rejects file of this file begins with: the row of column names.
    pub fn heading(&self) -> &[u8] {
        match self {
            Self::Csv(reader) => reader.heading(),
            Self::Hl7v2(_) | Self::Bundle(_) | Self::Ndjson(_) => b"",
        }
    }
}

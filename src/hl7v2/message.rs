//! A message as it was received: its text and an index of its fields. Nothing is copied out until it is asked for.

use smol_str::SmolStr;

use super::charset::Charset;
use super::datatypes::Hd;
use super::segment::{Builder, Composite, Field, Segment};

/// What a message may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest message, in bytes.
    pub bytes: usize,
    /// Most segments.
    pub segments: usize,
    /// Most fields of one segment.
    pub fields: usize,
    /// Most repetitions of one field.
    pub repetitions: usize,
}

impl Default for Limits {
    /// Far above any ADT or query message, far below what hurts.
    fn default() -> Self {
        Self { bytes: 1 << 20, segments: 2_000, fields: 300, repetitions: 1_000 }
    }
}

/// Why bytes are not a message. The text names places, never contents.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// More bytes than the limit.
    #[error("the message is longer than {0} bytes")]
    TooLong(usize),
    /// The first segment is not a message header.
    #[error("the message does not begin with an MSH segment")]
    NoHeader,
    /// MSH-1 and MSH-2 are not usable delimiters.
    #[error("MSH-1 and MSH-2 are not four different punctuation characters")]
    Delimiters,
    /// MSH-18 names a character set that is not read here.
    #[error("the character set of MSH-18 is not supported")]
    UnknownCharset,
    /// The bytes are not of the declared character set.
    #[error("the message is not text in its declared character set")]
    NotText,
    /// A line that is not a segment, usually the rest of a text field with a raw line break in it.
    #[error("a line break inside segment {segment} (number {sequence} of that name), or a line that is no segment")]
    BrokenSegment {
        /// The last segment before that line.
        segment: SmolStr,
        /// Which one of that name, from 1.
        sequence: usize,
    },
    /// More segments, fields or repetitions than the limit.
    #[error("the message has too many {0}")]
    TooMany(&'static str),
}

/// The characters that separate, from MSH-1 and MSH-2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delimiters {
    /// MSH-1, usually `|`.
    pub field: u8,
    /// First of MSH-2, usually `^`.
    pub component: u8,
    /// Second of MSH-2, usually `~`.
    pub repetition: u8,
    /// Third of MSH-2, usually `\`.
    pub escape: u8,
    /// Fourth of MSH-2, usually `&`.
    pub subcomponent: u8,
}

impl Delimiters {
    /// The recommended ones, used in all we send: `|^~\&`.
    pub const STANDARD: Self =
        Self { field: b'|', component: b'^', repetition: b'~', escape: b'\\', subcomponent: b'&' };

    /// From the bytes behind `MSH`. Delimiters that MSH-2 leaves out do not exist in that message.
    fn read(header: &[u8]) -> Option<Self> {
        let field = *header.first()?;
        let rest = &header[1..];
        let encoding = &rest[..rest.iter().position(|&b| b == field).unwrap_or(rest.len())];
        let at = |index: usize| encoding.get(index).copied().unwrap_or(0);
        let found = Self { field, component: at(0), repetition: at(1), escape: at(2), subcomponent: at(3) };
        let all = [found.field, found.component, found.repetition, found.escape, found.subcomponent];
        let usable = all
            .iter()
            .enumerate()
            .all(|(index, &b)| (b == 0 && index > 1) || (b.is_ascii_punctuation() && !all[..index].contains(&b)));
        (usable && encoding.len() <= 5).then_some(found)
    }
}

/// A parsed message. `Debug` prints the names of its segments and nothing in them.
#[derive(Clone)]
pub struct Message {
    text: String,
    delimiters: Delimiters,
    charset: Charset,
    segments: Vec<Span>,
    /// Where each field of each segment begins and ends in `text`.
    fields: Vec<(u32, u32)>,
}

/// A segment: its three-letter name and its part of `Message::fields`.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) name: u32,
    pub(super) first: u32,
    pub(super) count: u32,
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.segments().map(|segment| segment.name()).collect();
        write!(f, "Message({})", names.join(" "))
    }
}

impl Message {
    /// Reads a message. Segments may end with CR, CR LF or LF; the last may lack its end.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, ParseError> {
        if bytes.len() > limits.bytes {
            return Err(ParseError::TooLong(limits.bytes));
        }
        let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes).trim_ascii_start();
        let header = bytes.strip_prefix(b"MSH").ok_or(ParseError::NoHeader)?;
        let line = &header[..memchr::memchr2(b'\r', b'\n', header).unwrap_or(header.len())];
        let delimiters = Delimiters::read(line).ok_or(ParseError::Delimiters)?;
        let charset = match declared_charset(line, delimiters) {
            Some(charset) => charset,
            // Plain ASCII is the same in every set that HL7 lists.
            None if bytes.is_ascii() => Charset::Undeclared,
            None => return Err(ParseError::UnknownCharset),
        };
        let text = charset.decode(bytes).ok_or(ParseError::NotText)?.into_owned();
        if u32::try_from(text.len()).is_err() {
            return Err(ParseError::TooLong(limits.bytes));
        }
        let mut message = Self { text, delimiters, charset, segments: Vec::new(), fields: Vec::new() };
        message.index(limits)?;
        Ok(message)
    }

    /// The first segment of that name.
    pub fn segment(&self, name: &str) -> Option<Segment<'_>> {
        self.segments().find(|segment| segment.name() == name)
    }

    /// Each segment of that name.
    pub fn segments_named<'m>(&'m self, name: &'m str) -> impl Iterator<Item = Segment<'m>> {
        self.segments().filter(move |segment| segment.name() == name)
    }

    /// All segments in their order.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        self.segments.iter().map(|&span| Segment { message: self, span })
    }

    /// Field `number` of the first segment of that name; missing if there is none.
    pub fn field(&self, segment: &str, number: usize) -> Field<'_> {
        self.segment(segment).map_or(Field::missing(self), |segment| segment.field(number))
    }

    /// The delimiters that its MSH declares.
    pub fn delimiters(&self) -> Delimiters {
        self.delimiters
    }

    /// The character set that its MSH declares.
    pub fn charset(&self) -> Charset {
        self.charset
    }

    /// The message as text.
    pub fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn field_text(&self, span: Span, index: usize) -> Option<&str> {
        if index >= span.count as usize {
            return None;
        }
        let (from, to) = self.fields[span.first as usize + index];
        Some(&self.text[from as usize..to as usize])
    }

    /// Finds segments and fields.
    fn index(&mut self, limits: &Limits) -> Result<(), ParseError> {
        let bytes = self.text.as_bytes();
        // Estimates that hold for ordinary ADT messages, so that the lists rarely grow.
        self.segments.reserve(8);
        self.fields.reserve(bytes.len() / 6);
        let mut at = 0;
        while at < bytes.len() {
            let end = memchr::memchr2(b'\r', b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found);
            if end == at {
                at += 1;
                continue;
            }
            let line = &bytes[at..end];
            if line.iter().all(|b| matches!(b, b' ' | 0)) {
                at = end;
                continue;
            }
            if self.segments.len() == limits.segments {
                return Err(ParseError::TooMany("segments"));
            }
            if !is_segment(line, self.delimiters.field) || (line.starts_with(b"MSH") && !self.segments.is_empty()) {
                return Err(self.broken());
            }
            let first = self.fields.len();
            let mut from = at + 4;
            if line.starts_with(b"MSH") {
                // MSH-1 is the delimiter itself, so MSH-2 is the first text behind it.
                self.fields.push((index(at + 3), index(at + 4)));
            }
            while from <= end {
                let to = memchr::memchr(self.delimiters.field, &bytes[from..end]).map_or(end, |found| from + found);
                if self.fields.len() - first == limits.fields {
                    return Err(ParseError::TooMany("fields"));
                }
                self.fields.push((index(from), index(to)));
                let more = memchr::memchr_iter(self.delimiters.repetition, &bytes[from..to]).count();
                if more >= limits.repetitions {
                    return Err(ParseError::TooMany("repetitions"));
                }
                from = to + 1;
            }
            let count = index(self.fields.len() - first);
            self.segments.push(Span { name: index(at), first: index(first), count });
            at = end;
        }
        Ok(())
    }

    pub(super) fn segment_name(&self, span: Span) -> &str {
        let at = span.name as usize;
        &self.text[at..at + 3]
    }

    fn broken(&self) -> ParseError {
        let name = self.segments.last().map_or("", |&span| self.segment_name(span));
        ParseError::BrokenSegment { segment: name.into(), sequence: self.segments_named(name).count() }
    }
}

/// Positions fit: `parse` refuses longer texts.
fn index(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn is_segment(line: &[u8], delimiter: u8) -> bool {
    let name = matches!(line, [a, b, c, ..]
        if a.is_ascii_uppercase() && [b, c].iter().all(|x| x.is_ascii_uppercase() || x.is_ascii_digit()));
    name && line.get(3).is_none_or(|&b| b == delimiter)
}

/// MSH-18, first repetition.
fn declared_charset(header_line: &[u8], delimiters: Delimiters) -> Option<Charset> {
    // MSH-2 begins behind the first delimiter, so the field at index n of the split is MSH-(n+1).
    let field = header_line.split(|&b| b == delimiters.field).nth(17).unwrap_or_default();
    let first = field.split(|&b| b == delimiters.repetition).next().unwrap_or_default();
    Charset::named(std::str::from_utf8(first).ok()?)
}

/// What the header says: who sent what to whom. Everything an answer needs.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Header {
    /// MSH-3.
    pub sending_application: Hd,
    /// MSH-4.
    pub sending_facility: Hd,
    /// MSH-5.
    pub receiving_application: Hd,
    /// MSH-6.
    pub receiving_facility: Hd,
    /// MSH-7 as it was written.
    pub sent: SmolStr,
    /// MSH-9.1, `ADT`.
    pub message_type: SmolStr,
    /// MSH-9.2, `A04`.
    pub event: SmolStr,
    /// MSH-9.3, `ADT_A01`; often absent or wrong in live messages, so nothing depends on it.
    pub structure: SmolStr,
    /// MSH-10, echoed in MSA-2 as it is.
    pub control_id: SmolStr,
    /// MSH-11.1: `P`, `T` or `D`.
    pub processing_id: SmolStr,
    /// MSH-12.1: `2.3.1`, `2.5`.
    pub version: SmolStr,
}

impl Header {
    /// The header of a message.
    pub fn read(message: &Message) -> Self {
        let Some(msh) = message.segment("MSH") else { return Self::default() };
        let text = |field: usize, component: usize| SmolStr::from(msh.field(field).component(component).text());
        let name = |field: usize| Hd::read(msh.field(field));
        Self {
            sending_application: name(3),
            sending_facility: name(4),
            receiving_application: name(5),
            receiving_facility: name(6),
            sent: text(7, 1),
            message_type: text(9, 1).trim().into(),
            event: text(9, 2).trim().into(),
            structure: text(9, 3).trim().into(),
            control_id: text(10, 1),
            processing_id: text(11, 1).trim().into(),
            version: text(12, 1).trim().into(),
        }
    }

    /// Writes MSH of a message of ours. `ascii` is whether the segments behind it are; `profile` is MSH-21.1, with
    /// IHE as its namespace.
    pub fn write(&self, out: &mut Builder, ascii: bool, profile: Option<&str>) {
        let names = [&self.sending_application, &self.sending_facility];
        let names = names.into_iter().chain([&self.receiving_application, &self.receiving_facility]);
        let ascii = ascii && names.clone().all(|name| name.namespace.is_ascii());
        let mut msh = out.segment("MSH");
        for (index, name) in names.enumerate() {
            msh.composite(index + 3, &name.composite());
        }
        msh.text(7, &self.sent);
        msh.composite(9, &Composite::new(&[&self.message_type, &self.event, &self.structure]));
        msh.text(10, &self.control_id).text(11, &self.processing_id).text(12, &self.version);
        if !ascii {
            msh.text(18, "UNICODE UTF-8");
        }
        if let Some(profile) = profile {
            msh.composite(21, &Composite::new(&[profile, "IHE"]));
        }
        msh.end();
    }

    /// What can be made out of the header of bytes that are no message, so that even they get an answer.
    pub fn salvage(bytes: &[u8]) -> Self {
        let Some(start) = memchr::memmem::find(bytes, b"MSH") else { return Self::default() };
        let line = &bytes[start..];
        let line = &line[..memchr::memchr2(b'\r', b'\n', line).unwrap_or(line.len()).min(2_000)];
        let readable: Vec<u8> = line.iter().map(|&b| if b.is_ascii() { b } else { b'?' }).collect();
        Message::parse(&readable, &Limits::default()).map(|message| Self::read(&message)).unwrap_or_default()
    }
}

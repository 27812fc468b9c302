//! Splitting a multipart/related body as its bytes arrive (RFC 2046: 5.1).
//!
//! The body is bytes, never text: a part's charset is for whoever reads the part. Forgiven: line ends of LF alone, text
//! before the first and after the last part, a last delimiter without its `--` or with text stuck to it, headers without
//! the blank line, and base64 or quoted-printable content where MTOM says binary.

use std::collections::{HashSet, VecDeque};
use std::fmt;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;
use memchr::memmem::Finder;

use super::content_type::usable_boundary;
use super::decode::{Base64, QuotedPrintable};
use super::{Limits, MtomError, content_id};

/// White space that may follow a boundary on its line.
const PADDING: usize = 256;

/// What a part's headers say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct PartHeaders {
    /// Content-ID as [`content_id`] compares it.
    pub content_id: Option<String>,
    /// Content-Type as sent.
    pub content_type: Option<String>,
    /// How the content was encoded. It is decoded by the time it is seen.
    pub transfer_encoding: TransferEncoding,
}

/// Content-Transfer-Encoding (RFC 2045: 6.1).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TransferEncoding {
    /// `binary`, `8bit`, `7bit` or not said: the bytes are the content.
    #[default]
    Identity,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
}

/// What a reader found.
#[derive(Clone, Eq, PartialEq)]
pub enum Event {
    /// A part begins.
    PartStart(PartHeaders),
    /// A piece of the part's content, never empty.
    Data(Bytes),
    /// The part is complete.
    PartEnd,
    /// The package is complete. What comes after it is ignored.
    End,
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PartStart(headers) => f.debug_tuple("PartStart").field(headers).finish(),
            // Content is patient data.
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::PartEnd => f.write_str("PartEnd"),
            Self::End => f.write_str("End"),
        }
    }
}

/// Splits a body into parts. Push bytes, take events until there are none, push more; [`Reader::finish`] after the last.
///
/// Besides the bytes of the last push it holds at most one delimiter or one part's headers.
pub struct Reader {
    /// `\n--boundary`.
    delimiter: Finder<'static>,
    limits: Limits,
    buffer: BytesMut,
    ended: bool,
    state: State,
    /// The buffer begins at the beginning of a line.
    line_start: bool,
    /// Lines end with CR LF, as those of the first delimiter did. In a body of bare LF, a CR before a delimiter is
    /// content.
    crlf: bool,
    used: usize,
    lines: Vec<String>,
    parts: usize,
    ids: HashSet<String>,
    decoder: Decoder,
    ready: VecDeque<Event>,
}

enum State {
    Preamble,
    Headers,
    Content,
    Done,
    Failed(MtomError),
}

enum Decoder {
    Identity,
    Base64(Base64),
    QuotedPrintable(QuotedPrintable),
}

/// What stands at a delimiter.
#[derive(Clone, Copy)]
enum Delimiter {
    /// A part follows after so many more bytes.
    Open { length: usize, crlf: bool },
    /// The package is complete.
    Close,
    /// It only looks like one.
    Not,
    /// More bytes are needed to tell.
    Undecided,
}

enum Scan {
    /// Content up to `content`, then a delimiter whose text ends at `end`.
    Found { content: usize, end: usize, delimiter: Delimiter },
    /// Content up to here; what follows may be the beginning of a delimiter.
    Content(usize),
}

impl Reader {
    /// A reader of the parts between the lines `--boundary`.
    pub fn new(boundary: &str, limits: Limits) -> Result<Self, MtomError> {
        let boundary = usable_boundary(boundary).ok_or(MtomError::NoBoundary)?;
        Ok(Self {
            delimiter: Finder::new(&[b"\n--", boundary.as_bytes()].concat()).into_owned(),
            limits,
            buffer: BytesMut::new(),
            ended: false,
            state: State::Preamble,
            line_start: true,
            crlf: true,
            used: 0,
            lines: Vec::new(),
            parts: 0,
            ids: HashSet::new(),
            decoder: Decoder::Identity,
            ready: VecDeque::new(),
        })
    }

    /// Takes the next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Done | State::Failed(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The body is complete. Not to be called when the connection broke: then the message is not complete.
    pub fn finish(&mut self) {
        self.ended = true;
    }

    /// The next event; none if more bytes are needed, or after [`Event::End`]. An error stays.
    #[expect(clippy::should_implement_trait, reason = "none means `push more`, not that the iteration is over")]
    pub fn next(&mut self) -> Result<Option<Event>, MtomError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            match self.step() {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) => {
                    self.buffer = BytesMut::new();
                    self.state = State::Failed(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// Goes on by one delimiter, header line or piece of content. False if that needs more bytes.
    fn step(&mut self) -> Result<bool, MtomError> {
        match &self.state {
            State::Preamble => self.preamble(),
            State::Headers => self.header_line(),
            State::Content => self.content(),
            State::Done => Ok(false),
            State::Failed(error) => Err(error.clone()),
        }
    }

    fn preamble(&mut self) -> Result<bool, MtomError> {
        let (skipped, found) = match self.scan() {
            Scan::Found { content, end, delimiter } => (content, Some((end, delimiter))),
            Scan::Content(length) => (length, None),
        };
        self.used += skipped;
        if self.used > self.limits.preamble_bytes {
            return Err(MtomError::PreambleTooLong(self.limits.preamble_bytes));
        }
        match found {
            Some((end, delimiter)) => {
                if let Delimiter::Open { crlf, .. } = delimiter {
                    self.crlf = crlf;
                }
                self.pass(end, delimiter)?;
                Ok(true)
            }
            None if self.ended => Err(MtomError::NoParts),
            None => {
                self.drop_front(skipped);
                Ok(false)
            }
        }
    }

    fn content(&mut self) -> Result<bool, MtomError> {
        match self.scan() {
            Scan::Found { content, end, delimiter } => {
                let data = self.buffer.split_to(content).freeze();
                self.emit(data)?;
                self.end_part()?;
                self.pass(end - content, delimiter)?;
                Ok(true)
            }
            Scan::Content(0) if self.ended => Err(MtomError::Truncated),
            Scan::Content(0) => Ok(false),
            Scan::Content(length) => {
                let data = self.buffer.split_to(length).freeze();
                self.line_start = false;
                self.emit(data)?;
                Ok(self.ended || !self.ready.is_empty())
            }
        }
    }

    fn header_line(&mut self) -> Result<bool, MtomError> {
        let limit = self.limits.header_bytes;
        if self.lines.is_empty() {
            // A last delimiter without `--`: nothing but white space follows, which is not one more part.
            let blank = self.buffer.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(self.buffer.len());
            if blank > limit {
                return Err(MtomError::HeadersTooLong(limit));
            }
            if blank == self.buffer.len() {
                if self.ended {
                    self.complete()?;
                }
                return Ok(self.ended);
            }
        }
        let line_end = match memchr(b'\n', &self.buffer) {
            Some(at) => at + 1,
            None if self.ended && self.buffer.is_empty() => return Err(MtomError::Truncated),
            None if self.ended => self.buffer.len(),
            None => 0,
        };
        let length = if line_end == 0 { self.buffer.len() } else { line_end };
        if self.used + length > limit {
            return Err(MtomError::HeadersTooLong(limit));
        }
        if line_end == 0 {
            return Ok(false);
        }
        if let Some((end, delimiter)) = self.delimiter_line() {
            // Headers without a blank line: a part without content.
            self.start_part()?;
            self.end_part()?;
            self.pass(end, delimiter)?;
            return Ok(true);
        }
        let line = self.buffer.split_to(line_end);
        self.used += line_end;
        match line.strip_suffix(b"\n") {
            None => return Err(MtomError::Truncated),
            Some(b"" | b"\r") => self.start_part()?,
            Some(line) => self.lines.push(String::from_utf8_lossy(line).into_owned()),
        }
        Ok(true)
    }

    /// The delimiter at the beginning of the buffer, if there is one.
    fn delimiter_line(&self) -> Option<(usize, Delimiter)> {
        let text = &self.delimiter.needle()[1..];
        let after = self.buffer.strip_prefix(text)?;
        match classify(after, self.ended) {
            Delimiter::Not | Delimiter::Undecided => None,
            delimiter => Some((text.len(), delimiter)),
        }
    }

    fn scan(&self) -> Scan {
        let needle = self.delimiter.needle();
        let bytes = &self.buffer[..];
        if self.line_start {
            if let Some(after) = bytes.strip_prefix(&needle[1..]) {
                match classify(after, self.ended) {
                    Delimiter::Not => {}
                    Delimiter::Undecided => return Scan::Content(0),
                    delimiter => return Scan::Found { content: 0, end: needle.len() - 1, delimiter },
                }
            } else if needle[1..].starts_with(bytes) {
                return Scan::Content(0);
            }
        }
        let mut from = 0;
        while let Some(at) = self.delimiter.find(&bytes[from..]).map(|at| from + at) {
            let end = at + needle.len();
            match classify(&bytes[end..], self.ended) {
                Delimiter::Not => from = at + 1,
                Delimiter::Undecided => return Scan::Content(self.before_line_end(at)),
                delimiter => return Scan::Found { content: self.before_line_end(at), end, delimiter },
            }
        }
        // The delimiter has one line feed, its first byte, so only the last line feed can begin one cut short.
        match memchr::memrchr(b'\n', bytes) {
            Some(at) if needle.starts_with(&bytes[at..]) => Scan::Content(self.before_line_end(at)),
            _ => Scan::Content(bytes.len() - usize::from(bytes.last() == Some(&b'\r'))),
        }
    }

    /// Where content ends whose line feed is at `at`.
    fn before_line_end(&self, at: usize) -> usize {
        let carriage_return = self.crlf && at > 0 && self.buffer[at - 1] == b'\r';
        at - usize::from(carriage_return)
    }

    /// Passes over a delimiter whose text ends at `end`.
    fn pass(&mut self, end: usize, delimiter: Delimiter) -> Result<(), MtomError> {
        match delimiter {
            Delimiter::Open { length, .. } => {
                self.drop_front(end + length);
                self.state = State::Headers;
                self.used = 0;
                Ok(())
            }
            Delimiter::Close => self.complete(),
            // Callers pass decided delimiters only.
            Delimiter::Not | Delimiter::Undecided => Ok(()),
        }
    }

    fn complete(&mut self) -> Result<(), MtomError> {
        if self.parts == 0 {
            return Err(MtomError::NoParts);
        }
        self.buffer = BytesMut::new();
        self.state = State::Done;
        self.ready.push_back(Event::End);
        Ok(())
    }

    fn start_part(&mut self) -> Result<(), MtomError> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            return Err(MtomError::TooManyParts(self.limits.parts));
        }
        let headers = PartHeaders::read(&std::mem::take(&mut self.lines))?;
        if let Some(id) = &headers.content_id
            && !self.ids.insert(id.clone())
        {
            return Err(MtomError::DuplicateContentId);
        }
        self.decoder = match headers.transfer_encoding {
            TransferEncoding::Identity => Decoder::Identity,
            TransferEncoding::Base64 => Decoder::Base64(Base64::default()),
            TransferEncoding::QuotedPrintable => Decoder::QuotedPrintable(QuotedPrintable::default()),
        };
        self.state = State::Content;
        self.line_start = true;
        self.ready.push_back(Event::PartStart(headers));
        Ok(())
    }

    fn emit(&mut self, raw: Bytes) -> Result<(), MtomError> {
        let data = match &mut self.decoder {
            Decoder::Identity => raw,
            Decoder::Base64(stream) => stream.push(&raw)?.into(),
            Decoder::QuotedPrintable(stream) => stream.push(&raw).into(),
        };
        self.give(data);
        Ok(())
    }

    fn end_part(&mut self) -> Result<(), MtomError> {
        let rest = match &mut self.decoder {
            Decoder::Identity => Bytes::new(),
            Decoder::Base64(stream) => stream.finish()?.into(),
            Decoder::QuotedPrintable(stream) => stream.finish().into(),
        };
        self.give(rest);
        self.ready.push_back(Event::PartEnd);
        Ok(())
    }

    fn give(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.ready.push_back(Event::Data(data));
        }
    }

    fn drop_front(&mut self, count: usize) {
        if count > 0 {
            self.line_start = false;
            self.buffer.advance(count.min(self.buffer.len()));
        }
    }
}

/// Tells from the bytes after `--boundary` what it is.
fn classify(after: &[u8], ended: bool) -> Delimiter {
    if after.starts_with(b"--") {
        return Delimiter::Close;
    }
    let at_end = if ended { Delimiter::Open { length: after.len(), crlf: false } } else { Delimiter::Undecided };
    let padding = after.iter().take(PADDING).take_while(|b| matches!(b, b' ' | b'\t')).count();
    match &after[padding..] {
        [b'\n', ..] => Delimiter::Open { length: padding + 1, crlf: false },
        [b'\r', b'\n', ..] => Delimiter::Open { length: padding + 2, crlf: true },
        [] | [b'\r'] => at_end,
        [b'-'] if padding == 0 && !ended => Delimiter::Undecided,
        _ => Delimiter::Not,
    }
}

impl PartHeaders {
    /// From header lines, folded or not. Of two equal headers the first counts.
    fn read(lines: &[String]) -> Result<Self, MtomError> {
        let mut fields: Vec<String> = Vec::new();
        for line in lines {
            match fields.last_mut() {
                Some(field) if line.starts_with([' ', '\t']) => {
                    field.push(' ');
                    field.push_str(line.trim());
                }
                _ => fields.push(line.trim_end().to_owned()),
            }
        }
        let value = |name: &str| {
            let field = |field: &String| {
                let (found, value) = field.split_once(':')?;
                found.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            };
            fields.iter().find_map(field).filter(|value| !value.is_empty())
        };
        let encoding = value("Content-Transfer-Encoding").unwrap_or_default().to_ascii_lowercase();
        Ok(Self {
            content_id: value("Content-ID").as_deref().and_then(content_id),
            content_type: value("Content-Type"),
            transfer_encoding: match encoding.as_str() {
                "" | "binary" | "8bit" | "7bit" => TransferEncoding::Identity,
                "base64" => TransferEncoding::Base64,
                "quoted-printable" => TransferEncoding::QuotedPrintable,
                _ => return Err(MtomError::UnknownEncoding),
            },
        })
    }
}

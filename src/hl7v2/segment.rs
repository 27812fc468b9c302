//! Segments, fields, repetitions, components and subcomponents: reading them in place, and writing them.

use std::borrow::Cow;

use super::message::{Delimiters, Message, Span};

/// A segment of a message. Copying it copies a reference.
#[derive(Clone, Copy)]
pub struct Segment<'m> {
    pub(super) message: &'m Message,
    pub(super) span: Span,
}

impl<'m> Segment<'m> {
    /// `PID`, `MSH` and so on.
    pub fn name(&self) -> &'m str {
        self.message.segment_name(self.span)
    }

    /// A field by its number in the standard, from 1. In MSH, field 1 is the delimiter itself.
    pub fn field(&self, number: usize) -> Field<'m> {
        let text = number.checked_sub(1).and_then(|index| self.message.field_text(self.span, index));
        Field { text, message: self.message }
    }

    /// How many fields it has, empty ones counted.
    pub fn len(&self) -> usize {
        self.span.count as usize
    }

    /// The whole segment in the standard delimiters: character for character as it came, if it came in those.
    pub fn standard(&self) -> String {
        let mut out = self.name().to_owned();
        let as_it_is = self.message.delimiters() == Delimiters::STANDARD;
        for number in 1..=self.len() {
            let field = self.field(number);
            out.push('|');
            if as_it_is {
                out.push_str(field.raw());
            } else {
                out.push_str(&join(field.repetitions().map(|repetition| repetition.composite().encode()), '~'));
            }
        }
        out
    }

    /// Whether it is nothing but its name.
    pub fn is_empty(&self) -> bool {
        (1..=self.len()).all(|number| self.field(number).content() == Content::Empty)
    }
}

/// What is in a field. The standard tells "leave as it is" (missing or empty) from "delete" (two quotation marks).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Content {
    /// The segment ends before this field.
    Missing,
    /// Nothing between the delimiters.
    Empty,
    /// `""`: the value is to be deleted.
    Delete,
    /// Something.
    Value,
}

/// A field of a segment, present or not.
#[derive(Clone, Copy)]
pub struct Field<'m> {
    text: Option<&'m str>,
    message: &'m Message,
}

impl<'m> Field<'m> {
    pub(super) fn missing(message: &'m Message) -> Self {
        Self { text: None, message }
    }

    /// What is in it.
    pub fn content(&self) -> Content {
        match self.text.map(str::trim) {
            None => Content::Missing,
            Some("\"\"") => Content::Delete,
            Some("") => Content::Empty,
            Some(_) if self.repetitions().all(|repetition| repetition.is_empty()) => Content::Empty,
            Some(_) => Content::Value,
        }
    }

    /// As it stands in the message, delimiters and escapes included.
    pub fn raw(&self) -> &'m str {
        self.text.unwrap_or_default()
    }

    /// Each repetition, empty ones included; none of an empty field.
    pub fn repetitions(&self) -> impl Iterator<Item = Repetition<'m>> + use<'m> {
        let message = self.message;
        let text = self.text.filter(|text| !text.is_empty());
        text.into_iter()
            .flat_map(move |text| text.split(char::from(message.delimiters().repetition)))
            .map(move |text| Repetition { text, message })
    }

    /// The first repetition.
    pub fn first(&self) -> Repetition<'m> {
        self.repetitions().next().unwrap_or(Repetition { text: "", message: self.message })
    }

    /// A component of the first repetition, from 1.
    pub fn component(&self, number: usize) -> Component<'m> {
        self.first().component(number)
    }

    /// The text of the first subcomponent of the first component: what a simple field holds.
    pub fn text(&self) -> Cow<'m, str> {
        self.component(1).text()
    }
}

/// One repetition of a field.
#[derive(Clone, Copy)]
pub struct Repetition<'m> {
    text: &'m str,
    message: &'m Message,
}

impl<'m> Repetition<'m> {
    /// A component, from 1.
    pub fn component(&self, number: usize) -> Component<'m> {
        let delimiter = char::from(self.message.delimiters().component);
        let text = number.checked_sub(1).and_then(|index| self.text.split(delimiter).nth(index));
        Component { text: text.unwrap_or_default(), message: self.message }
    }

    /// Nothing but delimiters and white space.
    pub fn is_empty(&self) -> bool {
        let delimiters = self.message.delimiters();
        self.text.bytes().all(|b| b == delimiters.component || b == delimiters.subcomponent || b == b' ')
    }

    /// As it stands in the message.
    pub fn raw(&self) -> &'m str {
        self.text
    }

    /// The repetition with all its parts, as it can be written again.
    pub fn composite(&self) -> Composite {
        let delimiters = self.message.delimiters();
        let components = self.text.split(char::from(delimiters.component)).map(|component| {
            let parts = component.split(char::from(delimiters.subcomponent));
            parts.map(|part| unescape(part, self.message).into_owned()).collect()
        });
        Composite(components.collect())
    }
}

/// A component of a repetition, present or empty.
#[derive(Clone, Copy)]
pub struct Component<'m> {
    text: &'m str,
    message: &'m Message,
}

impl<'m> Component<'m> {
    /// The text of a subcomponent, from 1, with its escape sequences replaced.
    pub fn subcomponent(&self, number: usize) -> Cow<'m, str> {
        let delimiter = char::from(self.message.delimiters().subcomponent);
        let text = number.checked_sub(1).and_then(|index| self.text.split(delimiter).nth(index));
        unescape(text.unwrap_or_default(), self.message)
    }

    /// The text of the first subcomponent: all of it in the data types that have no subcomponents, and the part that
    /// older versions know in those that got some later.
    pub fn text(&self) -> Cow<'m, str> {
        self.subcomponent(1)
    }

    /// As it stands in the message.
    pub fn raw(&self) -> &'m str {
        self.text
    }
}

/// Replaces escape sequences (HL7 2.5 chapter 2.7). Highlighting and character set switches vanish; a sequence that
/// is none stays as it is.
fn unescape<'m>(text: &'m str, message: &Message) -> Cow<'m, str> {
    let delimiters = message.delimiters();
    let escape = char::from(delimiters.escape);
    if delimiters.escape == 0 || !text.contains(escape) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(escape) {
        out.push_str(&rest[..start]);
        let behind = &rest[start + 1..];
        let Some(end) = behind.find(escape) else {
            rest = &rest[start..];
            break;
        };
        let sequence = &behind[..end];
        match sequence.as_bytes() {
            b"F" => out.push(char::from(delimiters.field)),
            b"S" => out.push(char::from(delimiters.component)),
            b"T" => out.push(char::from(delimiters.subcomponent)),
            b"R" => out.push(char::from(delimiters.repetition)),
            b"E" => out.push(escape),
            b"P" => out.push('#'),
            b".br" | b".BR" => out.push('\n'),
            b"H" | b"N" | [b'C' | b'M', ..] => {}
            [b'X', digits @ ..] => match hex::decode(digits) {
                Ok(bytes) => match message.charset().decode(&bytes) {
                    Some(text) => out.push_str(&text),
                    None => out.push_str(&String::from_utf8_lossy(&bytes)),
                },
                Err(_) => out.push_str(&rest[start..start + end + 2]),
            },
            _ => {
                // Not a sequence: a lone escape character in the text. The second one may begin a real sequence.
                out.push_str(&rest[start..=start + end]);
                rest = &behind[end..];
                continue;
            }
        }
        rest = &behind[end + 1..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// A repetition to be written: components of subcomponents, as plain text.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Composite(pub Vec<Vec<String>>);

impl std::fmt::Debug for Composite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Composite({} components)", self.0.len())
    }
}

impl Composite {
    /// Components without subcomponents.
    pub fn new(components: &[&str]) -> Self {
        Self(components.iter().map(|&component| vec![component.to_owned()]).collect())
    }

    /// With the subcomponents of one component, from 1.
    #[must_use]
    pub fn with(mut self, component: usize, subcomponents: &[&str]) -> Self {
        let index = component.saturating_sub(1);
        if self.0.len() <= index {
            self.0.resize(index + 1, Vec::new());
        }
        self.0[index] = subcomponents.iter().map(|&part| part.to_owned()).collect();
        self
    }

    fn encode(&self) -> String {
        let component = |parts: &Vec<String>| join(parts.iter().map(|part| escape(part)), '&');
        join(self.0.iter().map(component), '^')
    }
}

/// Parts with a delimiter between them. Delimiters behind the last value say nothing and are left out.
fn join(parts: impl Iterator<Item = String>, delimiter: char) -> String {
    let mut joined = String::new();
    for (index, part) in parts.enumerate() {
        if index > 0 {
            joined.push(delimiter);
        }
        joined.push_str(&part);
    }
    joined.truncate(joined.trim_end_matches(delimiter).len());
    joined
}

/// The text with delimiters and control characters escaped.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' => out.push_str("\\F\\"),
            '^' => out.push_str("\\S\\"),
            '~' => out.push_str("\\R\\"),
            '&' => out.push_str("\\T\\"),
            '\\' => out.push_str("\\E\\"),
            '\u{0}'..='\u{1F}' | '\u{7F}' => {
                out.push_str("\\X");
                out.push_str(&hex::encode_upper([u8::try_from(u32::from(c)).unwrap_or(b' ')]));
                out.push('\\');
            }
            _ => out.push(c),
        }
    }
    out
}

/// Writes a message: segments that each end with CR, standard delimiters, no trailing empty fields.
#[derive(Default)]
pub struct Builder {
    out: String,
}

impl Builder {
    /// Nothing yet. The first segment is MSH.
    pub fn new() -> Self {
        Self { out: String::with_capacity(512) }
    }

    /// Begins a segment.
    pub fn segment(&mut self, name: &'static str) -> SegmentBuilder<'_> {
        self.out.push_str(name);
        if name == "MSH" {
            self.out.push_str("|^~\\&");
        }
        let next = if name == "MSH" { 3 } else { 1 };
        SegmentBuilder { builder: self, next, pending: 0 }
    }

    /// A segment copied from a message, as `Segment::standard` gives it.
    pub fn copy(&mut self, segment: &str) {
        self.out.push_str(segment);
        self.out.push('\r');
    }

    /// Everything that another builder has.
    pub fn append(&mut self, other: &Self) {
        self.out.push_str(&other.out);
    }

    /// The message in UTF-8.
    pub fn finish(self) -> Vec<u8> {
        self.out.into_bytes()
    }

    /// Whether MSH-18 must tell a character set.
    pub fn is_ascii(&self) -> bool {
        self.out.is_ascii()
    }
}

/// Writes the fields of one segment in ascending order.
pub struct SegmentBuilder<'b> {
    builder: &'b mut Builder,
    /// The number that the next field would have.
    next: usize,
    /// Delimiters not written yet: they are, once a value follows.
    pending: usize,
}

impl SegmentBuilder<'_> {
    /// A simple field; empty text leaves it empty.
    pub fn text(&mut self, number: usize, text: &str) -> &mut Self {
        self.repetitions(number, &[Composite::new(&[text])])
    }

    /// A field of one repetition.
    pub fn composite(&mut self, number: usize, value: &Composite) -> &mut Self {
        self.repetitions(number, std::slice::from_ref(value))
    }

    /// A field of several repetitions.
    pub fn repetitions(&mut self, number: usize, values: &[Composite]) -> &mut Self {
        self.raw(number, &join(values.iter().map(Composite::encode), '~'))
    }

    /// A field copied as it stands in a message that uses the standard delimiters.
    pub fn raw(&mut self, number: usize, encoded: &str) -> &mut Self {
        debug_assert!(number >= self.next, "field {number} after {}", self.next);
        self.pending += (number + 1).saturating_sub(self.next);
        self.next = number + 1;
        if !encoded.is_empty() {
            self.builder.out.extend(std::iter::repeat_n('|', self.pending));
            self.builder.out.push_str(encoded);
            self.pending = 0;
        }
        self
    }

    /// Ends the segment.
    pub fn end(&mut self) {
        self.builder.out.push('\r');
    }
}

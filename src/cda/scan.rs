//! Finds where a document's header ends, reading no further.

use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::{Error, NsReader};

use super::{CdaError, Limits};
use crate::xml::{XmlError, decode_text, ns};

/// What follows the header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// Sections.
    Structured,
    /// A file of another format, embedded or referred to.
    NonXml,
    /// The document ends with its header.
    Absent,
}

/// Cuts a document at its body: the header as a document of its own, and what kind of body followed. The cost is that
/// of the header, not that of the document.
pub(super) fn header(bytes: &[u8], limits: &Limits) -> Result<(String, Body), CdaError> {
    let start = start_of(bytes, limits.header);
    let text = decode_text(start, None)?;
    let text = text.trim_start();
    match scan(text, limits.depth) {
        // What looks unfinished or broken at the end of a part of a document is the end of that part.
        Err(CdaError::Xml(_)) if start.len() < bytes.len() => Err(CdaError::HeaderTooLong(limits.header)),
        other => other,
    }
}

/// The first bytes of a document, without half a character at their end.
pub(super) fn start_of(bytes: &[u8], limit: usize) -> &[u8] {
    if bytes.len() <= limit {
        return bytes;
    }
    let mut end = limit;
    match bytes {
        [0xFE, 0xFF, ..] | [0xFF, 0xFE, ..] => {
            end &= !1;
            let high = usize::from(bytes[0] == 0xFF);
            // A high surrogate needs the unit after it.
            if end >= 2 && (0xD8..0xDC).contains(&bytes[end - 2 + high]) {
                end -= 2;
            }
        }
        // Back to the lead byte of a character that is cut; ISO-8859-1 loses at most three characters by it.
        _ => {
            let back = (0..4).find(|back| end > *back && bytes[end - back] & 0xC0 != 0x80);
            end -= back.unwrap_or(0);
        }
    }
    &bytes[..end]
}

fn scan(text: &str, depth_limit: u32) -> Result<(String, Body), CdaError> {
    let mut reader = NsReader::from_str(text);
    let mut root = None;
    let mut cut = None;
    let mut depth = 0_u32;
    loop {
        let before = position(&reader);
        let (namespace, event) = reader.read_resolved_event().map_err(|error| malformed(&error, before))?;
        let hl7 = matches!(namespace, ResolveResult::Bound(bound) if bound.0 == ns::HL7V3);
        let (start, empty) = match event {
            Event::Start(start) => (start, false),
            Event::Empty(start) => (start, true),
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                match cut {
                    Some(cut) => return finish(text, cut, root, Body::Absent),
                    None if depth == 0 => {
                        return Ok((upto(text, position(&reader))?, Body::Absent));
                    }
                    None => continue,
                }
            }
            Event::DocType(_) => return Err(CdaError::DocumentType),
            Event::GeneralRef(reference) => match &*reference {
                "amp" | "lt" | "gt" | "quot" | "apos" => continue,
                other if other.starts_with('#') => continue,
                _ => return Err(CdaError::Entity),
            },
            Event::Eof => return Err(XmlError::Malformed("it ends too early".into()).into()),
            Event::Text(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => continue,
        };
        let local = start.local_name();
        match (cut, depth) {
            (Some(cut), _) => {
                let body = if local.as_ref() == "nonXMLBody" { Body::NonXml } else { Body::Structured };
                return finish(text, cut, root, body);
            }
            (None, 0) if hl7 && local.as_ref() == "ClinicalDocument" => root = Some(name(&start)),
            (None, 0) => return Err(CdaError::NotCda),
            (None, 1) if hl7 && local.as_ref() == "component" => cut = Some(before),
            _ => {}
        }
        match (empty, cut) {
            (true, Some(cut)) => return finish(text, cut, root, Body::Absent),
            (true, None) if depth == 0 => return Ok((upto(text, position(&reader))?, Body::Absent)),
            (true, None) => {}
            (false, _) => depth += 1,
        }
        if depth > depth_limit {
            return Err(CdaError::TooDeep(depth_limit));
        }
    }
}

fn finish(text: &str, cut: usize, root: Option<String>, body: Body) -> Result<(String, Body), CdaError> {
    let name = root.ok_or(CdaError::NotCda)?;
    let mut header = upto(text, cut)?;
    // The end tag of the element that was cut open: its own name, as it was written.
    header.extend(["</", &name, ">"]);
    Ok((header, body))
}

fn upto(text: &str, end: usize) -> Result<String, CdaError> {
    text.get(..end).map(str::to_owned).ok_or_else(|| XmlError::Malformed(format!("at byte {end}")).into())
}

fn name(start: &BytesStart<'_>) -> String {
    start.name().as_ref().to_owned()
}

fn position(reader: &NsReader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

/// The place of an error. The library's own text quotes the document, which can be patient data.
fn malformed(_: &Error, at: usize) -> CdaError {
    XmlError::Malformed(format!("at byte {at}")).into()
}

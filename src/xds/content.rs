//! A document's bytes in a message: inline as base64, or a reference to a part of the MIME package (XOP).

use std::fmt;

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use crate::ebxml::DecodeError;
use crate::xml::{Element, Writer, ns};

/// Where the bytes are.
#[derive(Clone, Eq, PartialEq)]
pub enum Content {
    /// In the part of this content id, without `cid:` and percent-decoded. Its bytes are streamed by others.
    Attached(String),
    /// In the message.
    Inline(Vec<u8>),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attached(cid) => write!(f, "Attached({cid})"),
            Self::Inline(bytes) => write!(f, "Inline({} bytes)", bytes.len()),
        }
    }
}

/// An attachment that a message refers to: the caller streams it after the message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Part {
    /// Content id, without `cid:` and brackets.
    pub cid: String,
    /// The place of the document in its message, from 0.
    pub index: usize,
}

/// A message and the attachments it refers to, in their order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Encoded {
    /// The body element, with its namespaces.
    pub xml: String,
    /// What has to follow.
    pub parts: Vec<Part>,
}

/// Missing padding occurs.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Content {
    /// Reads the content of an `xds:Document`.
    pub fn decode(document: Element<'_>) -> Result<Self, DecodeError> {
        if let Some(include) = document.child(ns::XOP, "Include") {
            let href = include.require_attribute("href")?.trim();
            let cid = href.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("cid:")).map_or(href, |_| &href[4..]);
            return if cid.is_empty() { Err(DecodeError::NoContent) } else { Ok(Self::Attached(percent_decode(cid))) };
        }
        let text: Vec<u8> = document.text().bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if text.is_empty() && document.children().next().is_some() {
            return Err(DecodeError::NoContent);
        }
        LENIENT.decode(text).map(Self::Inline).map_err(|_| DecodeError::NotBase64)
    }

    /// Writes the content of an open `xds:Document`, and notes the attachment it refers to.
    pub fn write(&self, w: &mut Writer, index: usize, parts: &mut Vec<Part>) {
        match self {
            Self::Attached(cid) => {
                w.start("xop:Include")
                    .attribute("xmlns:xop", ns::XOP)
                    .attribute("href", &format!("cid:{}", percent_encode(cid)))
                    .end();
                parts.push(Part { cid: cid.clone(), index });
            }
            Self::Inline(bytes) => {
                w.text(&STANDARD.encode(bytes));
            }
        }
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Escapes what a URL cannot hold (RFC 2392); `@` may stay.
fn percent_encode(text: &str) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~@+!$&'()*,;=:".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Limits, parse};

    fn read(document: &str) -> Result<Content, DecodeError> {
        let tree = parse(document, &Limits::default()).unwrap();
        Content::decode(tree.root().unwrap())
    }

    #[test]
    fn references_and_inline_content_are_told_apart() {
        let include = |href: &str| {
            format!("<D>\n <x:Include xmlns:x='http://www.w3.org/2004/08/xop/include' href='{href}'/>\n</D>")
        };
        for (text, content) in [
            (include("cid:1@example.org"), Ok(Content::Attached("1@example.org".into()))),
            (include("cid:a%2Fb%20c@x"), Ok(Content::Attached("a/b c@x".into()))),
            (include("cid:"), Err(DecodeError::NoContent)),
            ("<D>aGVs\n bG8=</D>".into(), Ok(Content::Inline(b"hello".to_vec()))),
            ("<D>aGVsbG8</D>".into(), Ok(Content::Inline(b"hello".to_vec()))),
            ("<D/>".into(), Ok(Content::Inline(vec![]))),
            ("<D>*</D>".into(), Err(DecodeError::NotBase64)),
            ("<D><other/></D>".into(), Err(DecodeError::NoContent)),
        ] {
            assert_eq!(read(&text), content, "{text}");
        }
    }

    #[test]
    fn content_ids_survive_the_way_through_a_url() {
        for cid in ["1@example.org", "a/b c%@x", "urn:uuid:00", "ü"] {
            let mut w = Writer::new();
            let mut parts = Vec::new();
            w.start("D");
            Content::Attached(cid.into()).write(&mut w, 3, &mut parts);
            assert_eq!(read(&w.finish()).unwrap(), Content::Attached(cid.into()));
            assert_eq!(parts, [Part { cid: cid.into(), index: 3 }]);
        }
    }
}

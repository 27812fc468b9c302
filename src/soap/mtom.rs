//! MTOM/XOP packages: a SOAP envelope and its documents as one multipart/related body (ITI TF-2: V.8, RFC 2387).
//!
//! Reading and writing are streams without a socket. [`Reader`] takes bytes as they come and gives parts in pieces, so a
//! document of any size passes through one window of memory; [`Writer`] gives the bytes between the documents, so that
//! whoever owns the socket can send files in between. What partners get wrong and this reader forgives is said where it
//! is forgiven: `sniff` (header and bytes disagree), `read` (delimiters, encodings), [`root_of`] and [`cid_of`].

pub mod content_type;
mod decode;
pub mod read;
pub mod write;

use std::fmt;

use bytes::{Bytes, BytesMut};

pub use content_type::{ContentType, SNIFF_BYTES, Shape, sniff};
pub use decode::decode_base64;
pub use read::{Event, PartHeaders, Reader, TransferEncoding};
pub use write::{ContentId, Writer, write_all, write_include};

/// What a package may cost. Sizes of documents are for the caller to limit as the pieces come.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Headers of one part, in bytes.
    pub header_bytes: usize,
    /// Parts of one package, the root included.
    pub parts: usize,
    /// Text before the first delimiter, in bytes.
    pub preamble_bytes: usize,
}

impl Default for Limits {
    /// 16 KiB of headers, 1000 parts, 4 KiB of preamble.
    fn default() -> Self {
        Self { header_bytes: 16 << 10, parts: 1000, preamble_bytes: 4 << 10 }
    }
}

/// Why a package was not read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MtomError {
    /// The header value has no media type.
    #[error("the content type is empty or not a media type")]
    BadContentType,
    /// multipart without a boundary, or one that is empty, too long or has control characters.
    #[error("the content type says multipart but names no usable boundary")]
    NoBoundary,
    /// No delimiter line anywhere.
    #[error("the body has no part: the boundary of its content type does not occur in it")]
    NoParts,
    /// The body ended inside a part. A package whose last delimiter only lacks its final `--` is not truncated.
    #[error("the multipart body is truncated")]
    Truncated,
    /// More parts than the limit.
    #[error("the multipart body has more than {0} parts")]
    TooManyParts(usize),
    /// Longer headers of a part than the limit.
    #[error("the headers of a part are longer than {0} bytes")]
    HeadersTooLong(usize),
    /// More text before the first delimiter than the limit.
    #[error("more than {0} bytes come before the first part")]
    PreambleTooLong(usize),
    /// A Content-Transfer-Encoding that is none of RFC 2045.
    #[error("the Content-Transfer-Encoding of a part is not known")]
    UnknownEncoding,
    /// Content that claims base64 and is not.
    #[error("the content is not base64")]
    BadBase64,
    /// Two parts of one name: which of them a reference means would be a guess.
    #[error("two parts have the same Content-ID")]
    DuplicateContentId,
}

/// A whole package in memory.
#[derive(Clone, Eq, PartialEq)]
pub struct Package {
    /// The part with the envelope.
    pub root: Part,
    /// The other parts in their order.
    pub parts: Vec<Part>,
}

impl Package {
    /// The part that an `xop:Include/@href` refers to.
    pub fn part(&self, href: &str) -> Option<&Part> {
        let id = cid_of(href)?;
        self.parts.iter().find(|part| part.headers.content_id.as_deref() == Some(&*id))
    }
}

impl fmt::Debug for Package {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Package").field("root", &self.root).field("parts", &self.parts.len()).finish()
    }
}

/// One part of a package.
#[derive(Clone, Eq, PartialEq)]
pub struct Part {
    /// What its headers say.
    pub headers: PartHeaders,
    /// Its content with the transfer encoding taken off, otherwise byte for byte.
    pub content: Bytes,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("headers", &self.headers).field("bytes", &self.content.len()).finish()
    }
}

/// Reads a body that is all in memory. A body that is plain SOAP is a package of one part, whatever its header claims:
/// live responders answer ITI-39 so (ITI TF-2: V.8 allows a fault in that form too).
pub fn read_all(body: &[u8], content_type: &ContentType, limits: Limits) -> Result<Package, MtomError> {
    let boundary = match sniff(content_type, body)? {
        Shape::Multipart { boundary } => boundary,
        Shape::Plain => {
            let headers = PartHeaders { content_type: Some(content_type.to_string()), ..PartHeaders::default() };
            return Ok(Package { root: Part { headers, content: Bytes::copy_from_slice(body) }, parts: Vec::new() });
        }
    };
    let mut parts = collect(body, &boundary, limits)?;
    let root = root_of(content_type.start(), parts.iter().map(|part| part.headers.content_id.as_deref()));
    let root = parts.remove(root.min(parts.len() - 1));
    Ok(Package { root, parts })
}

fn collect(body: &[u8], boundary: &str, limits: Limits) -> Result<Vec<Part>, MtomError> {
    let mut reader = Reader::new(boundary, limits)?;
    reader.push(body);
    reader.finish();
    let mut parts = Vec::new();
    let mut open: Option<(PartHeaders, BytesMut)> = None;
    while let Some(event) = reader.next()? {
        match event {
            Event::PartStart(headers) => open = Some((headers, BytesMut::new())),
            Event::Data(data) => {
                if let Some((_, content)) = &mut open {
                    content.extend_from_slice(&data);
                }
            }
            Event::PartEnd => {
                parts.extend(open.take().map(|(headers, content)| Part { headers, content: content.freeze() }))
            }
            Event::End => break,
        }
    }
    if parts.is_empty() { Err(MtomError::NoParts) } else { Ok(parts) }
}

/// Which part is the root: the one whose Content-ID is the `start` parameter, else the first. Partners send a `start`
/// that names no part, or none at all.
pub fn root_of<'i>(start: Option<&str>, ids: impl IntoIterator<Item = Option<&'i str>>) -> usize {
    let Some(start) = start.and_then(content_id) else { return 0 };
    ids.into_iter().position(|id| id == Some(&*start)).unwrap_or(0)
}

/// A Content-ID as it is compared: without white space, `<>` and percent-encoding, in its own case. None if that leaves
/// nothing. Stacks encode the header and not the reference, or the reverse, so both sides are decoded.
pub fn content_id(text: &str) -> Option<String> {
    let text = text.trim();
    let bare = text.strip_prefix('<').unwrap_or(text);
    let bare = bare.strip_suffix('>').unwrap_or(bare).trim();
    Some(percent_decoded(bare)).filter(|id| !id.is_empty())
}

/// The Content-ID that a `cid:` reference names, as [`content_id`] gives it; none if it is not a `cid:` URL (RFC 2392).
pub fn cid_of(href: &str) -> Option<String> {
    let href = href.trim();
    let scheme = href.get(..4)?;
    if scheme.eq_ignore_ascii_case("cid:") { content_id(&href[4..]) } else { None }
}

/// Percent-decoding. A `%` without two hexadecimal digits stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let decoded = match bytes.get(at..at + 3) {
            Some([b'%', digits @ ..]) => std::str::from_utf8(digits)
                .ok()
                .filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        out.push(decoded.unwrap_or(bytes[at]));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests;

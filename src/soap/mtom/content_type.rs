//! The Content-Type header of a SOAP message, and what to do when it and the bytes disagree.

use std::fmt;

use super::MtomError;

/// How many bytes of a body are enough for [`sniff`].
pub const SNIFF_BYTES: usize = 1024;

/// The longest boundary accepted. RFC 2046 says 70; nobody gains by refusing a few more.
const BOUNDARY_LENGTH: usize = 200;

/// A media type with its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContentType {
    media_type: String,
    parameters: Vec<(String, String)>,
}

impl ContentType {
    /// Reads a header value: parameters in any order, quoted or bare, with or without a space after `;`. A quoted value
    /// may contain `;`. An unclosed quotation mark is closed by the end of the value.
    pub fn parse(value: &str) -> Result<Self, MtomError> {
        let (media_type, mut rest) = value.split_at(value.find(';').unwrap_or(value.len()));
        let media_type = media_type.trim().to_ascii_lowercase();
        let well_formed = media_type.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
        if !well_formed {
            return Err(MtomError::BadContentType);
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        while let Some((name, text, after)) = next_parameter(rest) {
            rest = after;
            // The first of two equal names counts, so that a parameter added on the way changes nothing.
            if !name.is_empty() && !parameters.iter().any(|(known, _)| *known == name) {
                parameters.push((name, text));
            }
        }
        Ok(Self { media_type, parameters })
    }

    /// `type/subtype` in lower case.
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// A parameter by its lower-case name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether the header claims a body of several parts.
    pub fn is_multipart(&self) -> bool {
        self.media_type.starts_with("multipart/")
    }

    /// Whether the header claims an MTOM package: multipart/related of `application/xop+xml` (ITI TF-2: V.8).
    pub fn is_xop(&self) -> bool {
        let xop = |kind: &str| kind.trim().eq_ignore_ascii_case("application/xop+xml");
        self.media_type == "multipart/related" && self.kind().is_some_and(xop)
    }

    /// `charset`.
    pub fn charset(&self) -> Option<&str> {
        self.parameter("charset")
    }

    /// `boundary`.
    pub fn boundary(&self) -> Option<&str> {
        self.parameter("boundary")
    }

    /// `start`, as sent: with or without `<>`.
    pub fn start(&self) -> Option<&str> {
        self.parameter("start")
    }

    /// `type`, the media type of the root part.
    pub fn kind(&self) -> Option<&str> {
        self.parameter("type")
    }

    /// `start-info`. To be ignored: partners send `text/xml` with SOAP 1.2.
    pub fn start_info(&self) -> Option<&str> {
        self.parameter("start-info")
    }

    /// `action`. Receivers dispatch on `wsa:Action` and ignore this one (ITI TF-2: V.3).
    pub fn action(&self) -> Option<&str> {
        self.parameter("action")
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.media_type)?;
        for (name, value) in &self.parameters {
            write!(f, "; {name}={}", quoted(value))?;
        }
        Ok(())
    }
}

/// A value as a quoted string (RFC 9110: 5.6.4). Control characters, which no header may carry, are left out.
pub(super) fn quoted(value: &str) -> String {
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// A token of RFC 9110.
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Name in lower case, value, and what follows; none at the end.
fn next_parameter(text: &str) -> Option<(String, String, &str)> {
    let text = text.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
    if text.is_empty() {
        return None;
    }
    let name_end = text.find(['=', ';']).unwrap_or(text.len());
    let (name, rest) = text.split_at(name_end);
    let name = name.trim().to_ascii_lowercase();
    let Some(value) = rest.strip_prefix('=') else { return Some((name, String::new(), rest)) };
    let value = value.trim_start();
    let Some(inner) = value.strip_prefix('"') else {
        let (bare, after) = value.split_at(value.find(';').unwrap_or(value.len()));
        return Some((name, bare.trim().to_owned(), after));
    };
    let mut unescaped = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((name, unescaped, &inner[at + 1..])),
            '\\' => unescaped.extend(characters.next().map(|(_, escaped)| escaped)),
            _ => unescaped.push(c),
        }
    }
    Some((name, unescaped, ""))
}

/// How a body is to be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Shape {
    /// As parts between delimiters.
    Multipart {
        /// The boundary to split at.
        boundary: String,
    },
    /// As it is.
    Plain,
}

/// Decides from the header and the first bytes ([`SNIFF_BYTES`], or all of a shorter body) how to read a body.
///
/// The bytes win where they are plain: a SOAP envelope under a multipart header, parts under a SOAP header, parts under
/// another boundary than the header's (a proxy wrote a new header over an old body). All three come from live partners.
pub fn sniff(content_type: &ContentType, first: &[u8]) -> Result<Shape, MtomError> {
    let claimed = if content_type.is_multipart() { content_type.boundary().and_then(usable_boundary) } else { None };
    let start = first.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(first).trim_ascii_start();
    let start = &start[..start.len().min(SNIFF_BYTES)];
    if let Some(boundary) = &claimed
        && memchr::memmem::find(start, &[b"--", boundary.as_bytes()].concat()).is_some()
    {
        return Ok(Shape::Multipart { boundary: boundary.clone() });
    }
    if start.first() == Some(&b'<') {
        return Ok(Shape::Plain);
    }
    if let Some(boundary) = boundary_in(start) {
        return Ok(Shape::Multipart { boundary });
    }
    match claimed {
        Some(boundary) => Ok(Shape::Multipart { boundary }),
        None if content_type.is_multipart() => Err(MtomError::NoBoundary),
        None => Ok(Shape::Plain),
    }
}

/// A boundary that can be searched for.
pub(super) fn usable_boundary(text: &str) -> Option<String> {
    let text = text.trim_end();
    let usable = !text.is_empty() && text.len() <= BOUNDARY_LENGTH && !text.chars().any(char::is_control);
    usable.then(|| text.to_owned())
}

/// The boundary of a body that begins with a delimiter line and a `Content-` header.
fn boundary_in(start: &[u8]) -> Option<String> {
    let line_end = memchr::memchr(b'\n', start)?;
    let line = std::str::from_utf8(start.get(2..line_end)?).ok()?;
    let next = start.get(line_end + 1..line_end + 9)?;
    let looks_right = start.starts_with(b"--") && next.eq_ignore_ascii_case(b"content-");
    usable_boundary(line).filter(|_| looks_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ContentType {
        ContentType::parse(text).unwrap()
    }

    #[test]
    fn reads_parameters_in_every_form_that_partners_send() {
        for text in [
            r#"multipart/related; boundary="b;1"; type="application/xop+xml"; start="<r@x>"; start-info="application/soap+xml"; action="urn:a""#,
            r#"Multipart/Related;start-info="application/soap+xml";START="<r@x>";action="urn:a";type=application/xop+xml;boundary="b;1""#,
            "multipart/related ; type = application/xop+xml ; boundary = \"b;1\";\r\n start=<r@x>; start-info=application/soap+xml; action=urn:a;",
            r#"multipart/related;;boundary="b;1"; boundary="other"; start="<r@x>"; type="application/xop+xml"; start-info="application/soap+xml"; flag; action="urn:a"#,
        ] {
            let found = parse(text);
            assert_eq!(found.boundary(), Some("b;1"), "{text}");
            assert_eq!(found.start(), Some("<r@x>"), "{text}");
            assert_eq!(found.start_info(), Some("application/soap+xml"), "{text}");
            assert_eq!(found.action(), Some("urn:a"), "{text}");
            assert!(found.is_xop() && found.is_multipart(), "{text}");
        }
    }

    #[test]
    fn simple_soap_keeps_its_charset_whatever_the_spacing() {
        for text in ["application/soap+xml;charset=UTF-8", "application/soap+xml; Charset=\"UTF-8\"; action=\"x\""] {
            let found = parse(text);
            assert_eq!((found.media_type(), found.charset()), ("application/soap+xml", Some("UTF-8")), "{text}");
            assert!(!found.is_multipart());
        }
        assert_eq!(parse("application/soap+xml").charset(), None);
    }

    #[test]
    fn escapes_in_quoted_values_are_undone_and_redone() {
        let found = parse(r#"a/b; boundary="x\"y\\z""#);
        assert_eq!(found.boundary(), Some(r#"x"y\z"#));
        assert_eq!(parse(&found.to_string()), found);
    }

    #[test]
    fn what_is_no_media_type_is_refused() {
        for text in ["", ";", "soap", "a/", "/b", "a b/c", "; boundary=x"] {
            assert_eq!(ContentType::parse(text), Err(MtomError::BadContentType), "{text:?}");
        }
    }

    /// ITI TF-2: V.8 and what live partners make of it.
    #[test]
    fn the_bytes_decide_where_the_header_is_wrong() {
        let multipart = |boundary: &str| Shape::Multipart { boundary: boundary.to_owned() };
        for (header, body, shape) in [
            ("multipart/related; boundary=b", "--b\r\nContent-ID: <1>\r\n\r\n", multipart("b")),
            ("multipart/related; boundary=b", "\u{FEFF}<?xml version='1.0'?><e/>", Shape::Plain),
            ("multipart/related; boundary=b", "\r\n <s:Envelope/>", Shape::Plain),
            ("multipart/related; boundary=b", "A message of parts.\r\n--b\r\n", multipart("b")),
            ("multipart/related; boundary=b", "--other\r\nContent-Type: x/y\r\n\r\n", multipart("other")),
            ("multipart/related; boundary=b", "--dashes in a preamble\r\nand more\r\n", multipart("b")),
            ("multipart/related; boundary=b", "", multipart("b")),
            ("multipart/related", "--found\ncontent-type: x/y\n\n", multipart("found")),
            ("application/soap+xml", "--b\r\nContent-Type: x/y\r\n\r\n", multipart("b")),
            ("application/soap+xml; boundary=b", "--b", Shape::Plain),
            ("application/soap+xml", "<s:Envelope/>", Shape::Plain),
            ("application/soap+xml", "", Shape::Plain),
        ] {
            assert_eq!(sniff(&parse(header), body.as_bytes()), Ok(shape), "{header} {body:?}");
        }
        assert_eq!(sniff(&parse("multipart/related"), b"text"), Err(MtomError::NoBoundary));
        assert_eq!(sniff(&parse("multipart/related; boundary=\"\""), b"text"), Err(MtomError::NoBoundary));
    }
}

//! Writing a package: the bytes between the documents, so that documents can be streamed from files. Nothing here knows
//! a length; the body goes out chunked.

use std::fmt;

use bytes::Bytes;

use super::content_type::{is_token, quoted};
use crate::xml::{self, ns};

/// The Content-ID of a part, without `<>`. Its characters need no escaping in a header or in a `cid:` URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ContentId(String);

impl ContentId {
    /// A new one, unlike any other.
    pub fn random() -> Self {
        Self(format!("{}@causeway", uuid::Uuid::new_v4()))
    }

    /// The reference to the part, for `xop:Include/@href`.
    pub fn href(&self) -> String {
        format!("cid:{}", self.0)
    }
}

impl fmt::Display for ContentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Writes `xop:Include` as the only child of the element just opened: no white space may stand beside it.
pub fn write_include(writer: &mut xml::Writer, part: &ContentId) {
    writer.start("xop:Include").attribute("xmlns:xop", ns::XOP).attribute("href", &part.href()).end();
}

/// Frames one package (ITI TF-2: V.8). Send `root_head`, the envelope, then for each document `part_head` and its bytes,
/// then `end`.
#[derive(Debug)]
pub struct Writer {
    boundary: String,
    root: ContentId,
    action: Option<String>,
}

impl Writer {
    /// A package with a boundary of its own. `action` is the optional parameter that receivers ignore.
    pub fn new(action: Option<&str>) -> Self {
        // 122 random bits: no document contains this by accident or by intent.
        let boundary = format!("causeway-{}", uuid::Uuid::new_v4());
        Self { boundary, root: ContentId::random(), action: action.map(str::to_owned) }
    }

    /// The Content-Type header of the HTTP message.
    pub fn content_type(&self) -> String {
        let mut value = format!(
            "multipart/related; boundary={}; type=\"application/xop+xml\"; start={}; start-info=\"application/soap+xml\"",
            quoted(&self.boundary),
            quoted(&format!("<{}>", self.root)),
        );
        if let Some(action) = &self.action {
            value.push_str("; action=");
            value.push_str(&quoted(action));
        }
        value
    }

    /// What comes before the envelope, which must be UTF-8.
    pub fn root_head(&self) -> Bytes {
        let head = format!(
            "--{}\r\nContent-Type: application/xop+xml; charset=UTF-8; type=\"application/soap+xml\"\r\n\
             Content-Transfer-Encoding: binary\r\nContent-ID: <{}>\r\n\r\n",
            self.boundary, self.root
        );
        head.into()
    }

    /// What comes before a document. A media type that could not stand in a header becomes `application/octet-stream`.
    pub fn part_head(&self, id: &ContentId, media_type: &str) -> Bytes {
        let head = format!(
            "\r\n--{}\r\nContent-Type: {}\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <{id}>\r\n\r\n",
            self.boundary,
            header_safe(media_type),
        );
        head.into()
    }

    /// What comes after the last document.
    pub fn end(&self) -> Bytes {
        format!("\r\n--{}--\r\n", self.boundary).into()
    }
}

/// A package in memory: the Content-Type header and the body. Each part is its id, its media type and its bytes.
pub fn write_all(action: Option<&str>, envelope: &str, parts: &[(ContentId, &str, &[u8])]) -> (String, Bytes) {
    let writer = Writer::new(action);
    let mut body =
        Vec::with_capacity(envelope.len() + parts.iter().map(|part| part.2.len() + 256).sum::<usize>() + 512);
    body.extend_from_slice(&writer.root_head());
    body.extend_from_slice(envelope.as_bytes());
    for (id, media_type, content) in parts {
        body.extend_from_slice(&writer.part_head(id, media_type));
        body.extend_from_slice(content);
    }
    body.extend_from_slice(&writer.end());
    (writer.content_type(), body.into())
}

fn header_safe(media_type: &str) -> &str {
    let (bare, _) = media_type.split_at(media_type.find(';').unwrap_or(media_type.len()));
    let well_formed = bare.trim().split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    let printable = media_type.bytes().all(|b| (b' '..=b'~').contains(&b));
    if well_formed && printable { media_type.trim() } else { "application/octet-stream" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::mtom::{ContentType, Limits, read_all};

    /// The form of ITI TF-2: V.8.
    #[test]
    fn headers_are_those_of_the_specification() {
        let writer = Writer { boundary: "b".into(), root: ContentId("r@x".into()), action: Some("urn:a".into()) };
        assert_eq!(
            writer.content_type(),
            "multipart/related; boundary=\"b\"; type=\"application/xop+xml\"; start=\"<r@x>\"; \
             start-info=\"application/soap+xml\"; action=\"urn:a\""
        );
        assert_eq!(
            writer.root_head(),
            "--b\r\nContent-Type: application/xop+xml; charset=UTF-8; type=\"application/soap+xml\"\r\n\
             Content-Transfer-Encoding: binary\r\nContent-ID: <r@x>\r\n\r\n"
        );
        assert_eq!(
            writer.part_head(&ContentId("1@x".into()), "text/xml"),
            "\r\n--b\r\nContent-Type: text/xml\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <1@x>\r\n\r\n"
        );
        assert_eq!(writer.end(), "\r\n--b--\r\n");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (one, two) = (ContentId::random(), ContentId::random());
        let content = b"\r\n--binary\0\xFF\r\n\r";
        let (header, body) = write_all(None, "<e/>", &[(one.clone(), "text/xml", content), (two.clone(), "a/b", b"")]);
        let package = read_all(&body, &ContentType::parse(&header).unwrap(), Limits::default()).unwrap();
        assert_eq!(&package.root.content[..], b"<e/>");
        assert_eq!(&package.part(&one.href()).unwrap().content[..], content);
        assert_eq!(&package.part(&two.href()).unwrap().content[..], b"");
    }

    #[test]
    fn no_two_packages_share_a_boundary_or_an_id() {
        assert_ne!(Writer::new(None).boundary, Writer::new(None).boundary);
        assert_ne!(ContentId::random(), ContentId::random());
    }

    #[test]
    fn a_media_type_from_metadata_cannot_add_headers() {
        for (told, written) in [
            ("text/xml", "text/xml"),
            ("text/plain; charset=UTF-8", "text/plain; charset=UTF-8"),
            ("text/xml\r\nX-Evil: 1", "application/octet-stream"),
            ("", "application/octet-stream"),
            ("nonsense", "application/octet-stream"),
            ("text/plàin", "application/octet-stream"),
        ] {
            assert_eq!(header_safe(told), written, "{told:?}");
        }
    }

    #[test]
    fn the_include_stands_alone_in_its_element() {
        let mut writer = xml::Writer::new();
        writer.start("Document");
        write_include(&mut writer, &ContentId("1@x".into()));
        let written =
            "<Document><xop:Include xmlns:xop=\"http://www.w3.org/2004/08/xop/include\" href=\"cid:1@x\"/></Document>";
        assert_eq!(writer.finish(), written);
    }
}

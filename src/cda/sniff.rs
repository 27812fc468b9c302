//! What a document is, by its bytes: declared media types are unreliable.

use quick_xml::NsReader;
use quick_xml::events::Event;
use quick_xml::name::ResolveResult;

use super::scan::start_of;
use crate::xml::{decode_text, ns};

/// How far a document is looked into.
const LOOK: usize = 64 << 10;

/// Kinds of document that partners send.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// XML whose document element is `ClinicalDocument` of HL7 version 3.
    Cda,
    /// XML of any other kind.
    OtherXml,
    /// PDF.
    Pdf,
    /// JPEG.
    Jpeg,
    /// PNG.
    Png,
    /// GIF.
    Gif,
    /// TIFF of either byte order.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// WebP.
    Webp,
    /// Text without markup that is known here.
    Text,
    /// ZIP, and so an IHE XDM package or an office document.
    Zip,
    /// Nothing known, or nothing at all.
    Unknown,
}

impl Kind {
    /// What people call it, with its article.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cda => "a clinical document",
            Self::OtherXml => "XML of another kind",
            Self::Pdf => "a PDF",
            Self::Jpeg | Self::Png | Self::Gif | Self::Tiff | Self::Bmp | Self::Webp => "an image",
            Self::Text => "plain text",
            Self::Zip => "a ZIP archive",
            Self::Unknown => "of a kind that is not known here",
        }
    }

    /// The media type for `DocumentEntry.mimeType`; `text/xml` for a CDA (IHE PCC TF-2: 4.1.1).
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Cda | Self::OtherXml => "text/xml",
            Self::Pdf => "application/pdf",
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Gif => "image/gif",
            Self::Tiff => "image/tiff",
            Self::Bmp => "image/bmp",
            Self::Webp => "image/webp",
            Self::Text => "text/plain",
            Self::Zip => "application/zip",
            Self::Unknown => "application/octet-stream",
        }
    }
}

/// Looks at the first bytes of a document.
pub fn sniff(bytes: &[u8]) -> Kind {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => Kind::Jpeg,
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Kind::Png,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Kind::Gif,
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Kind::Tiff,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Kind::Webp,
        // Bytes 6 to 9 are reserved and zero; text may well begin with "BM".
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Kind::Bmp,
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Kind::Zip,
        // Some producers write a line before the mark; readers look for it in the first kilobyte.
        _ if bytes[..bytes.len().min(1024)].windows(5).any(|window| window == b"%PDF-") => Kind::Pdf,
        _ => text_kind(bytes),
    }
}

fn text_kind(bytes: &[u8]) -> Kind {
    let start = start_of(bytes, LOOK);
    let Ok(text) = decode_text(start, None) else { return Kind::Unknown };
    let text = text.trim_start();
    if text.is_empty() || text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{c}')) {
        return Kind::Unknown;
    }
    if text.starts_with('<') {
        return xml_kind(text);
    }
    Kind::Text
}

/// Text that begins with `<` is XML if it has a start tag that can be read, or an XML declaration.
fn xml_kind(text: &str) -> Kind {
    let mut reader = NsReader::from_str(text);
    loop {
        match reader.read_resolved_event() {
            Ok((namespace, Event::Start(start) | Event::Empty(start))) => {
                let hl7 = matches!(namespace, ResolveResult::Bound(bound) if bound.0 == ns::HL7V3);
                let cda = hl7 && start.local_name().as_ref() == "ClinicalDocument";
                return if cda { Kind::Cda } else { Kind::OtherXml };
            }
            Ok((_, Event::Eof)) | Err(_) => {
                return if text.starts_with("<?xml") { Kind::OtherXml } else { Kind::Text };
            }
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_tell_what_a_document_is() {
        let utf16: Vec<u8> = [0xFF, 0xFE]
            .into_iter()
            .chain("<ClinicalDocument xmlns='urn:hl7-org:v3'/>".encode_utf16().flat_map(u16::to_le_bytes))
            .collect();
        for (bytes, kind, media_type) in [
            (
                b"\n<?xml version='1.0'?><!-- x --><ClinicalDocument xmlns='urn:hl7-org:v3'>".as_slice(),
                Kind::Cda,
                "text/xml",
            ),
            (b"<c:ClinicalDocument xmlns:c='urn:hl7-org:v3'>", Kind::Cda, "text/xml"),
            (&utf16, Kind::Cda, "text/xml"),
            (b"<ClinicalDocument>", Kind::OtherXml, "text/xml"),
            (b"<Bundle xmlns='http://hl7.org/fhir'/>", Kind::OtherXml, "text/xml"),
            (b"<?xml version='1.0'?>", Kind::OtherXml, "text/xml"),
            (b"< 5 mg/dl", Kind::Text, "text/plain"),
            (b"\n%PDF-1.7\n", Kind::Pdf, "application/pdf"),
            (b"\xFF\xD8\xFF\xE0", Kind::Jpeg, "image/jpeg"),
            (b"\x89PNG\r\n\x1a\n", Kind::Png, "image/png"),
            (b"GIF89a", Kind::Gif, "image/gif"),
            (b"II*\0", Kind::Tiff, "image/tiff"),
            (b"MM\0*", Kind::Tiff, "image/tiff"),
            (b"BM\x46\0\0\0\0\0\0\0", Kind::Bmp, "image/bmp"),
            (b"BMI 24.2 kg per m2", Kind::Text, "text/plain"),
            (b"RIFF\x24\0\0\0WEBPVP8 ", Kind::Webp, "image/webp"),
            (b"PK\x03\x04", Kind::Zip, "application/zip"),
            ("Größe 1,80 m\r\n".as_bytes(), Kind::Text, "text/plain"),
            (b"", Kind::Unknown, "application/octet-stream"),
            (b"\0\x01\x02", Kind::Unknown, "application/octet-stream"),
            (b"\xC3\x28", Kind::Unknown, "application/octet-stream"),
        ] {
            assert_eq!(
                (sniff(bytes), sniff(bytes).media_type()),
                (kind, media_type),
                "{:?}",
                String::from_utf8_lossy(bytes)
            );
        }
    }

    #[test]
    fn a_long_text_is_judged_by_its_start_even_if_that_cuts_a_character() {
        for shift in 0..4 {
            let text = "x".repeat(shift) + &"ö€😀".repeat(LOOK / 4);
            assert_eq!(sniff(text.as_bytes()), Kind::Text, "{shift}");
        }
    }
}

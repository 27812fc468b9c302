//! What the fuzz targets share: the ways from bytes to the value that a decoder takes.

use std::sync::LazyLock;

use causeway::hl7v2;
use causeway::id::{AssigningAuthority, Domain, Domains, Oid};
use causeway::pipeline::fhir::{Content, format};
use causeway::xml::{self, Element, Limits, ns};

/// A gateway's domains, of the example arc and of the IHE Connectathon, whose messages are among the seeds.
pub static DOMAINS: LazyLock<Domains> = LazyLock::new(|| {
    let known = [
        ("HOSPITAL", "2.999.1.3"),
        ("CLINIC", "2.999.2.3"),
        ("IHERED", "1.3.6.1.4.1.21367.13.20.1000"),
        ("IHEBLUE", "1.3.6.1.4.1.21367.13.20.3000"),
        ("XREF2005", "1.3.6.1.4.1.21367.2005.1.2"),
        ("HZLN", "1.2.840.114350.1.13.99998.8734"),
    ];
    let domain = |(name, oid): (&str, &str)| {
        let oid: Oid = oid.parse().ok()?;
        Some(Domain { namespace: name.into(), authority: AssigningAuthority::iso(&oid) })
    };
    Domains::new(known.into_iter().filter_map(domain).collect())
});

/// Reads bytes as an XML document.
pub fn with_root(bytes: &[u8], read: impl FnOnce(Element<'_>)) {
    let Ok(text) = xml::decode_text(bytes, None) else { return };
    let Ok(tree) = xml::parse(&text, &Limits::default()) else { return };
    if let Ok(root) = tree.root() {
        read(root);
    }
}

/// Reads bytes as a SOAP message or as its payload alone, and gives the payload with the SOAP header.
pub fn with_payload(bytes: &[u8], read: impl FnOnce(Element<'_>, Option<Element<'_>>)) {
    with_root(bytes, |root| match root.child(ns::SOAP12, "Body").and_then(|body| body.children().next()) {
        Some(payload) => read(payload, root.child(ns::SOAP12, "Header")),
        None => read(root, None),
    });
}

/// Reads bytes as an HL7 v2 message.
pub fn with_message(bytes: &[u8], read: impl FnOnce(hl7v2::Message)) {
    if let Ok(message) = hl7v2::Message::parse(bytes, &hl7v2::Limits::default()) {
        read(message);
    }
}

/// What we write as XML must be readable, and writing what was read must give the same text again.
pub fn check_xml_is_stable(written: &str, rewrite: impl FnOnce(Element<'_>) -> String) {
    let limits = Limits { bytes: usize::MAX, ..Limits::default() };
    let tree = xml::parse(written, &limits).expect("what we write is well-formed");
    let again = rewrite(tree.root().expect("what we write has a root"));
    assert_eq!(written, again, "written twice");
}

/// What we write as HL7 v2 must be readable, and writing what was read must give the same bytes again.
pub fn check_message_is_stable(written: &[u8], rewrite: impl FnOnce(hl7v2::Message) -> Vec<u8>) {
    let limits = hl7v2::Limits { bytes: usize::MAX, segments: usize::MAX, fields: usize::MAX, repetitions: usize::MAX };
    let message = hl7v2::Message::parse(written, &limits).expect("what we write is a message");
    let again = rewrite(message);
    assert_eq!(String::from_utf8_lossy(written), String::from_utf8_lossy(&again), "written twice");
}

/// Cuts bytes into pieces: the first byte seeds the lengths, from 1 to 64, the rest is content.
pub fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (&seed, mut rest) = bytes.split_first().unwrap_or((&0, &[]));
    let mut state = u32::from(seed) + 1;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (piece, left) = rest.split_at(rest.len().min((state >> 26) as usize + 1));
        rest = left;
        Some(piece)
    })
}

/// Reads bytes as a FHIR request: a line with method and query, then a body in JSON, in XML or as a form.
pub fn fhir_request(bytes: &[u8]) -> Option<(&str, &str, Content)> {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, body) = bytes.split_at(end);
    let (method, query) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let body = body.get(1..).unwrap_or_default();
    let kind = match body.first() {
        Some(b'{' | b'[') => "application/fhir+json",
        Some(b'<') => "application/fhir+xml",
        _ => "application/x-www-form-urlencoded",
    };
    let body = format::read(Some(kind), body, &Limits::default()).ok()?;
    Some((method, query, body))
}

//! The Content-Type header, and what a body is by its first bytes.
#![no_main]

use causeway::soap::mtom::{ContentType, cid_of, sniff};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    cid_of(&text);
    let (header, body) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(content_type) = ContentType::parse(header) else { return };
    let again = ContentType::parse(&content_type.to_string()).expect("what we write is a content type");
    assert_eq!(content_type.to_string(), again.to_string(), "written twice");
    content_type.action();
    let _ = sniff(&content_type, body.as_bytes());
});

//! Any XML: its text, its tree and its canonical form, which is a fixed point.
#![no_main]

use causeway::xml::{self, Limits};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| causeway_fuzz::with_root(bytes, |root| {
    let canonical = root.canonical(None, &[]);
    root.canonical_with_comments(&["a", "#default"]);
    for element in root.descendants() {
        element.text();
        element.contents().count();
        element.attributes().count();
    }
    let text = std::str::from_utf8(&canonical).expect("canonical XML is UTF-8");
    let limits = Limits { bytes: usize::MAX, ..Limits::default() };
    let tree = xml::parse(text, &limits).expect("canonical XML is XML");
    assert_eq!(tree.root().expect("a root").canonical(None, &[]), canonical, "canonical twice");
}));

//! Clinical documents as pages: well-formed, without scripts, event handlers or addresses of other places.
#![no_main]

use causeway::cda::{Limits, view};
use causeway::xml;
use libfuzzer_sys::fuzz_target;

const FORBIDDEN: [&str; 8] = ["script", "iframe", "object", "embed", "link", "form", "base", "svg"];

fuzz_target!(|bytes: &[u8]| {
    let Ok(page) = view::html(bytes, &Limits::default()) else { return };
    assert!(!page.to_ascii_lowercase().contains("<script"), "a page has no script");
    let text = page.split_once('\n').map_or(page.as_str(), |(_, text)| text);
    let limits = xml::Limits { bytes: usize::MAX, depth: 512 };
    let tree = xml::parse(text, &limits).expect("a page is well-formed after its first line");
    for element in tree.root().expect("a page has a root").descendants() {
        assert!(!FORBIDDEN.contains(&element.local_name()), "<{}> on a page", element.local_name());
        for (_, name, value) in element.attributes() {
            assert!(!name.starts_with("on"), "an event handler on a page");
            assert!(name != "src" || value.starts_with("data:image/"), "an image from elsewhere on a page");
            assert!(name != "href" || value.starts_with('#'), "a link to elsewhere on a page");
        }
    }
});

//! Writing XML: one writer, one escape function. Element and attribute names are literals of the program, so no name
//! can come from data.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Builds a document from the outside in. `start`, then attributes, then content, then `end`.
///
/// ```
/// use causeway::xml::Writer;
/// let mut w = Writer::new();
/// w.start("a").attribute("id", "1").leaf("b", "x < y").end();
/// assert_eq!(w.finish(), r#"<a id="1"><b>x &lt; y</b></a>"#);
/// ```
#[derive(Default)]
pub struct Writer {
    out: String,
    open: Vec<&'static str>,
    in_tag: bool,
}

impl Writer {
    /// An empty document without an XML declaration.
    pub fn new() -> Self {
        Self { out: String::with_capacity(4096), ..Self::default() }
    }

    /// An empty document with the XML declaration for UTF-8.
    pub fn with_declaration() -> Self {
        let mut writer = Self::new();
        writer.out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>");
        writer
    }

    /// Opens an element.
    pub fn start(&mut self, name: &'static str) -> &mut Self {
        self.close_tag();
        self.out.push('<');
        self.out.push_str(name);
        self.open.push(name);
        self.in_tag = true;
        self
    }

    /// An attribute of the element just opened.
    pub fn attribute(&mut self, name: &'static str, value: &str) -> &mut Self {
        debug_assert!(self.in_tag, "attribute {name} after content");
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("=\"");
        escape(&mut self.out, value, true);
        self.out.push('"');
        self
    }

    /// An attribute, if there is a value.
    pub fn attribute_if(&mut self, name: &'static str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.attribute(name, value),
            None => self,
        }
    }

    /// Text content.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.close_tag();
        escape(&mut self.out, text, false);
        self
    }

    /// Bytes as text content, in base64.
    pub fn base64(&mut self, bytes: &[u8]) -> &mut Self {
        self.close_tag();
        // No character of base64 is special.
        BASE64_STANDARD.encode_string(bytes, &mut self.out);
        self
    }

    /// An element with text and no attributes.
    pub fn leaf(&mut self, name: &'static str, text: &str) -> &mut Self {
        self.start(name).text(text).end()
    }

    /// Markup that this writer or the canonicaliser made before: a signed assertion, a body.
    pub fn fragment(&mut self, markup: &str) -> &mut Self {
        self.close_tag();
        self.out.push_str(markup);
        self
    }

    /// Closes the innermost open element.
    pub fn end(&mut self) -> &mut Self {
        if let Some(name) = self.open.pop() {
            if self.in_tag {
                self.out.push_str("/>");
                self.in_tag = false;
            } else {
                self.out.push_str("</");
                self.out.push_str(name);
                self.out.push('>');
            }
        }
        self
    }

    /// The document. Elements still open are closed.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out
    }

    fn close_tag(&mut self) {
        if self.in_tag {
            self.out.push('>');
            self.in_tag = false;
        }
    }
}

/// The bytes at which a text may have to be written otherwise: markup, quotes, control characters, and the first byte of
/// U+FFFE and U+FFFF.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut control = 0;
    while control < 0x20 {
        special[control] = true;
        control += 1;
    }
    special[b'&' as usize] = true;
    special[b'<' as usize] = true;
    special[b'>' as usize] = true;
    special[b'"' as usize] = true;
    special[0xEF] = true;
    special
};

/// Appends text with markup characters escaped. White space that an XML reader would normalise away is kept as a
/// character reference in attributes; characters that XML 1.0 cannot carry become U+FFFD.
///
/// Nearly all text is plain, so it is looked through byte by byte; what is special begins with a byte of its own.
fn escape(out: &mut String, text: &str, attribute: bool) {
    let bytes = text.as_bytes();
    let (mut plain_from, mut from) = (0, 0);
    while let Some(plain) = bytes[from..].iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let at = from + plain;
        from = at + 1;
        let (replacement, length) = match &bytes[at..] {
            [b'&', ..] => ("&amp;", 1),
            [b'<', ..] => ("&lt;", 1),
            [b'>', ..] => ("&gt;", 1),
            [b'"', ..] if attribute => ("&quot;", 1),
            [b'\t', ..] if attribute => ("&#9;", 1),
            [b'\n', ..] if attribute => ("&#10;", 1),
            [b'\r', ..] => ("&#13;", 1),
            [b'\t' | b'\n', ..] => continue,
            [0..=0x1F, ..] => ("\u{FFFD}", 1),
            [0xEF, 0xBF, 0xBE | 0xBF, ..] => ("\u{FFFD}", 3),
            _ => continue,
        };
        out.push_str(&text[plain_from..at]);
        out.push_str(replacement);
        plain_from = at + length;
    }
    out.push_str(&text[plain_from..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::xml::{Limits, parse};

    #[test]
    fn closes_what_was_left_open() {
        let mut w = Writer::with_declaration();
        w.start("a").start("b").text("x");
        assert_eq!(w.finish(), "<?xml version=\"1.0\" encoding=\"UTF-8\"?><a><b>x</b></a>");
    }

    #[test]
    fn what_xml_cannot_carry_is_replaced_and_what_looks_like_it_is_not() {
        let text = "a\u{FFFE}\u{FFFD}\u{FFFF}\u{FF21}\u{0}\u{F}é<\"\t\r\n";
        let mut w = Writer::new();
        w.start("a").attribute("v", text).text(text);
        let (plain, end) = ("a\u{FFFD}\u{FFFD}\u{FFFD}\u{FF21}\u{FFFD}\u{FFFD}é&lt;", "</a>");
        assert_eq!(w.finish(), format!("<a v=\"{plain}&quot;&#9;&#13;&#10;\">{plain}\"\t&#13;\n{end}"));
    }

    #[test]
    fn bytes_are_written_in_base64() {
        let mut w = Writer::new();
        w.start("a").base64(b"\xFF\xFE?");
        assert_eq!(w.finish(), "<a>//4/</a>");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in any::<String>(), value in any::<String>()) {
            let carried = |s: &str| s.chars().map(|c| match c {
                '\t' | '\n' | '\r' => c,
                '\u{0}'..='\u{1F}' | '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
                _ => c,
            }).collect::<String>();
            let mut w = Writer::new();
            w.start("a").attribute("v", &value).text(&text);
            let written = w.finish();
            let tree = parse(&written, &Limits::default()).unwrap();
            let root = tree.root().unwrap();
            prop_assert_eq!(root.text(), carried(&text));
            prop_assert_eq!(root.attribute("v").unwrap(), carried(&value));
        }
    }
}

//! Writes a page that is HTML and well-formed XML at once. Every name in it is a constant of this program; whatever
//! comes from a document passes through [`Html::text`] or a method that allows only harmless values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Kind;

/// A page being written.
#[derive(Default)]
pub(super) struct Html {
    out: String,
    open: Vec<&'static str>,
    /// The start tag at the end of `out` is not closed yet and takes attributes.
    in_tag: bool,
}

impl Html {
    /// An empty page with its document type.
    pub(super) fn new() -> Self {
        Self { out: "<!DOCTYPE html>\n".into(), ..Self::default() }
    }

    /// Opens an element.
    pub(super) fn start(&mut self, name: &'static str) -> &mut Self {
        self.close_tag();
        self.out.extend(["<", name]);
        self.open.push(name);
        self.in_tag = true;
        self
    }

    /// Closes the innermost open element.
    pub(super) fn end(&mut self) -> &mut Self {
        self.close_tag();
        if let Some(name) = self.open.pop() {
            self.out.extend(["</", name, ">"]);
        }
        self
    }

    /// An element that has no content in HTML (`br`, `col`, `meta`).
    pub(super) fn void(&mut self, name: &'static str, attributes: &[(&'static str, &'static str)]) -> &mut Self {
        self.close_tag();
        self.out.extend(["<", name]);
        for (attribute, value) in attributes {
            self.attribute(attribute, value);
        }
        self.out.push_str("/>");
        self
    }

    /// An element with text and nothing else.
    pub(super) fn leaf(&mut self, name: &'static str, class: &'static str, text: &str) -> &mut Self {
        self.start(name);
        if !class.is_empty() {
            self.class(class);
        }
        self.text(text).end()
    }

    /// Text, escaped.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.close_tag();
        escape(&mut self.out, text);
        self
    }

    /// The style sheet, which is ours and needs no escaping.
    pub(super) fn style(&mut self, style: &'static str) -> &mut Self {
        self.start("style").close_tag();
        self.out.push_str(style);
        self.end()
    }

    /// `class`, of this program's names.
    pub(super) fn class(&mut self, class: &'static str) -> &mut Self {
        self.attribute("class", class);
        self
    }

    /// `type` of an ordered list.
    pub(super) fn list_type(&mut self, kind: &'static str) -> &mut Self {
        self.attribute("type", kind);
        self
    }

    /// `lang`, if it looks like a language tag.
    pub(super) fn language(&mut self, tag: &str) -> &mut Self {
        let plain = tag.len() <= 35 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if plain && !tag.is_empty() {
            self.attribute("lang", tag);
        }
        self
    }

    /// `id`, if it is a plain name. It gets a prefix, so that it is none of the page's own.
    pub(super) fn id(&mut self, id: &str) -> &mut Self {
        if plain_name(id) {
            self.attribute("id", &["d-", id].concat());
        }
        self
    }

    /// `href` to a place on this page. The caller has asked [`plain_name`].
    pub(super) fn link_to(&mut self, id: &str) -> &mut Self {
        if plain_name(id) {
            self.attribute("href", &["#d-", id].concat());
        }
        self
    }

    /// `colspan` or `rowspan`.
    pub(super) fn span(&mut self, name: &'static str, cells: u16) -> &mut Self {
        if (2..=100).contains(&cells) {
            self.attribute(name, &cells.to_string());
        }
        self
    }

    /// An image of the document, inside the page.
    pub(super) fn image(&mut self, kind: Kind, bytes: &[u8]) -> &mut Self {
        self.close_tag();
        self.out.extend(["<img alt=\"Image of the document\" src=\"data:", kind.media_type(), ";base64,"]);
        STANDARD.encode_string(bytes, &mut self.out);
        self.out.push_str("\"/>");
        self
    }

    /// The page, every element closed.
    pub(super) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.end();
        }
        self.out.push('\n');
        self.out
    }

    fn attribute(&mut self, name: &'static str, value: &str) {
        self.out.extend([" ", name, "=\""]);
        escape(&mut self.out, value);
        self.out.push('"');
    }

    fn close_tag(&mut self) {
        if std::mem::take(&mut self.in_tag) {
            self.out.push('>');
        }
    }
}

/// Whether a document's identifier can be one in the page: letters, digits and a little punctuation.
pub(super) fn plain_name(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Direction overrides can show a dose or a name back to front.
            '\u{202D}' | '\u{202E}' => {}
            // Not allowed in XML, and nothing to see.
            c if c.is_control() && !matches!(c, '\t' | '\n' | '\r') => out.push('\u{FFFD}'),
            '\u{FFFE}' | '\u{FFFF}' => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_a_document_is_markup() {
        let mut page = Html::default();
        page.start("div").id("x\" onclick=\"y").language("en\"><script>").text("<a href='x'>&\u{1}\u{202E}").end();
        assert_eq!(page.finish(), "<div>&lt;a href=&#39;x&#39;&gt;&amp;\u{FFFD}</div>\n");
    }
}

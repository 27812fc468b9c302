//! The narrative of a section (CDA R2, NarrativeBlock) as HTML. What is not in the narrative's vocabulary loses its
//! markup and keeps its text: a reader must not miss a dose because a sender made up an element.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::html::{Html, plain_name};
use super::{Kind, sniff};
use crate::hl7v3::{child, children};
use crate::xml::{Content, Element};

/// Senders leave out padding and put bits in the last character that mean nothing.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Writes narratives of one document into one page.
pub(super) struct Narrator<'d> {
    /// `observationMedia` and `regionOfInterest` by their ID.
    media: HashMap<&'d str, Element<'d>>,
    /// Identifiers on the page; a second one of the same name is not written.
    written: HashSet<String>,
    /// Bytes of images that the page may still take.
    images: usize,
}

impl<'d> Narrator<'d> {
    /// For a document; `images` is how many bytes of images the page may hold.
    pub(super) fn new(root: Element<'d>, images: usize) -> Self {
        let media = root
            .descendants()
            .filter(|one| matches!(one.local_name(), "observationMedia" | "regionOfInterest"))
            .filter_map(|one| Some((one.attribute("ID")?, one)));
        Self { media: media.collect(), written: HashSet::new(), images }
    }

    /// What is in an element: text and elements.
    pub(super) fn inside(&mut self, page: &mut Html, element: Element<'d>) {
        for content in element.contents() {
            match content {
                Content::Text(text) => {
                    page.text(text);
                }
                Content::Element(inner) => self.element(page, inner, element.local_name()),
            }
        }
    }

    fn element(&mut self, page: &mut Html, element: Element<'d>, parent: &str) {
        match (element.local_name(), parent) {
            ("br", _) => {
                page.void("br", &[]);
            }
            ("content", _) => self.content(page, element),
            ("sub", _) => self.wrapped(page, element, "sub", ""),
            ("sup", _) => self.wrapped(page, element, "sup", ""),
            // Not <p>: a table in it would end it in HTML.
            ("paragraph", _) => self.wrapped(page, element, "div", "paragraph"),
            ("caption", "table") => self.wrapped(page, element, "caption", ""),
            ("caption", _) => self.wrapped(page, element, "div", "caption"),
            ("list", _) => self.list(page, element),
            ("item", "list") => self.wrapped(page, element, "li", ""),
            ("table", _) => self.table(page, element),
            ("thead", "table") => self.wrapped(page, element, "thead", ""),
            ("tbody", "table") => self.wrapped(page, element, "tbody", ""),
            ("tfoot", "table") => self.wrapped(page, element, "tfoot", ""),
            ("tr", "table" | "thead" | "tbody" | "tfoot") => self.wrapped(page, element, "tr", ""),
            ("th", "tr") => self.cell(page, element, "th"),
            ("td", "tr") => self.cell(page, element, "td"),
            ("col" | "colgroup", _) => {}
            ("footnote", _) => self.wrapped(page, element, "span", "footnote"),
            ("footnoteRef", _) => self.link(page, element, element.attribute("IDREF").unwrap_or_default(), "note"),
            ("linkHtml", _) => self.link_html(page, element),
            ("renderMultiMedia", _) => self.multimedia(page, element),
            _ => self.inside(page, element),
        }
    }

    fn wrapped(&mut self, page: &mut Html, element: Element<'d>, name: &'static str, class: &'static str) {
        page.start(name);
        if !class.is_empty() {
            page.class(class);
        }
        self.identify(page, element);
        self.inside(page, element);
        page.end();
    }

    fn identify(&mut self, page: &mut Html, element: Element<'d>) {
        if let Some(id) = element.attribute("ID")
            && plain_name(id)
            && self.written.insert(id.to_owned())
        {
            page.id(id);
        }
    }

    /// `content`, with the style codes that mean something and the marks of a revision: text that its author deleted
    /// must not read like text that stands.
    fn content(&mut self, page: &mut Html, element: Element<'d>) {
        let revised = match element.attribute("revised") {
            Some("delete") => Some("del"),
            Some("insert") => Some("ins"),
            _ => None,
        };
        let styles = element.attribute("styleCode").unwrap_or_default().split_whitespace();
        let marks: Vec<&'static str> = styles.filter_map(mark).take(4).chain(revised).collect();
        page.start("span");
        self.identify(page, element);
        for name in &marks {
            page.start(name);
        }
        self.inside(page, element);
        for _ in &marks {
            page.end();
        }
        page.end();
    }

    /// A list's caption stands before it: HTML has no place for it inside.
    fn list(&mut self, page: &mut Html, element: Element<'d>) {
        if let Some(caption) = child(element, "caption") {
            self.wrapped(page, caption, "div", "caption");
        }
        let ordered = element.attribute("listType") == Some("ordered");
        page.start(if ordered { "ol" } else { "ul" });
        if ordered && let Some(kind) = element.attribute("styleCode").and_then(numbering) {
            page.list_type(kind);
        }
        self.identify(page, element);
        for item in element.children().filter(|item| item.local_name() != "caption") {
            if item.local_name() == "item" {
                self.element(page, item, "list");
            } else {
                page.start("li");
                self.element(page, item, "list");
                page.end();
            }
        }
        page.end();
    }

    /// Text directly in a table or row is layout and not shown by HTML where it stands; elements keep their order.
    fn table(&mut self, page: &mut Html, element: Element<'d>) {
        page.start("div").class("wide");
        self.wrapped(page, element, "table", "");
        page.end();
    }

    fn cell(&mut self, page: &mut Html, element: Element<'d>, name: &'static str) {
        let cells = |name| element.attribute(name).and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        page.start(name).span("colspan", cells("colspan")).span("rowspan", cells("rowspan"));
        self.identify(page, element);
        self.inside(page, element);
        page.end();
    }

    /// A link within the page stays one. Any other is its text, and its address as text if that is a web address: a
    /// click on a stranger's document must lead nowhere.
    fn link_html(&mut self, page: &mut Html, element: Element<'d>) {
        let href = element.attribute("href").unwrap_or_default().trim();
        if let Some(id) = href.strip_prefix('#') {
            return self.link(page, element, id, "");
        }
        page.start("span").class("link");
        self.inside(page, element);
        let web = ["http://", "https://"].iter().any(|scheme| href.starts_with(scheme));
        if web && element.text().trim() != href {
            page.text(" (").text(href).text(")");
        }
        page.end();
    }

    fn link(&mut self, page: &mut Html, element: Element<'d>, id: &str, otherwise: &str) {
        let linked = plain_name(id);
        page.start(if linked { "a" } else { "span" });
        if linked {
            page.link_to(id);
        }
        if element.text().trim().is_empty() {
            page.text(otherwise);
        }
        self.inside(page, element);
        page.end();
    }

    /// `renderMultiMedia`: the images it refers to, if the document embeds them as PNG, JPEG or GIF.
    fn multimedia(&mut self, page: &mut Html, element: Element<'d>) {
        page.start("div").class("media");
        for id in element.attribute("referencedObject").unwrap_or_default().split_whitespace() {
            // Each picture once: a page must not grow with the number of references to one of them.
            match self.media.remove(id).map(|media| embedded(media, self.images)) {
                Some(Picture::Shown(kind, bytes)) => {
                    self.images = self.images.saturating_sub(bytes.len());
                    page.image(kind, &bytes);
                }
                Some(Picture::TooLarge) => {
                    page.leaf("span", "note", "[an image that is too large for this page]");
                }
                Some(Picture::Other) | None => {
                    page.leaf("span", "note", "[a picture or recording that is not shown here]");
                }
            }
        }
        if let Some(caption) = child(element, "caption") {
            self.wrapped(page, caption, "div", "caption");
        }
        page.end();
    }
}

/// Style codes that carry emphasis (CDA R2 4.3.5.11); all others are looks.
fn mark(style: &str) -> Option<&'static str> {
    match style {
        "Bold" => Some("b"),
        "Italics" => Some("i"),
        "Underline" => Some("u"),
        "Emphasis" => Some("em"),
        _ => None,
    }
}

/// `type` of an ordered list.
fn numbering(style: &str) -> Option<&'static str> {
    style.split_whitespace().find_map(|code| match code {
        "LittleAlpha" => Some("a"),
        "BigAlpha" => Some("A"),
        "LittleRoman" => Some("i"),
        "BigRoman" => Some("I"),
        _ => None,
    })
}

/// What `renderMultiMedia` refers to.
enum Picture {
    /// An image in the document itself.
    Shown(Kind, Vec<u8>),
    /// An image of more bytes than the page may still take.
    TooLarge,
    /// A file elsewhere, a recording, or an image in a format that browsers do not agree on.
    Other,
}

/// What an image is its bytes tell, not its label.
fn embedded(media: Element<'_>, room: usize) -> Picture {
    let found = match media.local_name() {
        "regionOfInterest" => media.descendants().find(|one| one.local_name() == "observationMedia"),
        _ => Some(media),
    };
    let inline = |value: &Element<'_>| value.attribute("representation") == Some("B64");
    let Some(value) = found.and_then(|media| children(media, "value").find(inline)) else { return Picture::Other };
    let text = value.text();
    if text.len() / 4 > room / 2 {
        return Picture::TooLarge;
    }
    let Some(bytes) = decode_base64(&text) else { return Picture::Other };
    match sniff(&bytes) {
        Kind::Png | Kind::Jpeg | Kind::Gif if bytes.len() > room => Picture::TooLarge,
        kind @ (Kind::Png | Kind::Jpeg | Kind::Gif) => Picture::Shown(kind, bytes),
        _ => Picture::Other,
    }
}

/// Base64 with white space in it.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bare: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    LENIENT.decode(bare).ok()
}

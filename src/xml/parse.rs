//! Reading XML from the network: no DTD, no entities, bounded size and depth.

use std::borrow::Cow;

use uppsala::{Document, NodeId, NodeKind};

use super::c14n::Exclusive;

/// What a document may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest document, in bytes.
    pub bytes: usize,
    /// Deepest nesting of elements.
    pub depth: u32,
}

impl Default for Limits {
    /// 16 MiB and 64 levels: metadata for thousands of documents, and deeper than any IHE message.
    fn default() -> Self {
        Self { bytes: 16 << 20, depth: 64 }
    }
}

/// Why a document was not read.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum XmlError {
    /// More bytes than the limit.
    #[error("the document is longer than {0} bytes")]
    TooLong(usize),
    /// The bytes are not text in the encoding they claim.
    #[error("the document is not text in its declared encoding ({0})")]
    Encoding(String),
    /// Not well-formed, a document type declaration, or nested too deep. The text names the place, never the content.
    #[error("not well-formed XML: {0}")]
    Malformed(String),
    /// An element that must be there exactly once.
    #[error("<{parent}> has {found} <{child}> elements where one is required")]
    Count {
        /// Local name of the parent.
        parent: String,
        /// Local name of the child.
        child: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A required attribute.
    #[error("<{element}> lacks its {attribute} attribute")]
    NoAttribute {
        /// Local name of the element.
        element: String,
        /// Name of the attribute.
        attribute: &'static str,
    },
    /// Another element than the one that belongs there.
    #[error("<{found}> where <{expected}> belongs")]
    Unexpected {
        /// Local name found.
        found: String,
        /// Local name expected.
        expected: &'static str,
    },
}

/// Turns bytes into text: UTF-8 (with or without a byte order mark), UTF-16 by its mark, ISO-8859-1 and US-ASCII when
/// the XML declaration or the transport says so. Everything else is refused.
pub fn decode_text<'b>(bytes: &'b [u8], transport_charset: Option<&str>) -> Result<Cow<'b, str>, XmlError> {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => return utf8(rest),
        [0xFE, 0xFF, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        [0xFF, 0xFE, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        _ => {}
    }
    let declared = declared_encoding(bytes);
    let charset = transport_charset.map(str::to_owned).or(declared).unwrap_or_default().to_ascii_lowercase();
    match charset.as_str() {
        "" | "utf-8" | "utf8" | "us-ascii" | "ascii" => utf8(bytes),
        // A transport that says ISO-8859-1 by default while the bytes are UTF-8 is common; valid UTF-8 wins.
        "iso-8859-1" | "latin1" | "windows-1252" => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) => Ok(Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect())),
        },
        _ => Err(XmlError::Encoding(charset)),
    }
}

/// Parses a document.
pub fn parse<'t>(text: &'t str, limits: &Limits) -> Result<Tree<'t>, XmlError> {
    if text.len() > limits.bytes {
        return Err(XmlError::TooLong(limits.bytes));
    }
    // Partners send blank lines before the XML declaration.
    let text = text.trim_start();
    if !crowd_is_impossible(text) && !attributes_are_few(text) {
        return Err(XmlError::Malformed(format!("more than {MOST_ATTRIBUTES} attributes or prefixes in one place")));
    }
    let document = uppsala::Parser::new()
        .with_forbid_dtd(true)
        .with_forbid_entities(true)
        .with_max_depth(limits.depth)
        .parse(text)
        .map_err(|error| XmlError::Malformed(place_of(&error)))?;
    Ok(Tree { document })
}

/// Most attributes of one element, and most namespace prefixes declared at one place. The parser compares each
/// attribute of an element with each, and each name with each prefix in scope, so a megabyte of them could hold it for a
/// minute; no message or document comes near this number.
const MOST_ATTRIBUTES: usize = 256;

/// Whether there cannot be too many attributes or prefixes anywhere, by what costs little to see: nearly all texts are
/// found good here. No start tag has a `<` in it, so all its quotes stand before the next one.
fn crowd_is_impossible(text: &str) -> bool {
    /// A space and `a=""` are the least that an attribute takes.
    const SHORTEST: usize = 5;
    let bytes = text.as_bytes();
    let mut from = 0;
    for at in memchr::memchr_iter(b'<', bytes).chain([bytes.len()]) {
        let piece = &bytes[from..at];
        let is_long = piece.len() > SHORTEST * MOST_ATTRIBUTES;
        if is_long && memchr::memchr2_iter(b'"', b'\'', piece).count() > 2 * MOST_ATTRIBUTES {
            return false;
        }
        from = at;
    }
    memchr::memmem::find_iter(bytes, b"xmlns:").take(MOST_ATTRIBUTES + 1).count() <= MOST_ATTRIBUTES
}

/// Counts quoted values in each start tag and prefixes in scope, in one pass before the parser's. A text that is not
/// well-formed may be counted wrongly: the parser refuses it anyway, at the tag that confused the count.
fn attributes_are_few(text: &str) -> bool {
    let bytes = text.as_bytes();
    let after = |from: usize, end: &[u8]| memchr::memmem::find(&bytes[from..], end).map(|at| from + at + end.len());
    let after_tag = |from: usize| memchr::memchr(b'>', &bytes[from..]).map(|at| from + at + 1);
    let mut open_elements: Vec<usize> = Vec::new();
    let mut in_scope = 0;
    let mut at = 0;
    while let Some(open) = memchr::memchr(b'<', &bytes[at..]) {
        at += open + 1;
        let next = match &bytes[at..] {
            [b'!', b'-', b'-', ..] => after(at, b"-->"),
            [b'!', b'[', ..] => after(at, b"]]>"),
            [b'?', ..] => after(at, b"?>"),
            [b'/', ..] => {
                in_scope -= open_elements.pop().unwrap_or(0);
                after_tag(at)
            }
            _ => {
                let Some(tag) = StartTag::read(bytes, at) else { return true };
                if tag.values > MOST_ATTRIBUTES || in_scope + tag.prefixes > MOST_ATTRIBUTES {
                    return false;
                }
                if bytes.get(tag.end.wrapping_sub(2)) != Some(&b'/') {
                    open_elements.push(tag.prefixes);
                    in_scope += tag.prefixes;
                }
                Some(tag.end)
            }
        };
        match next {
            Some(next) => at = next,
            None => return true,
        }
    }
    true
}

/// What counts in a start tag.
struct StartTag {
    values: usize,
    prefixes: usize,
    end: usize,
}

impl StartTag {
    /// None: it has no end. Stops early when there is too much in it.
    fn read(bytes: &[u8], start: usize) -> Option<Self> {
        let mut tag = Self { values: 0, prefixes: 0, end: start };
        loop {
            let mark = memchr::memchr3(b'>', b'"', b'\'', &bytes[tag.end..])?;
            let name = &bytes[tag.end..tag.end + mark];
            tag.end += mark + 1;
            let quote = bytes[tag.end - 1];
            if quote == b'>' || tag.values > MOST_ATTRIBUTES {
                return Some(tag);
            }
            tag.values += 1;
            // Names are short: making a searcher ready would cost more than the search.
            tag.prefixes += usize::from(name.windows(6).any(|piece| piece == b"xmlns:"));
            tag.end += memchr::memchr(quote, &bytes[tag.end..])? + 1;
        }
    }
}

/// A parsed document.
pub struct Tree<'t> {
    document: Document<'t>,
}

impl<'t> Tree<'t> {
    /// The document element.
    pub fn root(&self) -> Result<Element<'_>, XmlError> {
        let node = self.document.document_element().ok_or_else(|| XmlError::Malformed("no element".into()))?;
        Ok(Element { document: &self.document, node })
    }
}

/// An element of a parsed document. Copying it copies a reference.
#[derive(Clone, Copy)]
pub struct Element<'d> {
    pub(super) document: &'d Document<'d>,
    pub(super) node: NodeId,
}

/// A piece of mixed content.
#[derive(Clone, Copy, Debug)]
pub enum Content<'d> {
    /// A child element.
    Element(Element<'d>),
    /// Text; neighbouring pieces belong together.
    Text(&'d str),
}

impl PartialEq for Element<'_> {
    /// The very same element of the same tree.
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.document, other.document) && self.node == other.node
    }
}

impl std::fmt::Debug for Element<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<{}>", self.local_name())
    }
}

impl<'d> Element<'d> {
    /// Name without prefix.
    pub fn local_name(&self) -> &'d str {
        self.data().map_or("", |element| &element.name.local_name)
    }

    /// Namespace name; empty when there is none.
    pub fn namespace(&self) -> &'d str {
        self.data().and_then(|element| element.name.namespace_uri.as_deref()).unwrap_or("")
    }

    /// Whether this is that element.
    pub fn is(&self, namespace: &str, local: &str) -> bool {
        self.data().is_some_and(|element| {
            element.name.local_name == local && element.name.namespace_uri.as_deref().unwrap_or("") == namespace
        })
    }

    /// This element, if it is the one expected.
    pub fn expect(self, namespace: &str, local: &'static str) -> Result<Self, XmlError> {
        if self.is(namespace, local) {
            Ok(self)
        } else {
            Err(XmlError::Unexpected { found: self.local_name().into(), expected: local })
        }
    }

    /// The value of an attribute that has no namespace.
    pub fn attribute(&self, name: &str) -> Option<&'d str> {
        let attributes = &self.data()?.attributes;
        let found = attributes.iter().find(|a| a.name.local_name == name && a.name.namespace_uri.is_none())?;
        Some(&found.value)
    }

    /// The value of an attribute of a namespace.
    pub fn attribute_ns(&self, namespace: &str, name: &str) -> Option<&'d str> {
        self.data()?.get_attribute_ns(namespace, name)
    }

    /// The value of an attribute by its local name, whatever its namespace: for attributes that partners
    /// qualify or not as they please (`mustUnderstand`, `type`).
    pub fn attribute_any(&self, name: &str) -> Option<&'d str> {
        self.data()?.get_attribute(name)
    }

    /// All attributes as (namespace or empty, local name, value).
    pub fn attributes(&self) -> impl Iterator<Item = (&'d str, &'d str, &'d str)> + use<'d> {
        let attributes = self.data().map(|element| element.attributes.as_slice()).unwrap_or_default();
        attributes.iter().map(|a| (a.name.namespace_uri.as_deref().unwrap_or(""), &*a.name.local_name, &*a.value))
    }

    /// A required attribute.
    pub fn require_attribute(&self, name: &'static str) -> Result<&'d str, XmlError> {
        self.attribute(name).ok_or_else(|| XmlError::NoAttribute { element: self.local_name().into(), attribute: name })
    }

    /// The child elements.
    pub fn children(&self) -> impl Iterator<Item = Element<'d>> + use<'d> {
        let document = self.document;
        document
            .children_iter(self.node)
            .filter(|&node| document.element(node).is_some())
            .map(move |node| Element { document, node })
    }

    /// The child elements and the text between them, in order, for mixed content. Comments and processing instructions
    /// are left out; CDATA is text.
    pub fn contents(&self) -> impl Iterator<Item = Content<'d>> + use<'d> {
        let document = self.document;
        document.children_iter(self.node).filter_map(move |node| match document.node_kind(node)? {
            NodeKind::Element(_) => Some(Content::Element(Element { document, node })),
            NodeKind::Text(text) | NodeKind::CData(text) => Some(Content::Text(text)),
            _ => None,
        })
    }

    /// The child elements of that name.
    pub fn children_named(
        &self,
        namespace: &'static str,
        local: &'static str,
    ) -> impl Iterator<Item = Element<'d>> + use<'d> {
        self.children().filter(move |child| child.is(namespace, local))
    }

    /// The first child element of that name.
    pub fn child(&self, namespace: &'static str, local: &'static str) -> Option<Element<'d>> {
        self.children_named(namespace, local).next()
    }

    /// The child element of that name, which must be there once.
    pub fn only_child(&self, namespace: &'static str, local: &'static str) -> Result<Element<'d>, XmlError> {
        let mut named = self.children_named(namespace, local);
        match (named.next(), named.count()) {
            (Some(child), 0) => Ok(child),
            (first, more) => Err(XmlError::Count {
                parent: self.local_name().into(),
                child: local,
                found: usize::from(first.is_some()) + more,
            }),
        }
    }

    /// The child element of that name, which may be there once and not twice.
    pub fn optional_child(
        &self,
        namespace: &'static str,
        local: &'static str,
    ) -> Result<Option<Element<'d>>, XmlError> {
        let mut named = self.children_named(namespace, local);
        let Some(child) = named.next() else { return Ok(None) };
        match named.count() {
            0 => Ok(Some(child)),
            more => Err(XmlError::Count { parent: self.local_name().into(), child: local, found: 1 + more }),
        }
    }

    /// Follows first children of one namespace: `find(HL7V3, &["controlActProcess", "queryAck"])`.
    pub fn find(&self, namespace: &'static str, path: &[&'static str]) -> Option<Element<'d>> {
        path.iter().try_fold(*self, |element, local| element.child(namespace, local))
    }

    /// All elements below this one, in document order, without this one.
    pub fn descendants(&self) -> impl Iterator<Item = Element<'d>> + use<'d> {
        let document = self.document;
        let mut stack: Vec<Element<'d>> = self.children().collect();
        stack.reverse();
        std::iter::from_fn(move || {
            let next = stack.pop()?;
            let mark = stack.len();
            stack.extend(next.children());
            stack[mark..].reverse();
            Some(Element { document, node: next.node })
        })
    }

    /// All text below this element. Comments, CDATA borders and character references cannot split it, so what is
    /// read is what was signed.
    pub fn text(&self) -> Cow<'d, str> {
        let document = self.document;
        let mut children = document.children_iter(self.node);
        match (children.next(), children.next()) {
            (None, _) => Cow::Borrowed(""),
            (Some(only), None) => match document.text_content(only) {
                Some(text) => Cow::Borrowed(text),
                None => Cow::Owned(document.text_content_deep(self.node)),
            },
            _ => Cow::Owned(document.text_content_deep(self.node)),
        }
    }

    /// The text without white space around it.
    pub fn trimmed(&self) -> Cow<'d, str> {
        match self.text() {
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
        }
    }

    /// The parent element.
    pub fn parent(&self) -> Option<Element<'d>> {
        let node = self.document.parent(self.node)?;
        self.document.element(node)?;
        Some(Element { document: self.document, node })
    }

    /// The namespace bound to a prefix here; the empty prefix is the default namespace.
    pub fn resolve_prefix(&self, prefix: &str) -> Option<&'d str> {
        let mut at = Some(*self);
        while let Some(element) = at {
            let declarations = &element.data()?.namespace_declarations;
            if let Some((_, uri)) = declarations.iter().find(|(declared, _)| declared == prefix) {
                return Some(uri);
            }
            at = element.parent();
        }
        None
    }

    /// Exclusive canonical form without comments (W3C exc-c14n), of this element or of it without one descendant.
    pub fn canonical(&self, without: Option<Element<'d>>, inclusive_prefixes: &[&str]) -> Vec<u8> {
        let without = without.map(|element| element.node);
        Exclusive { document: self.document, without, comments: false, inclusive_prefixes }.form(self.node)
    }

    /// Exclusive canonical form with comments: some signers canonicalise SignedInfo so.
    pub fn canonical_with_comments(&self, inclusive_prefixes: &[&str]) -> Vec<u8> {
        Exclusive { document: self.document, without: None, comments: true, inclusive_prefixes }.form(self.node)
    }

    fn data(&self) -> Option<&'d uppsala::Element<'d>> {
        match self.document.node_kind(self.node) {
            Some(NodeKind::Element(element)) => Some(element),
            _ => None,
        }
    }
}

fn utf8(bytes: &[u8]) -> Result<Cow<'_, str>, XmlError> {
    std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| XmlError::Encoding("utf-8".into()))
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Cow<'static, str>, XmlError> {
    let units = bytes.chunks(2).map(|pair| match pair {
        [a, b] => unit([*a, *b]),
        _ => 0xD800,
    });
    char::decode_utf16(units)
        .collect::<Result<String, _>>()
        .map(Cow::Owned)
        .map_err(|_| XmlError::Encoding("utf-16".into()))
}

/// `encoding="…"` of the XML declaration, if there is one.
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let head = bytes.get(..bytes.len().min(200))?;
    let start = head.iter().position(|b| !b.is_ascii_whitespace())?;
    let head = head[start..].strip_prefix(b"<?xml")?;
    let declaration = &head[..head.iter().position(|&b| b == b'>')?];
    let declaration = std::str::from_utf8(declaration).ok()?;
    let value = declaration.split("encoding").nth(1)?.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    value[1..].split(quote).next().map(str::to_owned)
}

/// The place of an error and its kind. The library's own text quotes the document, which can be patient data.
fn place_of(error: &uppsala::XmlError) -> String {
    use uppsala::XmlError as E;
    match error {
        E::WellFormedness(e) => format!("line {}, column {}", e.line, e.column),
        E::Namespace(e) => format!("undeclared or wrong namespace at line {}, column {}", e.line, e.column),
        E::Parse(e) => format!("line {}, column {}", e.line, e.column),
        E::UnexpectedEof => "it ends too early".into(),
        E::XPath(_) | E::Validation(_) => "unreadable".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> XmlError {
        match parse(text, &Limits { bytes: 10_000, depth: 8 }) {
            Ok(_) => panic!("accepted: {text}"),
            Err(error) => error,
        }
    }

    #[test]
    fn an_element_with_a_crowd_of_attributes_is_refused_before_it_costs_time() {
        let crowd = |count: usize| (0..count).map(|n| format!(" a{n}='\"'")).collect::<String>();
        let limits = Limits { bytes: 1 << 20, depth: 8 };
        let few = crowd(MOST_ATTRIBUTES);
        for text in [
            format!("<a{few}><b{few}/></a>"),
            format!("<!-- <a{few}{few} --><a><![CDATA[<a{few}{few}]]><?x <a{few}{few}?></a>"),
            format!("<a>it's \"quoted\" {few}{few}</a>"),
            format!("<a>{}</a>", "<b xmlns:p='urn:p'/><b xmlns:p='urn:p'></b>".repeat(300)),
        ] {
            assert!(parse(&text, &limits).is_ok(), "{text:.60}");
        }
        let many = crowd(MOST_ATTRIBUTES + 1);
        for text in [format!("<a{many}/>"), format!("<a><b>'</b><c\n{many}></c></a>"), format!("<a x='>'{many}/>")] {
            let Err(error) = parse(&text, &limits) else { panic!("accepted: {text:.60}") };
            assert_eq!(error, XmlError::Malformed("more than 256 attributes or prefixes in one place".into()));
        }
        let prefixes = |level| (0..90).map(|n| format!(" xmlns:p{level}x{n}='urn:p'")).collect::<String>();
        let nested = format!("<a{}><b{}><c{}/></b></a>", prefixes(1), prefixes(2), prefixes(3));
        assert!(parse(&nested, &limits).is_err());
        let huge = format!("<a{}/>", (0..80_000).map(|n| format!(" a{n}=''")).collect::<String>());
        assert!(parse(&huge, &limits).is_err());
    }

    /// Whatever the count refuses must not be found good before it.
    #[test]
    fn the_quick_look_at_attributes_passes_over_no_crowd() {
        let crowd = |count: usize, quote: char| (0..count).map(|_| format!(" a={quote}{quote}")).collect::<String>();
        for count in [MOST_ATTRIBUTES - 1, MOST_ATTRIBUTES, MOST_ATTRIBUTES + 1, MOST_ATTRIBUTES + 2] {
            for quote in ['"', '\''] {
                let crowd = crowd(count, quote);
                for text in [
                    format!("<a{crowd}/>"),
                    format!("<a{crowd}>text</a>"),
                    format!("<r><a x={quote}>{quote}{crowd}></a></r>"),
                    format!("<!-- < --><a{crowd}/>"),
                    format!("<r><![CDATA[<]]><a{crowd}/></r>"),
                    format!("<r>{}</r>", format!("<a{crowd}/>").repeat(3)),
                ] {
                    assert!(attributes_are_few(&text) || !crowd_is_impossible(&text), "{count} {quote} {text:.40}");
                }
            }
            let declared = (0..count).map(|n| format!("<p xmlns:p{n}='urn:p'>")).collect::<String>();
            assert!(attributes_are_few(&declared) || !crowd_is_impossible(&declared), "{count} prefixes");
            assert_eq!(attributes_are_few(&declared), count <= MOST_ATTRIBUTES);
        }
        let hidden = format!("<a{} b='<'{}/>", crowd(200, '"'), crowd(200, '"'));
        assert!(matches!(parse(&hidden, &Limits::default()), Err(XmlError::Malformed(_))), "no attribute has a <");
    }

    #[test]
    fn mixed_content_keeps_its_order() {
        let tree =
            parse("<a>one<b/><!-- no --><![CDATA[two]]><?no pi?><c>in</c>&amp;</a>", &Limits::default()).unwrap();
        let contents = tree.root().unwrap().contents().map(|content| match content {
            Content::Element(element) => format!("<{}>", element.local_name()),
            Content::Text(text) => text.to_owned(),
        });
        assert_eq!(contents.collect::<Vec<_>>(), ["one", "<b>", "two", "<c>", "&"]);
    }

    #[test]
    fn refuses_what_can_hurt_a_reader() {
        for text in [
            "",
            "no markup",
            "<a>",
            "<a></b>",
            "<a><b></a></b>",
            "<!DOCTYPE a><a/>",
            "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>",
            "<!DOCTYPE a [<!ENTITY x 'x'><!ENTITY y '&x;&x;'>]><a>&y;</a>",
            "<a>&unknown;</a>",
            "<x:a/>",
            "<a b='1' b='2'/>",
            "<a><a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a></a>",
            "<a/><b/>",
        ] {
            assert!(matches!(refused(text), XmlError::Malformed(_)), "{text}");
        }
        assert_eq!(refused(&format!("<a>{}</a>", "x".repeat(20_000))), XmlError::TooLong(10_000));
    }

    #[test]
    fn errors_do_not_quote_the_document() {
        let XmlError::Malformed(text) = refused("<a><Canary></Tweety></a>") else { panic!() };
        assert!(!text.contains("Canary") && !text.contains("Tweety"), "{text}");
    }

    #[test]
    fn comments_and_cdata_cannot_split_a_value() {
        let text = "<a><id>ad<!-- x -->min<![CDATA[@b]]>&#46;org</id></a>";
        let tree = parse(text, &Limits::default()).unwrap();
        assert_eq!(tree.root().unwrap().child("", "id").unwrap().text(), "admin@b.org");
    }

    #[test]
    fn encodings_that_occur_are_read() {
        let latin1 = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>M\xFCller</a>";
        assert!(decode_text(latin1, None).unwrap().contains("Müller"));
        let utf16: Vec<u8> =
            [0xFF, 0xFE].into_iter().chain("<a>é</a>".encode_utf16().flat_map(u16::to_le_bytes)).collect();
        assert_eq!(decode_text(&utf16, None).unwrap(), "<a>é</a>");
        assert_eq!(decode_text(b"\xEF\xBB\xBF<a/>", Some("iso-8859-1")).unwrap(), "<a/>");
        assert!(decode_text(b"<a>\xFF</a>", None).is_err());
        assert!(decode_text(b"<a/>", Some("ebcdic")).is_err());
    }

    #[test]
    fn finds_children_by_namespace_and_counts_them() {
        let tree = parse("<r xmlns='u:1' xmlns:b='u:2'><x/><b:x n='1'/><b:x n='2'/></r>", &Limits::default()).unwrap();
        let root = tree.root().unwrap();
        assert_eq!(root.child("u:2", "x").unwrap().attribute("n"), Some("1"));
        assert!(root.only_child("u:1", "x").is_ok());
        assert_eq!(root.only_child("u:2", "x"), Err(XmlError::Count { parent: "r".into(), child: "x", found: 2 }));
        assert_eq!(root.descendants().count(), 3);
        assert_eq!(root.resolve_prefix("b"), Some("u:2"));
    }

    #[test]
    fn canonical_form_is_that_of_the_standard() {
        let tree = parse("<r xmlns:z='u:z'><z:b  b='2'   a='1'><!-- c --><c/></z:b></r>", &Limits::default()).unwrap();
        let element = tree.root().unwrap().child("u:z", "b").unwrap();
        let canonical = String::from_utf8(element.canonical(None, &[])).unwrap();
        assert_eq!(canonical, r#"<z:b xmlns:z="u:z" a="1" b="2"><c></c></z:b>"#);
    }
}

//! Exclusive canonical form (W3C Exclusive XML Canonicalization 1.0) of one element of a document.
//!
//! It walks the element and its ancestors, not the document: a signed Timestamp costs the same beside one megabyte of
//! metadata as beside none. Everything is borrowed from the tree. An element is what is canonicalised here, so the
//! rules for what stands outside the document element have no place.

use uppsala::{Attribute, Document, NodeId, NodeKind};

/// Prefix and namespace name; both empty where the default namespace is none.
type Binding<'d> = (&'d str, &'d str);

/// What is written.
pub(super) struct Exclusive<'d, 'p> {
    /// The document.
    pub document: &'d Document<'d>,
    /// An element that is left out with all that is in it.
    pub without: Option<NodeId>,
    /// Whether comments are written.
    pub comments: bool,
    /// `InclusiveNamespaces/@PrefixList`; `#default` is the default namespace.
    pub inclusive_prefixes: &'p [&'p str],
}

/// The bindings at a place: those declared, and those written in the output, the innermost last.
#[derive(Default)]
struct Scope<'d> {
    declared: Vec<Binding<'d>>,
    written: Vec<Binding<'d>>,
}

fn innermost<'d>(bindings: &[Binding<'d>], prefix: &str) -> Option<Binding<'d>> {
    // Prefixes are a few letters: comparing them here is cheaper than a call.
    bindings.iter().rev().find(|(known, _)| known.len() == prefix.len() && known.bytes().eq(prefix.bytes())).copied()
}

/// Namespace names of one document are mostly the very same text.
fn is_same(one: &str, two: &str) -> bool {
    std::ptr::eq(one, two) || one == two
}

impl<'d> Exclusive<'d, '_> {
    /// The canonical form of an element.
    pub(super) fn form(&self, element: NodeId) -> Vec<u8> {
        let mut ancestors = Vec::new();
        let mut at = self.document.parent(element);
        while let Some(node) = at {
            ancestors.push(node);
            at = self.document.parent(node);
        }
        let mut scope = Scope::default();
        ancestors.iter().rev().for_each(|node| self.declare(*node, &mut scope));
        let mut output = Vec::with_capacity(4096);
        self.node(element, &mut scope, &mut output);
        output
    }

    fn declare(&self, node: NodeId, scope: &mut Scope<'d>) {
        let declarations = self.document.element(node).map(|element| element.namespace_declarations.as_slice());
        scope.declared.extend(declarations.unwrap_or_default().iter().map(|(prefix, name)| (&**prefix, &**name)));
    }

    fn node(&self, node: NodeId, scope: &mut Scope<'d>, output: &mut Vec<u8>) {
        match self.document.node_kind(node) {
            Some(NodeKind::Element(_)) if self.without == Some(node) => {}
            Some(NodeKind::Element(element)) => self.element(node, element, scope, output),
            Some(NodeKind::Text(text) | NodeKind::CData(text)) => escape(text, text_escape, output),
            Some(NodeKind::Comment(text)) if self.comments => {
                output.extend_from_slice(b"<!--");
                output.extend_from_slice(text.as_bytes());
                output.extend_from_slice(b"-->");
            }
            Some(NodeKind::ProcessingInstruction(instruction)) => {
                output.extend_from_slice(b"<?");
                output.extend_from_slice(instruction.target.as_bytes());
                if let Some(data) = instruction.data.as_deref().filter(|data| !data.is_empty()) {
                    output.push(b' ');
                    escape(data, instruction_escape, output);
                }
                output.extend_from_slice(b"?>");
            }
            Some(NodeKind::Document | NodeKind::Comment(_) | NodeKind::Attribute(..)) | None => {}
        }
    }

    fn element(&self, node: NodeId, element: &'d uppsala::Element<'d>, scope: &mut Scope<'d>, output: &mut Vec<u8>) {
        let (declared, written) = (scope.declared.len(), scope.written.len());
        self.declare(node, scope);
        output.push(b'<');
        name(element.name.prefix.as_deref(), &element.name.local_name, output);
        self.write_namespaces(element, scope, output);
        write_attributes(&element.attributes, output);
        output.push(b'>');
        for child in self.document.children_iter(node) {
            self.node(child, scope, output);
        }
        output.extend_from_slice(b"</");
        name(element.name.prefix.as_deref(), &element.name.local_name, output);
        output.push(b'>');
        scope.declared.truncate(declared);
        scope.written.truncate(written);
    }

    /// The declarations of the prefixes that this element uses, and of those in the list, where the output around it
    /// does not have them already. By prefix, the default namespace first (section 3).
    fn write_namespaces(&self, element: &'d uppsala::Element<'d>, scope: &mut Scope<'d>, output: &mut Vec<u8>) {
        let first = scope.written.len();
        let mut visit = |prefix: &str| {
            let wanted = innermost(&scope.declared, prefix);
            // An undeclared prefix is only of interest for the default namespace, which may be undone by xmlns="".
            let Some(binding) = wanted.or(prefix.is_empty().then_some(("", ""))) else { return };
            // A second use of a prefix by this element finds the binding that the first one has pushed.
            let written = innermost(&scope.written, prefix).map_or("", |(_, name)| name);
            if prefix != "xml" && !is_same(written, binding.1) {
                scope.written.push(binding);
            }
        };
        visit(element.name.prefix.as_deref().unwrap_or(""));
        element.attributes.iter().filter_map(attribute_prefix).for_each(&mut visit);
        self.inclusive_prefixes.iter().for_each(|prefix| visit(if *prefix == "#default" { "" } else { prefix }));
        let new = &mut scope.written[first..];
        new.sort_unstable();
        for (prefix, name) in new {
            output.extend_from_slice(if prefix.is_empty() { b" xmlns" } else { b" xmlns:" });
            output.extend_from_slice(prefix.as_bytes());
            value(name, output);
        }
    }
}

/// Attributes by namespace name and local name, those without a namespace first.
fn write_attributes(attributes: &[Attribute<'_>], output: &mut Vec<u8>) {
    let order = |one: &Attribute<'_>, two: &Attribute<'_>| {
        let [first, second] = [one, two].map(|attribute| attribute.name.namespace_uri.as_deref().unwrap_or(""));
        if is_same(first, second) { one.name.local_name.cmp(&two.name.local_name) } else { first.cmp(second) }
    };
    if attributes.is_sorted_by(|one, two| order(one, two).is_le()) {
        // One, or in the order in which most senders write them: no list has to be made.
        return attributes.iter().for_each(|attribute| write_attribute(attribute, output));
    }
    let mut sorted: Vec<&Attribute<'_>> = attributes.iter().collect();
    sorted.sort_by(|one, two| order(one, two));
    sorted.into_iter().for_each(|attribute| write_attribute(attribute, output));
}

fn write_attribute(attribute: &Attribute<'_>, output: &mut Vec<u8>) {
    output.push(b' ');
    name(attribute_prefix(attribute), &attribute.name.local_name, output);
    value(&attribute.value, output);
}

/// The default namespace is not that of attributes.
fn attribute_prefix<'a>(attribute: &'a Attribute<'_>) -> Option<&'a str> {
    attribute.name.prefix.as_deref().filter(|prefix| !prefix.is_empty())
}

fn name(prefix: Option<&str>, local: &str, output: &mut Vec<u8>) {
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
        output.extend_from_slice(prefix.as_bytes());
        output.push(b':');
    }
    output.extend_from_slice(local.as_bytes());
}

fn value(text: &str, output: &mut Vec<u8>) {
    output.extend_from_slice(b"=\"");
    escape(text, attribute_escape, output);
    output.push(b'"');
}

/// The bytes that are written otherwise somewhere: in text, in an attribute, in an instruction.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    special[b'&' as usize] = true;
    special[b'<' as usize] = true;
    special[b'>' as usize] = true;
    special[b'"' as usize] = true;
    special[b'\t' as usize] = true;
    special[b'\n' as usize] = true;
    special[b'\r' as usize] = true;
    special
};

/// Writes text; what has to be written otherwise is looked up byte by byte, what lies between goes in one piece.
fn escape(text: &str, special: fn(u8) -> Option<&'static [u8]>, output: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let (mut done, mut from) = (0, 0);
    while let Some(plain) = bytes[from..].iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let at = from + plain;
        from = at + 1;
        if let Some(instead) = special(bytes[at]) {
            output.extend_from_slice(&bytes[done..at]);
            output.extend_from_slice(instead);
            done = from;
        }
    }
    output.extend_from_slice(&bytes[done..]);
}

fn text_escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    }
}

fn attribute_escape(byte: u8) -> Option<&'static [u8]> {
    match byte {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'"' => Some(b"&quot;"),
        b'\t' => Some(b"&#x9;"),
        b'\n' => Some(b"&#xA;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    }
}

fn instruction_escape(byte: u8) -> Option<&'static [u8]> {
    (byte == b'\r').then_some(b"&#xD;")
}

#[cfg(test)]
mod tests;

//! HL7 version 3: data types, the transmission wrapper, persons, registrations, what queries share,
//! and acknowledgements (NE2008; ITI TF-2: Appendix O).
//!
//! Reading goes by local names in any order, because live partners bind other prefixes, reorder elements and write
//! values as text; writing follows the order of the schema.

pub mod ack;
pub mod datatype;
pub mod person;
pub mod query;
pub mod registration;
pub mod wrapper;

use crate::xml::{Element, Writer, ns};

/// Why an HL7 v3 message was not read. The text names elements, never values.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// Another message than the one expected.
    #[error("<{found}> where <{expected}> belongs")]
    Unexpected {
        /// Local name found.
        found: String,
        /// Local name expected.
        expected: &'static str,
    },
    /// A required element.
    #[error("<{0}> is missing")]
    Missing(&'static str),
    /// An element without a usable value.
    #[error("<{0}> has no usable value")]
    Value(&'static str),
}

/// Interactions and trigger events (HL7 2.16.840.1.113883.1.6).
pub const INTERACTIONS: &str = "2.16.840.1.113883.1.6";

/// The first child of that local name, whatever its namespace.
pub fn child<'d>(element: Element<'d>, local: &str) -> Option<Element<'d>> {
    element.children().find(|child| child.local_name() == local)
}

/// Each child of that local name.
pub fn children<'d>(element: Element<'d>, local: &'static str) -> impl Iterator<Item = Element<'d>> + use<'d> {
    element.children().filter(move |child| child.local_name() == local)
}

/// First children, one below the other.
pub fn find<'d>(element: Element<'d>, path: &[&str]) -> Option<Element<'d>> {
    path.iter().try_fold(element, |element, local| child(element, local))
}

/// The element itself, if it is that message.
pub fn expect<'d>(element: Element<'d>, local: &'static str) -> Result<Element<'d>, DecodeError> {
    if element.local_name() == local {
        Ok(element)
    } else {
        Err(DecodeError::Unexpected { found: element.local_name().into(), expected: local })
    }
}

/// An element as a fragment that stands on its own and can be copied into another message, prefixes in `xsi:type`
/// included.
pub fn fragment(element: Element<'_>) -> Option<String> {
    let typed = element.descendants().chain([element]);
    let prefixes: Vec<&str> = typed
        .filter_map(|one| one.attribute_ns(ns::XSI, "type"))
        .filter_map(|name| name.trim().split_once(':').map(|(prefix, _)| prefix))
        .collect();
    String::from_utf8(element.canonical(None, &prefixes)).ok()
}

/// Opens a message: its root element with the default namespace, which most partners can read.
pub fn start(writer: &mut Writer, interaction: &'static str) {
    writer.start(interaction).attribute("xmlns", ns::HL7V3).attribute("xmlns:xsi", ns::XSI);
    writer.attribute("ITSVersion", "XML_1.0");
}

#[cfg(test)]
pub(crate) mod tests;

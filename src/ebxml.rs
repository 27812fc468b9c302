//! ebXML Registry 3.0 as IHE uses it: the objects of ebRIM, the query frame and the registry's answer (ITI TF-3: 4.2).
//!
//! This is the wire form and knows no document metadata; what the slots and classifications mean is in `metadata`.

pub mod literals;
pub mod query;
pub mod response;
pub mod rim;

pub use query::{AdhocQueryRequest, AdhocQueryResponse, ReturnType};
pub use response::{ErrorCode, RegistryError, RegistryResponse, Severity, Status, codes};
pub use rim::{Classification, ExternalIdentifier, Item, RegistryObject, Slot};

use crate::xml::XmlError;

/// Why a body is not the ebXML message it should be. Never quotes the message.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// An element or attribute is missing or out of place.
    #[error(transparent)]
    Xml(#[from] XmlError),
    /// An inline document that is not base64.
    #[error("the document is not base64")]
    NotBase64,
    /// A document element with neither a reference nor content.
    #[error("a document has neither content nor a reference to an attachment")]
    NoContent,
    /// An identifier that cannot be read.
    #[error("<{element}> holds no usable identifier: {cause}")]
    Identifier {
        /// Local name of the element.
        element: &'static str,
        /// What is wrong with it; part of the text, because partners read it.
        cause: crate::id::IdError,
    },
}

/// The last segment of a URN: partners mix the prefixes of statuses, types and severities, and agree on the end.
pub fn last_segment(text: &str) -> &str {
    text.trim().rsplit(':').next().unwrap_or_default()
}

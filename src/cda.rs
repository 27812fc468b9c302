//! Clinical documents: what a C-CDA says of itself in its header, and a page that shows it to people.
//!
//! A document is somebody else's data. [`header`] reads only as far as the header goes, whatever follows; [`required`]
//! names what the US Realm Header asks for and a document lacks; [`patient`] compares the patient with the metadata;
//! [`view`] turns a document into a page without scripts, links or style of the document's own.

pub mod header;
mod html;
mod narrative;
pub mod patient;
pub mod required;
mod scan;
pub mod sniff;
pub mod template;
pub mod view;

pub use header::Header;
pub use patient::{Agreement, Field};
pub use required::{Missing, check_required};
pub use sniff::{Kind, sniff};
pub use template::DocumentType;

use crate::xml::XmlError;

/// What reading a document may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Longest header, in bytes of the document before its body.
    pub header: usize,
    /// Longest document that is shown, in bytes.
    pub document: usize,
    /// Deepest nesting of elements.
    pub depth: u32,
    /// Embedded images on one page, in bytes all together before base64.
    pub images: usize,
}

impl Default for Limits {
    /// A header of 1 MiB, a page of at most 32 MiB of document and 8 MiB of images, 64 levels.
    fn default() -> Self {
        Self { header: 1 << 20, document: 32 << 20, depth: 64, images: 8 << 20 }
    }
}

/// Why a document was not read. The text names elements and places, never content.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CdaError {
    /// Longer than can be shown.
    #[error("the document is longer than {0} bytes")]
    TooLong(usize),
    /// The body does not begin within the limit.
    #[error("the document's header is longer than {0} bytes")]
    HeaderTooLong(usize),
    /// Another document element than `ClinicalDocument` of `urn:hl7-org:v3`.
    #[error("the document is not a ClinicalDocument of HL7 version 3")]
    NotCda,
    /// A document type declaration, which a CDA never needs and an attack does.
    #[error("the document has a document type declaration")]
    DocumentType,
    /// A reference to an entity that XML itself does not define.
    #[error("the document refers to an entity that is not one of XML's five")]
    Entity,
    /// Nested deeper than the limit.
    #[error("the document's elements nest deeper than {0} levels")]
    TooDeep(u32),
    /// Not well-formed, or in an encoding that is not read.
    #[error(transparent)]
    Xml(#[from] XmlError),
}

#[cfg(test)]
mod tests;

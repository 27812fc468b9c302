//! XML: one parser, one writer, one canonicaliser. Elements borrow the tree that was parsed, so the element whose
//! signature was verified is the element that is read.

mod c14n;
pub mod ns;
pub mod parse;
pub mod signature;
pub mod write;

pub use parse::{Content, Element, Limits, Tree, XmlError, decode_text, parse};
pub use write::Writer;

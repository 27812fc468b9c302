//! What is kept: patient identities, document metadata and bytes, traces of exchanges.

pub mod documents;
pub mod engine;
pub mod files;
pub mod identities;
pub mod seal;
pub mod traces;

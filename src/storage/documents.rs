//! Rows of the document registry.

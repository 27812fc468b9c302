//! Rows of the patient cross-reference.

//! The embedded database: one writer with group commit, many readers.

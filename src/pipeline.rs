//! The road that every transaction takes.

//! HL7 version 2 in its vertical-bar form: frames, messages, segments, data types and acknowledgements
//! (HL7 2.3.1 and 2.5; ITI TF-2: Appendix C and E).
//!
//! `mllp` cuts frames out of a byte stream, `message` and `segment` read and write what is in them, `datatypes` turns
//! fields into `id` types and back, `query` has what queries share, and `ack` answers any request, readable or not.

pub mod ack;
pub mod charset;
pub mod datatypes;
pub mod message;
pub mod mllp;
pub mod query;
pub mod segment;

pub use ack::{Ack, AckCode, Condition, Fault, Location};
pub use datatypes::{Cx, Hd};
pub use message::{Delimiters, Header, Limits, Message, ParseError};
pub use mllp::{Deframer, FrameError, frame};
pub use segment::{Builder, Component, Composite, Content, Field, Repetition, Segment};

#[cfg(test)]
mod tests;

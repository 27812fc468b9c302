//! XCPD: patient discovery between communities (ITI TF-1: 27).

pub mod discovery;
pub mod location;

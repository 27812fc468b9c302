//! XCA: documents of other communities (ITI TF-1: 18).

pub mod query;
pub mod retrieve;

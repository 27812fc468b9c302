//! XCA: documents of other communities (ITI TF-1: 18).

pub mod initiating_gateway;
pub mod query;
pub mod responding_gateway;
pub mod retrieve;

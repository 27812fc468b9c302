//! Patient matching: pure functions over demographics; rows come from storage.
//!
//! [`normalize`] makes what sources wrote comparable, [`block`] finds who is worth comparing, [`compare`] weighs the
//! evidence of a pair (Fellegi and Sunter), [`link`] decides. Nothing here keeps or prints a value of a person.

pub mod block;
pub mod compare;
pub mod link;
pub mod nicknames;
pub mod normalize;
pub mod similarity;

pub use compare::{Conflict, Explanation, Field, Grade, Level, Parameters};
pub use link::{Answer, Attribute, Decision, Thresholds};
pub use normalize::Profile;

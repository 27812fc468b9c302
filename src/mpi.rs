//! Patient matching: pure functions over demographics; rows come from storage.
//!
//! [`normalize`] makes what sources wrote comparable, [`block`] finds who is worth comparing, [`fields`] says how well
//! each field agrees, [`compare`] weighs that as evidence (Fellegi and Sunter), [`link`] decides. What a field is worth
//! stands in [`parameters`], and can be learnt ([`learn`], [`frequency`]). [`packed`] keeps what is comparable. Nothing here prints a value of a person.

pub mod block;
pub mod compare;
pub mod fields;
pub mod frequency;
pub mod learn;
pub mod link;
pub mod nicknames;
pub mod normalize;
pub mod packed;
pub mod pairs;
pub mod parameters;
pub mod similarity;

pub use compare::{Conflict, Explanation, Field, Grade, Level};
pub use learn::{Learnt, NotLearnt};
pub use link::{Answer, Attribute, Decision, Thresholds};
pub use normalize::Profile;
pub use parameters::{Model, Parameters};

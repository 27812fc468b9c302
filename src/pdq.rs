//! PDQ: patient demographics queries, in which a supplier finds people by what is known of them.
//!
//! `criteria` is what is asked and `answer` what is told, whatever the dialect; `query_v2` and `query_v3` are the
//! messages. `supplier` finds and answers.

pub mod answer;
pub mod criteria;
pub mod matching;
pub mod parameters_v2;
pub mod query_v2;
pub mod query_v3;
pub mod supplier;
pub mod visit;

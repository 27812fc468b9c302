//! The load generator (`src/bin/load.rs`): what the benchmarks send and what they measure.

pub mod candidates;
pub mod certificates;
pub mod crypto;
pub mod durable;
pub mod https;
pub mod measure;
pub mod messages;
pub mod mllp;
pub mod partners;
pub mod people;
pub mod population;
pub mod prepared;
pub mod servers;

/// What went wrong, for whoever runs a benchmark.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

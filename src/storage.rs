//! What is kept: patient identities, document metadata and bytes, what is on its way to others, traces
//! of exchanges.

pub mod deliveries;
pub mod documents;
pub mod engine;
pub mod files;
pub mod identities;
pub mod owed;
pub mod seal;
pub mod traces;

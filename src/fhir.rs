//! FHIR R4 (4.0.1) as IHE's mobile profiles use it: what is on the wire for PIXm, PDQm and MHD.
//!
//! Resources are `serde_json` values; only what the gateway understands gets a type, and a resource that passes through
//! keeps what it does not. JSON and XML are read into the same values (ITI TF-2: Appendix Z wants both of a server).
//! The messages of the transactions are in `pixm` (ITI-83, 104), `pdqm` (78, 119) and `mhd` (65 to 68, 105); who answers
//! them is in `pix::manager` and `pdq::supplier`. A person of the store is a Patient through `person`.

pub mod bundle;
pub mod capability;
pub mod json;
pub mod mhd;
pub mod outcome;
pub mod pdqm;
pub mod person;
pub mod pixm;
pub mod resource;
pub mod search;
pub mod xml;

pub use bundle::{Bundle, Grade};
pub use outcome::{Issue, IssueCode, Outcome, Refusal, Severity};
pub use resource::{Identifier, Patient, Reference};

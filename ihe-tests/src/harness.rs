//! Gateways that run in this process, and what calls them: partners with certificates, document sources, registration
//! systems. Everything goes over real sockets; only what a test looks at afterwards (the audit trail) is read directly.
//!
//! A harness that cannot be set up fails the test that wanted it, so it panics as tests do.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "this is test code in a library")]

pub mod audit;
pub mod client;
pub mod fhir;
pub mod letter;
pub mod mllp;
pub mod receiver;
pub mod samples;
pub mod scenarios;
pub mod schema;
pub mod world;

pub use audit::Trail;
pub use client::{Answer, Client, Reply};
pub use fhir::Fhir;
pub use letter::Letter;
pub use mllp::Feed;
pub use receiver::Receiver;
pub use world::{Ground, Solo, World};

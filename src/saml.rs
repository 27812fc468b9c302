//! SAML 2.0 assertions: XUA (ITI-40) and the NHIN Authorization Framework.
//!
//! [`issue`] makes the header of a request, [`verify()`] reads one and gives a [`VerifiedAssertion`]; attributes
//! ([`xspa`]) are readable on nothing else.

mod assertion;
pub mod issue;
#[cfg(test)]
mod tests;
pub mod verify;
pub mod xspa;

pub use issue::{AssertionRequest, Confirmation, IssueError, Token};
pub use verify::{Expectations, SamlError, VerifiedAssertion, verify};
pub use xspa::Attributes;

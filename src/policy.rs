//! Who may ask for what, and for which purpose. What is not allowed is refused.
//!
//! `authorize` decides about a request that came in and is the only maker of `Permitted`, which every handler takes.
//! `exchange_purpose` has the rules of the networks: what is asked and answered by default, what is push only, and
//! under which code a request leaves for a partner.

pub mod authorize;
pub mod exchange_purpose;

pub use authorize::{Permitted, Policy, PolicyRefusal};
pub use exchange_purpose::{PurposeError, Rules};

//! The WS-Security header: what stands in it, and who must understand it (OASIS WSS 1.1; NHIN Messaging Platform).
//!
//! A request carries Timestamp, Assertion and a Signature over the Timestamp; a response a Timestamp and the
//! confirmation of that signature. What the assertion says is for `saml`.

pub mod header;
pub mod timestamp;

pub use header::{RequestHeader, ResponseHeader, ResponseHeaderError, response_header};
pub use timestamp::Lifetime;

use crate::xml::ns;

/// The fault codes of WS-Security section 12, with `MessageExpired` of section 10.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum SecurityFault {
    /// A kind of token that is not read here.
    UnsupportedSecurityToken,
    /// An algorithm that is not accepted.
    UnsupportedAlgorithm,
    /// The header is not as it must be.
    InvalidSecurity,
    /// The token is not valid, here or now.
    InvalidSecurityToken,
    /// The token could not be authenticated.
    FailedAuthentication,
    /// A signature is wrong.
    FailedCheck,
    /// A token that is referred to is not there.
    SecurityTokenUnavailable,
    /// The message is too old.
    MessageExpired,
}

impl SecurityFault {
    /// Namespace and local name of the subcode.
    pub fn name(self) -> (&'static str, &'static str) {
        match self {
            Self::UnsupportedSecurityToken => (ns::WSSE, "UnsupportedSecurityToken"),
            Self::UnsupportedAlgorithm => (ns::WSSE, "UnsupportedAlgorithm"),
            Self::InvalidSecurity => (ns::WSSE, "InvalidSecurity"),
            Self::InvalidSecurityToken => (ns::WSSE, "InvalidSecurityToken"),
            Self::FailedAuthentication => (ns::WSSE, "FailedAuthentication"),
            Self::FailedCheck => (ns::WSSE, "FailedCheck"),
            Self::SecurityTokenUnavailable => (ns::WSSE, "SecurityTokenUnavailable"),
            Self::MessageExpired => (ns::WSU, "MessageExpired"),
        }
    }
}

/// Why a header is refused before any signature is looked at.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HeaderError {
    /// Not the element it must be.
    #[error("the security header is not wsse:Security")]
    NotSecurity,
    /// A part is missing.
    #[error("the security header has no {0}")]
    Missing(&'static str),
    /// A part is there more than once.
    #[error("the security header has more than one {0}")]
    Repeated(&'static str),
    /// A token of another kind than SAML 2.0, or an encrypted one.
    #[error("{0} is not a security token that is accepted here: send a SAML 2.0 assertion")]
    OtherToken(&'static str),
    /// Created or Expires is missing, repeated or not a time.
    #[error("the Timestamp is not a Created and an Expires, each an xs:dateTime")]
    Timestamp,
    /// Expires is not after Created.
    #[error("the Timestamp expires before it was created")]
    TimestampOrder,
    /// Created lies in the future.
    #[error("the Timestamp was created in the future: {created}, and it is {now} here")]
    NotYetCreated {
        /// As the sender's clock had it.
        created: String,
        /// Our time.
        now: String,
    },
    /// Expires has passed.
    #[error("the message expired at {expires}, and it is {now} here")]
    Expired {
        /// As the sender's clock had it.
        expires: String,
        /// Our time.
        now: String,
    },
    /// The Timestamp is valid for longer than is accepted.
    #[error("the Timestamp is valid for {seconds} seconds, at most {most} are accepted")]
    TooLong {
        /// As sent.
        seconds: u64,
        /// As accepted.
        most: u64,
    },
}

impl HeaderError {
    /// The fault code (WS-Security section 12).
    pub fn fault(&self) -> SecurityFault {
        match self {
            Self::NotSecurity
            | Self::Missing(_)
            | Self::Repeated(_)
            | Self::Timestamp
            | Self::TimestampOrder
            | Self::NotYetCreated { .. }
            | Self::TooLong { .. } => SecurityFault::InvalidSecurity,
            Self::OtherToken(_) => SecurityFault::UnsupportedSecurityToken,
            Self::Expired { .. } => SecurityFault::MessageExpired,
        }
    }
}

//! Whom we trust: anchors, chains, revocation and TLS, by network.
//!
//! Each network (TEFCA, Carequality, a hospital's own) has a folder in the trust store, and nothing is trusted for one
//! network because another trusts it (`anchors`). One rule decides about a certificate, whether it comes from a TLS
//! client, a TLS server or a SAML signer (`chain`, `revocation`). `tls` turns that into rustls configurations, `peer`
//! is what the rest of the program knows about who is at the other end, `refusal` why somebody was turned away, and
//! `issue` makes certificates for tests and first steps.

pub mod anchors;
pub mod chain;
pub mod issue;
pub mod peer;
pub mod refusal;
pub mod revocation;
pub mod tls;

#[cfg(test)]
pub(crate) mod tests;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

pub use anchors::{Held, HeldKind, Problem, Problems, Store, Trust};
pub use chain::{ChainError, Usage};
pub use peer::{Peer, fingerprint, subject_of};
pub use refusal::Refusal;
pub use revocation::{ExpiredList, Revocation, RevocationPolicy};
pub use tls::{Identity, IdentityError, Tls};

/// The name of a network: that of its folder in the trust store and of its section in the configuration.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct NetworkName(SmolStr);

/// Why a text cannot name a network.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a network's name has only a-z, 0-9, '-' and '_', and starts with a letter or digit")]
pub struct NotANetworkName;

impl NetworkName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<SmolStr> for NetworkName {
    type Error = NotANetworkName;

    fn try_from(text: SmolStr) -> Result<Self, NotANetworkName> {
        // It becomes a path, so nothing that a file system gives a meaning to.
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
        let starts_well = text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric());
        if starts_well && text.len() <= 64 && text.bytes().all(allowed) { Ok(Self(text)) } else { Err(NotANetworkName) }
    }
}

impl FromStr for NetworkName {
    type Err = NotANetworkName;

    fn from_str(text: &str) -> Result<Self, NotANetworkName> {
        SmolStr::from(text).try_into()
    }
}

impl From<NetworkName> for SmolStr {
    fn from(name: NetworkName) -> Self {
        name.0
    }
}

impl fmt::Display for NetworkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

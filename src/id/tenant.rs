//! Whose data it is: one gateway may serve several organisations that must never see each other's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::identifiers::IdError;

/// The name of a tenant: 1 to 64 letters, digits, `.`, `_` and `-`, so that it can stand in keys, paths and logs.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "SmolStr", into = "SmolStr")]
pub struct Tenant(SmolStr);

impl Tenant {
    /// The longest name, in bytes.
    pub const MAX_LENGTH: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    /// The only tenant of a gateway that serves one organisation.
    fn default() -> Self {
        Self(SmolStr::new_static("default"))
    }
}

impl FromStr for Tenant {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() {
            return Err(IdError::Empty);
        }
        if text.len() > Self::MAX_LENGTH {
            return Err(IdError::TooLong(Self::MAX_LENGTH));
        }
        // A name that starts with a dot would leave its folder or hide in it.
        if text.starts_with('.') || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
            return Err(IdError::NotAName);
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<SmolStr> for Tenant {
    type Error = IdError;

    fn try_from(text: SmolStr) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<Tenant> for SmolStr {
    fn from(tenant: Tenant) -> Self {
        tenant.0
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tenants_fit_in_keys_and_paths() {
        for (text, expected) in [
            ("north-clinic", Ok("north-clinic")),
            ("A.1_b", Ok("A.1_b")),
            ("", Err(IdError::Empty)),
            ("..", Err(IdError::NotAName)),
            ("../etc", Err(IdError::NotAName)),
            ("two words", Err(IdError::NotAName)),
        ] {
            assert_eq!(text.parse::<Tenant>().as_ref().map(Tenant::as_str), expected.as_ref().copied(), "{text:?}");
        }
        assert_eq!("x".repeat(65).parse::<Tenant>(), Err(IdError::TooLong(64)));
    }
}

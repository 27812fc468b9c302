//! Coded values.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

/// A code of a coding scheme, with the display name that came with it. Two codes are equal when code and scheme are:
/// a display name is for people and is often wrong.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Code {
    /// The code itself.
    pub code: SmolStr,
    /// The coding scheme, usually an OID; empty when the sender named none.
    pub scheme: SmolStr,
    /// Text for people; may be empty.
    #[serde(default, skip_serializing_if = "SmolStr::is_empty")]
    pub display: SmolStr,
}

impl Code {
    /// A code with its scheme and display name.
    pub fn new(code: impl Into<SmolStr>, scheme: impl Into<SmolStr>, display: impl Into<SmolStr>) -> Self {
        Self { code: code.into(), scheme: scheme.into(), display: display.into() }
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.code == other.code && self.scheme == other.scheme
    }
}

impl Eq for Code {}

impl std::hash::Hash for Code {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.code.hash(state);
        self.scheme.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_equal_whatever_their_display() {
        assert_eq!(
            Code::new("34133-9", "2.16.840.1.113883.6.1", "Summary"),
            Code::new("34133-9", "2.16.840.1.113883.6.1", "")
        );
        assert_ne!(Code::new("N", "a", ""), Code::new("N", "b", ""));
    }
}

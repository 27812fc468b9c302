//! Which attributes a transaction requires (ITI TF-3: Tables 4.3.1-3, 4.3.2.1-3).

use crate::ebxml::{ErrorCode, RegistryError};

/// The transaction whose rules a submission must keep.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rules {
    /// ITI-41 to an XDS repository.
    Provide,
    /// ITI-42.
    Register,
    /// ITI-41 to an XDR recipient, ITI-80.
    Xdr,
    /// ITI-41 to an XDR recipient that takes limited metadata too. What is not marked as such must be complete.
    XdrLimited,
    /// ITI-61.
    RegisterOnDemand,
    /// ITI-57.
    Update,
    /// ITI-92: one document, of another community.
    RestrictedUpdate,
    /// Direct's metadata level `minimal`: nothing is enforced but the ids.
    DirectMinimal,
}

impl Rules {
    /// The code for metadata that these rules forbid: a repository answers ITI-41, a registry the others.
    pub fn metadata_error(self) -> ErrorCode {
        match self {
            Self::Provide | Self::Xdr | Self::XdrLimited | Self::DirectMinimal => ErrorCode::XdsRepositoryMetadataError,
            Self::Register | Self::RegisterOnDemand | Self::Update | Self::RestrictedUpdate => {
                ErrorCode::XdsRegistryMetadataError
            }
        }
    }

    /// The code for a unique id that occurs twice.
    pub fn duplicate_error(self) -> ErrorCode {
        match self {
            Self::Provide | Self::Xdr | Self::XdrLimited | Self::DirectMinimal => {
                ErrorCode::XdsRepositoryDuplicateUniqueIdInMessage
            }
            Self::Register | Self::RegisterOnDemand | Self::Update | Self::RestrictedUpdate => {
                ErrorCode::XdsRegistryDuplicateUniqueIdInMessage
            }
        }
    }

    /// Whether versions are made.
    pub fn is_update(self) -> bool {
        matches!(self, Self::Update | Self::RestrictedUpdate)
    }

    fn column(self) -> usize {
        match self {
            Self::Provide => 0,
            Self::Register | Self::Update | Self::RestrictedUpdate => 1,
            Self::Xdr => 2,
            Self::XdrLimited => 3,
            Self::RegisterOnDemand => 4,
            Self::DirectMinimal => 5,
        }
    }
}

/// Whether an attribute must be there. "Required if known" cannot be checked and counts as optional.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Need {
    /// Required.
    R,
    /// Optional.
    O,
    /// Prohibited.
    X,
}

/// One row of a table: the attribute, whether an object has it, and the need in each column of `Rules`.
pub(super) struct Row<T> {
    pub(super) attribute: &'static str,
    pub(super) present: fn(&T) -> bool,
    pub(super) needs: [Need; 6],
}

/// Holds an object to its table.
pub(super) fn check<T>(table: &[Row<T>], object: &T, id: &str, problems: &mut Problems) {
    let column = problems.rules.column();
    for row in table {
        match (row.needs[column], (row.present)(object)) {
            (Need::R, false) => problems.metadata(id, format!("{} is required", row.attribute)),
            (Need::X, true) => problems.metadata(id, format!("{} must not be sent", row.attribute)),
            (Need::R, true) | (Need::X, false) | (Need::O, _) => {}
        }
    }
}

/// What is wrong with a message. The texts name attributes and never quote values.
#[derive(Clone, Debug)]
pub struct Problems {
    /// The rules that decide about codes.
    pub rules: Rules,
    /// All of them, in the order they were found.
    pub list: Vec<RegistryError>,
}

impl Problems {
    /// None yet.
    pub fn new(rules: Rules) -> Self {
        Self { rules, list: Vec::new() }
    }

    /// Notes metadata that the rules forbid, in the object of that id.
    pub fn metadata(&mut self, id: &str, text: impl Into<String>) {
        self.note(self.rules.metadata_error(), id, text);
    }

    /// Notes a problem that has a code of its own.
    pub fn note(&mut self, code: ErrorCode, id: &str, text: impl Into<String>) {
        self.list.push(RegistryError::new(code, text).at(id));
    }
}

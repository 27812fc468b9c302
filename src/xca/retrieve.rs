//! ITI-39 Cross Gateway Retrieve (ITI TF-2: 3.39). The body is that of ITI-43 (`xds::retrieve`); this file has what
//! 3.39 adds: every document names its community, every error its document and its community.

use crate::ebxml::{ErrorCode, RegistryError};
use crate::id::HomeCommunityId;
pub use crate::xds::retrieve::{Content, DocumentId, Encoded, Part, Request, Response, RetrievedDocument};

/// Why one document of a request cannot be asked for.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HomeError {
    /// No community.
    #[error("the request for a document names no home community")]
    Missing,
    /// Not ours.
    #[error("{0} is not a community served here")]
    Unknown(HomeCommunityId),
}

impl HomeError {
    /// `errorCode` (3.39.4.1.3).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::XdsMissingHomeCommunityId,
            Self::Unknown(_) => ErrorCode::XdsUnknownCommunity,
        }
    }
}

/// A Responding Gateway's check of one document.
pub fn check_home(document: &DocumentId, own: &HomeCommunityId) -> Result<(), HomeError> {
    match &document.home {
        Some(home) if home == own => Ok(()),
        Some(home) => Err(HomeError::Unknown(home.clone())),
        None => Err(HomeError::Missing),
    }
}

/// An error about one document, at the place that ITI-39 wants: the document's unique id and the community's.
pub fn error_about(
    code: ErrorCode,
    text: impl Into<String>,
    document: &DocumentId,
    own: &HomeCommunityId,
) -> RegistryError {
    RegistryError::new(code, text).at(format!("{} {own}", document.document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{DocumentUniqueId, RepositoryId};

    /// ITI TF-2: 3.39.4.1.3; NIST testkit 12312, 15831.
    #[test]
    fn every_document_must_name_our_community() {
        let own: HomeCommunityId = "urn:oid:2.999.1".parse().unwrap();
        for (home, code) in [
            (Some("urn:oid:2.999.1"), None),
            (Some("urn:oid:2.999.2"), Some(ErrorCode::XdsUnknownCommunity)),
            (None, Some(ErrorCode::XdsMissingHomeCommunityId)),
        ] {
            let document = DocumentId {
                home: home.map(|home| home.parse().unwrap()),
                repository: RepositoryId::new("2.999.4").unwrap(),
                document: DocumentUniqueId::new("2.999.9.1").unwrap(),
            };
            assert_eq!(check_home(&document, &own).err().map(|error| error.code()), code, "{home:?}");
        }
    }
}

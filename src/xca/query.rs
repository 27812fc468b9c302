//! ITI-38 Cross Gateway Query: what an Initiating Gateway asks of a Responding Gateway (ITI TF-2: 3.38).
//!
//! The body is that of ITI-18 (`xds::stored_query`). This file has only what 3.38 adds: `home` on the query, `home` on
//! every returned element, `location` on every error.

use crate::ebxml::{ErrorCode, RegistryError};
use crate::id::HomeCommunityId;
pub use crate::xds::stored_query::{Object, Query, Reference, Request, Response, ReturnType};

/// Why a cross gateway query cannot be answered or passed on.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HomeError {
    /// A query without a patient has to say whose objects it means.
    #[error("the query names no patient, so it has to name a home community")]
    Missing,
    /// Not a community that this gateway speaks for.
    #[error("{0} is not a community served here")]
    Unknown(HomeCommunityId),
}

impl HomeError {
    /// `errorCode` (3.38.4.1.3).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Missing => ErrorCode::XdsMissingHomeCommunityId,
            Self::Unknown(_) => ErrorCode::XdsUnknownCommunity,
        }
    }
}

impl From<&HomeError> for RegistryError {
    fn from(error: &HomeError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

/// A Responding Gateway's check: the community must be its own, and may be absent where a patient is named
/// (3.38.4.1.2.1).
pub fn check_home(request: &Request, own: &HomeCommunityId) -> Result<(), HomeError> {
    match &request.home {
        Some(home) if home == own => Ok(()),
        Some(home) => Err(HomeError::Unknown(home.clone())),
        None if request.query.patients().is_empty() => Err(HomeError::Missing),
        None => Ok(()),
    }
}

/// A Responding Gateway's answer: every object is of this community and every error happened here (3.38.4.1.3).
pub fn stamped(mut response: Response, own: &HomeCommunityId) -> Response {
    for object in &mut response.objects {
        object.set_home(own.clone());
    }
    for error in &mut response.errors {
        error.location = Some(own.to_string());
    }
    response
}

/// What an Initiating Gateway makes of a community's answer: objects without a home get the one that was asked, and
/// an error says how many did, because a consumer could not retrieve them otherwise. A document without a repository
/// gets the community's OID as one.
pub fn completed(mut response: Response, asked: &HomeCommunityId) -> Response {
    let mut without = 0_usize;
    for object in response.objects.iter_mut().filter(|object| object.home().is_none()) {
        // Associations carry no home in XDS, and many gateways give them none.
        if !matches!(object, Object::Association(_)) {
            without += 1;
        }
        object.set_home(asked.clone());
    }
    for object in &mut response.objects {
        // Some live gateways name no repository; they are their community's only one (seen in US exchanges).
        if let Object::Document(entry) = object
            && entry.repository.is_none()
        {
            entry.repository = entry.home.as_ref().map(|home| home.oid().clone().into());
        }
    }
    if without > 0 {
        let text = format!("the community did not include its id in {without} elements");
        let error = RegistryError::new(ErrorCode::XdsMissingHomeCommunityId, text);
        response.errors.push(error.at(asked.to_string()));
    }
    for error in response.errors.iter_mut().filter(|error| error.location.is_none()) {
        error.location = Some(asked.to_string());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ebxml::Status;
    use crate::id::DocumentUniqueId;
    use crate::metadata::query::{FindDocuments, Selector};
    use crate::metadata::{DocumentEntry, DocumentKind};
    use crate::testing;

    fn community(text: &str) -> HomeCommunityId {
        text.parse().unwrap()
    }

    fn entry() -> Object {
        let unique_id = DocumentUniqueId::new("2.999.9.1").unwrap();
        Object::Document(Box::new(DocumentEntry::new(
            "urn:uuid:00000000-0000-4000-8000-000000000001",
            DocumentKind::Stable,
            unique_id,
            "text/xml",
        )))
    }

    /// ITI TF-2: 3.38.4.1.2.1; NIST testkit 15815.
    #[test]
    fn a_query_must_name_our_community_or_a_patient() {
        let own = community("urn:oid:2.999.1");
        let find = Query::FindDocuments(FindDocuments {
            patients: vec![crate::id::PatientId::from_cx("A^^^&2.999.1.3&ISO").unwrap()],
            ..FindDocuments::default()
        });
        let get = Query::GetDocuments(Selector::UniqueIds(vec![]));
        let other = community("urn:oid:2.999.2");
        for (query, home, result) in [
            (&find, None, Ok(())),
            (&find, Some(&own), Ok(())),
            (&find, Some(&other), Err(HomeError::Unknown(other.clone()))),
            (&get, None, Err(HomeError::Missing)),
            (&get, Some(&own), Ok(())),
        ] {
            let request = Request { home: home.cloned(), ..Request::new(query.clone()) };
            assert_eq!(check_home(&request, &own), result, "{request:?}");
        }
    }

    #[test]
    fn every_object_and_error_says_where_it_is_from() {
        let own = community("urn:oid:2.999.1");
        let error = RegistryError::new(ErrorCode::XdsTooManyResults, "more than 10");
        let answer = stamped(Response { errors: vec![error], ..Response::of(vec![entry()]) }, &own);
        assert_eq!(answer.objects[0].home(), Some(&own));
        assert_eq!(answer.errors[0].location.as_deref(), Some("urn:oid:2.999.1"));
        assert_eq!(answer.status(), Status::PartialSuccess);
        let xml = answer.encode();
        assert!(xml.contains("home=\"urn:oid:2.999.1\"") && xml.contains("location=\"urn:oid:2.999.1\""));
        testing::validates(&xml, "xds/query.xsd");
    }

    #[test]
    fn a_missing_home_is_reported_and_filled_in() {
        let asked = community("urn:oid:2.999.2");
        let answer = completed(Response::of(vec![entry()]), &asked);
        assert_eq!(answer.objects[0].home(), Some(&asked));
        assert_eq!(answer.errors[0].code, ErrorCode::XdsMissingHomeCommunityId);
        let Object::Document(entry) = &answer.objects[0] else { panic!() };
        assert_eq!(entry.repository.as_ref().map(|id| id.as_str()), Some("2.999.2"));
    }
}

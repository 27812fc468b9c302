//! ITI-18 Registry Stored Query and ITI-51 Multi-Patient Stored Query (ITI TF-2: 3.18, 3.51).
//!
//! What can be asked is `metadata::query`; here is the message around it, and the answer. What XCA adds is in
//! `xca::query`.

pub use crate::ebxml::ReturnType;
use crate::ebxml::{AdhocQueryRequest, AdhocQueryResponse, DecodeError, ErrorCode, Item, RegistryError, Slot, Status};
use crate::id::HomeCommunityId;
pub use crate::metadata::query::{
    AllOf, ContentFilter, FindDocuments, FindFolders, FindSubmissionSets, GetAll, Query, QueryError, Selector,
    TimeRange, WantedCode,
};
use crate::metadata::{Association, Availability, DocumentEntry, Folder, Problems, Rules, SubmissionSet};
pub use crate::metadata::{Object, Reference};
use crate::xml::Element;

/// A stored query as a consumer sends it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// References or whole objects.
    pub return_type: ReturnType,
    /// `AdhocQuery/@home`. A registry ignores it, gateways do not.
    pub home: Option<HomeCommunityId>,
    /// `$targetCommunityIdList`: the communities that a gateway is to ask.
    pub target_communities: Vec<HomeCommunityId>,
    /// `$MetadataLevel`: 2 asks for all versions of an object.
    pub metadata_level: Option<u8>,
    /// `$XDSAssociationStatus`; empty where it is not told, which means approved ones.
    pub association_statuses: Vec<Availability>,
    /// The query.
    pub query: Query,
}

/// Why a query was refused before it was asked.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Not the message it should be.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Not a query that can be answered.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A community that cannot be one.
    #[error("the home community id is not an OID")]
    MalformedHome,
}

impl Refusal {
    /// `errorCode` (ITI TF-3: Table 4.2.4.1-2).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed(_) => ErrorCode::XdsRegistryError,
            Self::Query(error) => error.code(),
            Self::MalformedHome => ErrorCode::XdsUnknownCommunity,
        }
    }
}

impl From<&Refusal> for RegistryError {
    fn from(refusal: &Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}

impl Request {
    /// A query for whole objects.
    pub fn new(query: Query) -> Self {
        Self {
            return_type: ReturnType::LeafClass,
            home: None,
            target_communities: Vec::new(),
            metadata_level: None,
            association_statuses: Vec::new(),
            query,
        }
    }

    /// Reads `query:AdhocQueryRequest`.
    pub fn decode(element: Element<'_>) -> Result<Self, Refusal> {
        let request = AdhocQueryRequest::decode(element)?;
        let return_type = match request.return_type.as_str() {
            "ObjectRef" => ReturnType::ObjectRef,
            "LeafClass" => ReturnType::LeafClass,
            _ => return Err(QueryError::ReturnType.into()),
        };
        let community = |text: &str| HomeCommunityId::lenient(text).map_err(|_| Refusal::MalformedHome);
        let targets = crate::metadata::query::texts(&request.slots, TARGET_COMMUNITIES);
        let level = crate::metadata::query::texts(&request.slots, METADATA_LEVEL);
        let statuses = crate::metadata::query::texts(&request.slots, ASSOCIATION_STATUS);
        Ok(Self {
            return_type,
            home: request.home.as_deref().map(community).transpose()?,
            target_communities: targets.iter().map(|text| community(text)).collect::<Result<_, _>>()?,
            metadata_level: level.first().and_then(|text| text.parse().ok()),
            association_statuses: statuses.iter().filter_map(|text| Availability::from_wire(text)).collect(),
            query: Query::from_slots(&request.id, &request.slots)?,
        })
    }

    /// The query, unless it is one of ITI-51: those are another transaction's, with rules of its own about who may ask
    /// for the documents of everybody (3.51).
    pub fn of_one_patient(self) -> Result<Self, Refusal> {
        if self.query.is_multi_patient() { Err(QueryError::UnknownQuery.into()) } else { Ok(self) }
    }

    /// The query, if it is one of ITI-51 (3.51.4.1.2.3).
    pub fn of_several_patients(self) -> Result<Self, Refusal> {
        if self.query.is_multi_patient() { Ok(self) } else { Err(QueryError::UnknownQuery.into()) }
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let mut slots = self.query.to_slots();
        slots.extend(crate::metadata::query::list_slot(
            TARGET_COMMUNITIES,
            self.target_communities.iter().map(HomeCommunityId::to_string),
        ));
        slots.extend(
            self.metadata_level
                .map(|level| Slot { name: METADATA_LEVEL.into(), values: vec![smol_str::format_smolstr!("{level}")] }),
        );
        slots.extend(crate::metadata::query::list_slot(
            ASSOCIATION_STATUS,
            self.association_statuses.iter().map(|status| status.as_str()),
        ));
        AdhocQueryRequest {
            return_type: self.return_type.as_str().into(),
            id: self.query.id().into(),
            home: self.home.as_ref().map(|home| home.to_string().into()),
            slots,
        }
        .encode()
    }
}

const TARGET_COMMUNITIES: &str = "$targetCommunityIdList";
const METADATA_LEVEL: &str = "$MetadataLevel";
const ASSOCIATION_STATUS: &str = "$XDSAssociationStatus";

/// The answer to a stored query.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Response {
    /// What was found.
    pub objects: Vec<Object>,
    /// Errors and warnings.
    pub errors: Vec<RegistryError>,
    /// What a partner sent that could not be read and was left out. Never written; the texts hold no values.
    pub unreadable: Vec<RegistryError>,
}

impl Response {
    /// An answer without errors.
    pub fn of(objects: Vec<Object>) -> Self {
        Self { objects, ..Self::default() }
    }

    /// An answer with one error and nothing else.
    pub fn failure(error: RegistryError) -> Self {
        Self { errors: vec![error], ..Self::default() }
    }

    /// Follows from what is returned.
    pub fn status(&self) -> Status {
        Status::of(&self.errors, !self.objects.is_empty())
    }

    /// The documents.
    pub fn documents(&self) -> impl Iterator<Item = &DocumentEntry> {
        self.objects.iter().filter_map(|object| match object {
            Object::Document(entry) => Some(&**entry),
            Object::SubmissionSet(_) | Object::Folder(_) | Object::Association(_) | Object::Reference(_) => None,
        })
    }

    /// Reads `query:AdhocQueryResponse`. References beside whole objects, which some registries send for
    /// classification schemes, are left out when whole objects were asked for.
    pub fn decode(element: Element<'_>, asked: ReturnType) -> Result<Self, DecodeError> {
        let frame = AdhocQueryResponse::decode(element)?;
        let mut problems = Problems::new(Rules::Register);
        let mut objects = Vec::with_capacity(frame.objects.len());
        for item in frame.objects {
            objects.extend(match item {
                Item::ExtrinsicObject { object, mime_type } => DocumentEntry::decode(object, mime_type, &mut problems)
                    .map(|entry| Object::Document(Box::new(entry))),
                Item::RegistryPackage(object) if SubmissionSet::is(&object) => {
                    SubmissionSet::decode(object, &mut problems).map(|set| Object::SubmissionSet(Box::new(set)))
                }
                Item::RegistryPackage(object) => {
                    Folder::decode(object, &mut problems).map(|folder| Object::Folder(Box::new(folder)))
                }
                Item::Association { object, kind, source, target } => {
                    let association = Association::decode(object, &kind, &source, &target, &mut problems);
                    Some(Object::Association(Box::new(association)))
                }
                Item::ObjectRef { id, home } => (asked == ReturnType::ObjectRef).then(|| {
                    let home = home.and_then(|home| HomeCommunityId::lenient(&home).ok());
                    Object::Reference(Reference { id: id.into(), home })
                }),
            });
        }
        Ok(Self { objects, errors: frame.errors, unreadable: problems.list })
    }

    /// The element, with its namespaces.
    pub fn encode(&self) -> String {
        let objects = self.objects.iter().map(Object::to_item).collect();
        AdhocQueryResponse { objects, errors: self.errors.clone() }.encode()
    }
}

#[cfg(test)]
mod tests;

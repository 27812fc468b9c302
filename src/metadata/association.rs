//! Association: how objects belong together or follow each other (ITI TF-3: 4.2.2).

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::attributes::slot;
use super::coding::{Availability, ObjectId};
use super::rules::Problems;
use crate::ebxml::literals::{ASSOCIATION, ASSOCIATION_REASON};
use crate::ebxml::{Classification, Item, RegistryObject, Slot, last_segment};
use crate::id::{Code, HomeCommunityId};

/// associationType.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
pub enum AssociationKind {
    /// A submission set or folder holds an object.
    HasMember,
    /// RPLC: the source replaces the target.
    Replace,
    /// APND: the source adds to the target.
    Append,
    /// XFRM: the source is the target in another form.
    Transform,
    /// XFRM_RPLC: both.
    TransformAndReplace,
    /// The source signs the target.
    Signs,
    /// The stable source was made from the on-demand target.
    IsSnapshotOf,
    /// The submission changes the target's status (ITI-57).
    UpdateAvailabilityStatus,
    /// The submission adds an association (ITI-57).
    SubmitAssociation,
    /// A type that is none of the framework's.
    Other(SmolStr),
}

impl AssociationKind {
    /// By the last segment: bare names occur.
    pub fn from_wire(text: &str) -> Self {
        match last_segment(text) {
            "HasMember" => Self::HasMember,
            "RPLC" => Self::Replace,
            "APND" => Self::Append,
            "XFRM" => Self::Transform,
            "XFRM_RPLC" => Self::TransformAndReplace,
            "signs" => Self::Signs,
            "IsSnapshotOf" => Self::IsSnapshotOf,
            "UpdateAvailabilityStatus" => Self::UpdateAvailabilityStatus,
            "SubmitAssociation" => Self::SubmitAssociation,
            _ => Self::Other(text.trim().into()),
        }
    }

    /// The literal.
    pub fn as_str(&self) -> &str {
        match self {
            Self::HasMember => "urn:oasis:names:tc:ebxml-regrep:AssociationType:HasMember",
            Self::Replace => "urn:ihe:iti:2007:AssociationType:RPLC",
            Self::Append => "urn:ihe:iti:2007:AssociationType:APND",
            Self::Transform => "urn:ihe:iti:2007:AssociationType:XFRM",
            Self::TransformAndReplace => "urn:ihe:iti:2007:AssociationType:XFRM_RPLC",
            Self::Signs => "urn:ihe:iti:2007:AssociationType:signs",
            Self::IsSnapshotOf => "urn:ihe:iti:2010:AssociationType:IsSnapshotOf",
            Self::UpdateAvailabilityStatus => "urn:ihe:iti:2010:AssociationType:UpdateAvailabilityStatus",
            Self::SubmitAssociation => "urn:ihe:iti:2010:AssociationType:SubmitAssociation",
            Self::Other(text) => text,
        }
    }

    /// Whether the source deprecates the target.
    pub fn replaces(&self) -> bool {
        matches!(self, Self::Replace | Self::TransformAndReplace)
    }

    /// Whether this relates two documents.
    pub fn relates_documents(&self) -> bool {
        match self {
            Self::Replace
            | Self::Append
            | Self::Transform
            | Self::TransformAndReplace
            | Self::Signs
            | Self::IsSnapshotOf => true,
            Self::HasMember | Self::UpdateAvailabilityStatus | Self::SubmitAssociation | Self::Other(_) => false,
        }
    }
}

/// SubmissionSetStatus: how a document came into a submission.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Membership {
    /// It is part of the message.
    Original,
    /// It was in the registry before.
    Reference,
}

/// An association's metadata.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Association {
    /// entryUUID
    pub id: ObjectId,
    /// homeCommunityId
    pub home: Option<HomeCommunityId>,
    /// availabilityStatus (metadata update)
    pub availability: Option<Availability>,
    /// associationType
    pub kind: AssociationKind,
    /// sourceObject
    pub source: ObjectId,
    /// targetObject
    pub target: ObjectId,
    /// SubmissionSetStatus
    pub membership: Option<Membership>,
    /// The reason for the change.
    pub reason: Option<Code>,
    /// PreviousVersion, OriginalStatus, NewStatus, AssociationPropagation and slots that are none of the framework's.
    pub extra: Vec<Slot>,
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Association({} {:?} {})", self.source, self.kind, self.target)
    }
}

impl Association {
    /// An association with what every one has.
    pub fn new(id: impl Into<ObjectId>, kind: AssociationKind, source: ObjectId, target: ObjectId) -> Self {
        Self {
            id: id.into(),
            home: None,
            availability: None,
            kind,
            source,
            target,
            membership: None,
            reason: None,
            extra: Vec::new(),
        }
    }

    /// Reads an Association.
    pub fn decode(mut object: RegistryObject, kind: &str, source: &str, target: &str, problems: &mut Problems) -> Self {
        let statuses = object.take_slot("SubmissionSetStatus").unwrap_or_default();
        let membership = match statuses.first().map(|status| last_segment(status)) {
            Some("Original") => Some(Membership::Original),
            Some("Reference") => Some(Membership::Reference),
            None => None,
            Some(_) => {
                problems.metadata(&object.id, "SubmissionSetStatus is neither Original nor Reference");
                None
            }
        };
        let reason = object.classified(ASSOCIATION_REASON).find_map(Classification::code);
        let mut association = Self::new(object.id, AssociationKind::from_wire(kind), source.into(), target.into());
        association.home = object.home.as_deref().and_then(|text| HomeCommunityId::lenient(text).ok());
        association.availability = object.status.as_deref().and_then(Availability::from_wire);
        association.membership = membership;
        association.reason = reason;
        association.extra = object.slots;
        association
    }

    /// The Association.
    pub fn to_item(&self) -> Item {
        let mut object = RegistryObject::new(self.id.clone(), ASSOCIATION);
        object.home = self.home.as_ref().map(|home| home.to_string().into());
        object.status = self.availability.map(|availability| availability.as_str().into());
        object.slot_if(
            "SubmissionSetStatus",
            self.membership.map(|membership| match membership {
                Membership::Original => "Original",
                Membership::Reference => "Reference",
            }),
        );
        object.slots.extend(self.extra.iter().cloned());
        let reason = self.reason.iter().map(|code| Classification::of_code(ASSOCIATION_REASON, code));
        object.classifications.extend(reason);
        Item::Association {
            object,
            kind: self.kind.as_str().into(),
            source: self.source.clone().into(),
            target: self.target.clone().into(),
        }
    }

    /// The version that an update is of (ITI-57).
    pub fn previous_version(&self) -> Option<u32> {
        slot(&self.extra, "PreviousVersion")?.parse().ok()
    }
}

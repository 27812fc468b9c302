//! Any object of a registry.

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::{Association, DocumentEntry, Folder, ObjectId, SubmissionSet};
use crate::ebxml::Item;
use crate::id::{HomeCommunityId, PatientId};

/// One of the registry's objects, or a reference to it.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub enum Object {
    /// A document's metadata.
    Document(Box<DocumentEntry>),
    /// A submission's metadata.
    SubmissionSet(Box<SubmissionSet>),
    /// A folder's metadata.
    Folder(Box<Folder>),
    /// An association.
    Association(Box<Association>),
    /// Only the id of one of these.
    Reference(Reference),
}

/// The id of an object and where it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// entryUUID
    pub id: ObjectId,
    /// homeCommunityId
    pub home: Option<HomeCommunityId>,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(entry) => entry.fmt(f),
            Self::SubmissionSet(set) => set.fmt(f),
            Self::Folder(folder) => folder.fmt(f),
            Self::Association(association) => association.fmt(f),
            Self::Reference(reference) => reference.fmt(f),
        }
    }
}

impl Object {
    /// entryUUID
    pub fn id(&self) -> &ObjectId {
        match self {
            Self::Document(entry) => &entry.id,
            Self::SubmissionSet(set) => &set.id,
            Self::Folder(folder) => &folder.id,
            Self::Association(association) => &association.id,
            Self::Reference(reference) => &reference.id,
        }
    }

    /// homeCommunityId
    pub fn home(&self) -> Option<&HomeCommunityId> {
        match self {
            Self::Document(entry) => entry.home.as_ref(),
            Self::SubmissionSet(set) => set.home.as_ref(),
            Self::Folder(folder) => folder.home.as_ref(),
            Self::Association(association) => association.home.as_ref(),
            Self::Reference(reference) => reference.home.as_ref(),
        }
    }

    /// The patient whose object this is; associations and references have none.
    pub fn patient(&self) -> Option<&PatientId> {
        match self {
            Self::Document(entry) => entry.patient_id.as_ref(),
            Self::SubmissionSet(set) => set.patient_id.as_ref(),
            Self::Folder(folder) => folder.patient_id.as_ref(),
            Self::Association(_) | Self::Reference(_) => None,
        }
    }

    /// Says whose object this is.
    pub fn set_home(&mut self, home: HomeCommunityId) {
        let place = match self {
            Self::Document(entry) => &mut entry.home,
            Self::SubmissionSet(set) => &mut set.home,
            Self::Folder(folder) => &mut folder.home,
            Self::Association(association) => &mut association.home,
            Self::Reference(reference) => &mut reference.home,
        };
        *place = Some(home);
    }

    /// Only the reference.
    pub fn into_reference(self) -> Self {
        Self::Reference(Reference { id: self.id().clone(), home: self.home().cloned() })
    }

    /// The ebXML form.
    pub fn to_item(&self) -> Item {
        match self {
            Self::Document(entry) => entry.to_item(),
            Self::SubmissionSet(set) => set.to_item(),
            Self::Folder(folder) => folder.to_item(),
            Self::Association(association) => association.to_item(),
            Self::Reference(reference) => Item::ObjectRef {
                id: reference.id.clone().into(),
                home: reference.home.as_ref().map(|home| SmolStr::from(home.to_string())),
            },
        }
    }
}

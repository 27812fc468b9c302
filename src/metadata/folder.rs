//! Folder: documents that belong together (ITI TF-3: 4.2.3.4).

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::attributes::{Attributes, write_identifier};
use super::coding::{Availability, ObjectId};
use super::document_entry::version_number;
use super::rules::{Need, Problems, Row, check};
use crate::ebxml::literals::{self, folder as scheme};
use crate::ebxml::{Classification, Item, RegistryObject, Slot};
use crate::id::{Code, DocumentUniqueId, Dtm, HomeCommunityId, PatientId};

/// A folder's metadata.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct Folder {
    /// entryUUID
    pub id: ObjectId,
    /// logicalID
    pub logical_id: Option<ObjectId>,
    /// version
    pub version: Option<u32>,
    /// homeCommunityId
    pub home: Option<HomeCommunityId>,
    /// availabilityStatus
    pub availability: Option<Availability>,
    /// uniqueId
    pub unique_id: DocumentUniqueId,
    /// patientId
    pub patient_id: Option<PatientId>,
    /// lastUpdateTime, set by the registry.
    pub last_update: Option<Dtm>,
    /// codeList
    pub codes: Vec<Code>,
    /// title
    pub title: Option<SmolStr>,
    /// comments
    pub comments: Option<SmolStr>,
    /// limitedMetadata
    pub limited_metadata: bool,
    /// Slots that are no attribute of the framework.
    pub extra: Vec<Slot>,
}

impl fmt::Debug for Folder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Folder({}, {})", self.id, self.unique_id)
    }
}

impl Folder {
    /// A folder with what every folder has.
    pub fn new(id: impl Into<ObjectId>, unique_id: DocumentUniqueId) -> Self {
        Self {
            id: id.into(),
            logical_id: None,
            version: None,
            home: None,
            availability: None,
            unique_id,
            patient_id: None,
            last_update: None,
            codes: Vec::new(),
            title: None,
            comments: None,
            limited_metadata: false,
            extra: Vec::new(),
        }
    }

    /// Whether a package is a folder.
    pub fn is(object: &RegistryObject) -> bool {
        object.is_marked(scheme::NODE)
    }

    /// Reads a RegistryPackage; none (with a problem) without a unique id.
    pub fn decode(object: RegistryObject, problems: &mut Problems) -> Option<Self> {
        let mut a = Attributes { object, problems };
        let unique_id = a.unique(scheme::UNIQUE_ID)?;
        let mut folder = Self::new(a.object.id.clone(), unique_id);
        folder.logical_id = a.object.lid.clone().map(ObjectId::from);
        folder.version = a.object.version.as_deref().and_then(version_number);
        folder.home = a.home();
        folder.availability = a.object.status.as_deref().and_then(Availability::from_wire);
        folder.patient_id = a.patient(scheme::PATIENT_ID);
        folder.last_update = a.dtm("lastUpdateTime");
        folder.codes = a.codes(scheme::CODE_LIST, "codeList");
        folder.title = a.object.name.take();
        folder.comments = a.object.description.take();
        folder.limited_metadata = a.object.is_marked(scheme::LIMITED_METADATA);
        folder.extra = a.object.slots;
        Some(folder)
    }

    /// The RegistryPackage.
    pub fn to_item(&self) -> Item {
        let mut object = RegistryObject::new(self.id.clone(), literals::REGISTRY_PACKAGE);
        object.home = self.home.as_ref().map(|home| home.to_string().into());
        object.lid = self.logical_id.clone().map(SmolStr::from);
        object.status = self.availability.map(|availability| availability.as_str().into());
        object.version = self.version.map(|version| smol_str::format_smolstr!("{version}"));
        object.name = self.title.clone();
        object.description = self.comments.clone();
        object.slot_if("lastUpdateTime", self.last_update.clone());
        object.slots.extend(self.extra.iter().cloned());
        let to = &mut object.classifications;
        to.push(Classification::of_node(scheme::NODE));
        to.extend(self.codes.iter().map(|code| Classification::of_code(scheme::CODE_LIST, code)));
        if self.limited_metadata {
            to.push(Classification::of_node(scheme::LIMITED_METADATA));
        }
        let patient = self.patient_id.as_ref().map(PatientId::to_cx);
        write_identifier(&mut object, scheme::PATIENT_ID, "XDSFolder.patientId", patient);
        let unique_id = Some(self.unique_id.to_string());
        write_identifier(&mut object, scheme::UNIQUE_ID, "XDSFolder.uniqueId", unique_id);
        Item::RegistryPackage(object)
    }

    /// Holds the folder to the rules of its transaction.
    pub fn check(&self, problems: &mut Problems) {
        check(NEEDS, self, &self.id.to_string(), problems);
    }
}

use Need::{O, R, X};

const NEEDS: &[Row<Folder>] = &[
    Row { attribute: "codeList", present: |f| !f.codes.is_empty(), needs: [R, R, R, O, R, O] },
    Row { attribute: "limitedMetadata", present: |f| f.limited_metadata, needs: [X, X, X, R, X, O] },
    Row { attribute: "patientId", present: |f| f.patient_id.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "title", present: |f| f.title.is_some(), needs: [R, R, R, O, R, O] },
];

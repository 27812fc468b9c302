//! SubmissionSet: who submitted what, when and for whom (ITI TF-3: 4.2.3.3).

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::attributes::{Attributes, write_author, write_identifier};
use super::coding::{Author, Availability, ObjectId};
use super::rules::{Need, Problems, Row, check};
use crate::ebxml::literals::{self, submission_set as scheme};
use crate::ebxml::{Classification, Item, RegistryObject, Slot};
use crate::id::{Code, DocumentUniqueId, Dtm, HomeCommunityId, PatientId};

/// One submission's own metadata.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct SubmissionSet {
    /// entryUUID
    pub id: ObjectId,
    /// homeCommunityId
    pub home: Option<HomeCommunityId>,
    /// availabilityStatus
    pub availability: Option<Availability>,
    /// uniqueId, an OID that no other submission has.
    pub unique_id: DocumentUniqueId,
    /// sourceId of the sending system. An OID by rule; kept as text, because what live senders use often is none.
    pub source_id: Option<SmolStr>,
    /// patientId
    pub patient_id: Option<PatientId>,
    /// submissionTime
    pub submission_time: Option<Dtm>,
    /// contentTypeCode
    pub content_type: Option<Code>,
    /// author
    pub authors: Vec<Author>,
    /// intendedRecipient: `XON|XCN|XTN`, each part may be empty.
    pub intended_recipients: Vec<SmolStr>,
    /// title
    pub title: Option<SmolStr>,
    /// comments
    pub comments: Option<SmolStr>,
    /// limitedMetadata
    pub limited_metadata: bool,
    /// Slots that are no attribute of the framework.
    pub extra: Vec<Slot>,
}

impl fmt::Debug for SubmissionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SubmissionSet({}, {})", self.id, self.unique_id)
    }
}

impl SubmissionSet {
    /// A set with what every set has.
    pub fn new(id: impl Into<ObjectId>, unique_id: DocumentUniqueId) -> Self {
        Self {
            id: id.into(),
            home: None,
            availability: None,
            unique_id,
            source_id: None,
            patient_id: None,
            submission_time: None,
            content_type: None,
            authors: Vec::new(),
            intended_recipients: Vec::new(),
            title: None,
            comments: None,
            limited_metadata: false,
            extra: Vec::new(),
        }
    }

    /// Whether a package is a submission set.
    pub fn is(object: &RegistryObject) -> bool {
        object.is_marked(scheme::NODE)
    }

    /// Reads a RegistryPackage; none (with a problem) without a unique id.
    pub fn decode(object: RegistryObject, problems: &mut Problems) -> Option<Self> {
        let mut a = Attributes { object, problems };
        let unique_id = a.unique(scheme::UNIQUE_ID)?;
        let mut set = Self::new(a.object.id.clone(), unique_id);
        set.home = a.home();
        set.availability = a.object.status.as_deref().and_then(Availability::from_wire);
        set.source_id =
            a.object.identifier(scheme::SOURCE_ID).map(str::trim).filter(|id| !id.is_empty()).map(Into::into);
        set.patient_id = a.patient(scheme::PATIENT_ID);
        set.submission_time = a.dtm("submissionTime");
        set.content_type = a.code(scheme::CONTENT_TYPE_CODE, "contentTypeCode");
        set.authors = a.authors(scheme::AUTHOR);
        set.intended_recipients = a.multiple("intendedRecipient");
        set.title = a.object.name.take();
        set.comments = a.object.description.take();
        set.limited_metadata = a.object.is_marked(scheme::LIMITED_METADATA);
        set.extra = a.object.slots;
        Some(set)
    }

    /// The RegistryPackage.
    pub fn to_item(&self) -> Item {
        let mut object = RegistryObject::new(self.id.clone(), literals::REGISTRY_PACKAGE);
        object.home = self.home.as_ref().map(|home| home.to_string().into());
        object.status = self.availability.map(|availability| availability.as_str().into());
        object.name = self.title.clone();
        object.description = self.comments.clone();
        object.slot_if("submissionTime", self.submission_time.clone());
        object.slot_list("intendedRecipient", self.intended_recipients.clone());
        object.slots.extend(self.extra.iter().cloned());
        let to = &mut object.classifications;
        to.push(Classification::of_node(scheme::NODE));
        to.extend(self.authors.iter().map(|author| write_author(scheme::AUTHOR, author)));
        to.extend(self.content_type.iter().map(|code| Classification::of_code(scheme::CONTENT_TYPE_CODE, code)));
        if self.limited_metadata {
            to.push(Classification::of_node(scheme::LIMITED_METADATA));
        }
        let patient = self.patient_id.as_ref().map(PatientId::to_cx);
        write_identifier(&mut object, scheme::PATIENT_ID, "XDSSubmissionSet.patientId", patient);
        let source = self.source_id.as_ref().map(SmolStr::to_string);
        write_identifier(&mut object, scheme::SOURCE_ID, "XDSSubmissionSet.sourceId", source);
        let unique_id = Some(self.unique_id.to_string());
        write_identifier(&mut object, scheme::UNIQUE_ID, "XDSSubmissionSet.uniqueId", unique_id);
        Item::RegistryPackage(object)
    }

    /// Holds the set to the rules of its transaction.
    pub fn check(&self, problems: &mut Problems) {
        check(NEEDS, self, &self.id.to_string(), problems);
    }
}

use Need::{O, R, X};

const NEEDS: &[Row<SubmissionSet>] = &[
    Row { attribute: "contentTypeCode", present: |s| s.content_type.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "limitedMetadata", present: |s| s.limited_metadata, needs: [X, X, X, R, X, O] },
    Row { attribute: "patientId", present: |s| s.patient_id.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "sourceId", present: |s| s.source_id.is_some(), needs: [R, R, R, R, R, O] },
    Row { attribute: "submissionTime", present: |s| s.submission_time.is_some(), needs: [R, R, R, R, R, O] },
];

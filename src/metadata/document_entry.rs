//! DocumentEntry: what is known about one document (ITI TF-3: 4.2.3.2).

use std::fmt;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::attributes::{Attributes, write_author, write_identifier};
use super::coding::{
    Author, Availability, Cx, DocumentAvailability, DocumentKind, ObjectId, ReferenceId, SourcePatientInfo, Xcn,
};
use super::rules::{Need, Problems, Row, check};
use crate::ebxml::literals::{REFERENCE_ID_LIST, document_entry as scheme};
use crate::ebxml::{Classification, Item, RegistryObject, Slot};
use crate::id::{Code, DocumentUniqueId, Dtm, HomeCommunityId, PatientId, RepositoryId};

/// A document's metadata. What a transaction may leave out is optional here; `Rules` say what must be there.
#[derive(Clone, Eq, PartialEq, Serialize, Deserialize)]
pub struct DocumentEntry {
    /// entryUUID
    pub id: ObjectId,
    /// logicalID, the entryUUID of the first version.
    pub logical_id: Option<ObjectId>,
    /// version
    pub version: Option<u32>,
    /// homeCommunityId
    pub home: Option<HomeCommunityId>,
    /// availabilityStatus
    pub availability: Option<Availability>,
    /// objectType
    pub kind: DocumentKind,
    /// mimeType
    pub mime_type: SmolStr,
    /// uniqueId. That of an on-demand entry is never a document's.
    pub unique_id: DocumentUniqueId,
    /// patientId, in the affinity domain.
    pub patient_id: Option<PatientId>,
    /// sourcePatientId, where the document was made.
    pub source_patient_id: Option<Cx>,
    /// sourcePatientInfo
    pub source_patient_info: SourcePatientInfo,
    /// repositoryUniqueId
    pub repository: Option<RepositoryId>,
    /// hash: SHA-1, 40 hexadecimal digits in lower case.
    pub hash: Option<SmolStr>,
    /// size in bytes
    pub size: Option<u64>,
    /// creationTime
    pub creation_time: Option<Dtm>,
    /// serviceStartTime
    pub service_start: Option<Dtm>,
    /// serviceStopTime
    pub service_stop: Option<Dtm>,
    /// languageCode
    pub language: Option<SmolStr>,
    /// classCode
    pub class_code: Option<Code>,
    /// typeCode
    pub type_code: Option<Code>,
    /// formatCode
    pub format_code: Option<Code>,
    /// healthcareFacilityTypeCode
    pub facility_type: Option<Code>,
    /// practiceSettingCode
    pub practice_setting: Option<Code>,
    /// confidentialityCode
    pub confidentiality: Vec<Code>,
    /// eventCodeList
    pub event_codes: Vec<Code>,
    /// author
    pub authors: Vec<Author>,
    /// legalAuthenticator
    pub legal_authenticator: Option<Xcn>,
    /// referenceIdList
    pub reference_ids: Vec<ReferenceId>,
    /// title
    pub title: Option<SmolStr>,
    /// comments
    pub comments: Option<SmolStr>,
    /// URI
    pub uri: Option<SmolStr>,
    /// documentAvailability
    pub document_availability: Option<DocumentAvailability>,
    /// limitedMetadata
    pub limited_metadata: bool,
    /// Slots that are no attribute of the framework. They are kept and returned.
    pub extra: Vec<Slot>,
}

impl fmt::Debug for DocumentEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentEntry({}, {:?}, {})", self.id, self.kind, self.unique_id)
    }
}

impl DocumentEntry {
    /// An entry with what every entry has; the rest is for the caller to fill in.
    pub fn new(id: impl Into<ObjectId>, kind: DocumentKind, unique_id: DocumentUniqueId, mime_type: &str) -> Self {
        Self {
            id: id.into(),
            logical_id: None,
            version: None,
            home: None,
            availability: None,
            kind,
            mime_type: mime_type.into(),
            unique_id,
            patient_id: None,
            source_patient_id: None,
            source_patient_info: SourcePatientInfo::default(),
            repository: None,
            hash: None,
            size: None,
            creation_time: None,
            service_start: None,
            service_stop: None,
            language: None,
            class_code: None,
            type_code: None,
            format_code: None,
            facility_type: None,
            practice_setting: None,
            confidentiality: Vec::new(),
            event_codes: Vec::new(),
            authors: Vec::new(),
            legal_authenticator: None,
            reference_ids: Vec::new(),
            title: None,
            comments: None,
            uri: None,
            document_availability: None,
            limited_metadata: false,
            extra: Vec::new(),
        }
    }

    /// Reads an ExtrinsicObject. None (with a problem) if it is no document or has no unique id: nothing could be
    /// done with it.
    pub fn decode(object: RegistryObject, mime_type: SmolStr, problems: &mut Problems) -> Option<Self> {
        let mut a = Attributes { object, problems };
        let kind = a.object.object_type.as_deref().and_then(DocumentKind::from_wire);
        let kind = a.parsed("objectType", kind);
        let unique_id = a.unique(scheme::UNIQUE_ID);
        let mut entry = Self::new(a.object.id.clone(), kind?, unique_id?, &mime_type);
        entry.logical_id = a.object.lid.clone().map(ObjectId::from);
        entry.version = a.object.version.as_deref().and_then(version_number);
        entry.home = a.home();
        entry.availability = a.object.status.as_deref().and_then(Availability::from_wire);
        entry.patient_id = a.patient(scheme::PATIENT_ID);
        let source_patient = a.single("sourcePatientId");
        entry.source_patient_id = source_patient.and_then(|text| a.parsed("sourcePatientId", Cx::from_wire(&text)));
        entry.source_patient_info = SourcePatientInfo::from_wire(a.multiple("sourcePatientInfo"));
        let repository = a.single("repositoryUniqueId");
        entry.repository = repository.and_then(|text| a.parsed("repositoryUniqueId", RepositoryId::new(&text).ok()));
        let hash = a.single("hash");
        entry.hash = hash.and_then(|text| a.parsed("hash", sha1_digits(&text)));
        let size = a.single("size");
        entry.size = size.and_then(|text| a.parsed("size", text.parse().ok()));
        entry.creation_time = a.dtm("creationTime");
        entry.service_start = a.dtm("serviceStartTime");
        entry.service_stop = a.dtm("serviceStopTime");
        entry.language = a.single("languageCode");
        entry.class_code = a.code(scheme::CLASS_CODE, "classCode");
        entry.type_code = a.code(scheme::TYPE_CODE, "typeCode");
        entry.format_code = a.code(scheme::FORMAT_CODE, "formatCode");
        entry.facility_type = a.code(scheme::FACILITY_TYPE_CODE, "healthcareFacilityTypeCode");
        entry.practice_setting = a.code(scheme::PRACTICE_SETTING_CODE, "practiceSettingCode");
        entry.confidentiality = a.codes(scheme::CONFIDENTIALITY_CODE, "confidentialityCode");
        entry.event_codes = a.codes(scheme::EVENT_CODE, "eventCodeList");
        entry.authors = a.authors(scheme::AUTHOR);
        entry.legal_authenticator = a.single("legalAuthenticator").and_then(|text| Xcn::from_wire(&text));
        let references = a.multiple(REFERENCE_ID_LIST);
        entry.reference_ids =
            references.iter().filter_map(|text| a.parsed("referenceIdList", ReferenceId::from_wire(text))).collect();
        entry.title = a.object.name.take();
        entry.comments = a.object.description.take();
        entry.uri = joined_uri(a.multiple("URI"));
        let availability = a.single("documentAvailability");
        entry.document_availability =
            availability.and_then(|text| a.parsed("documentAvailability", DocumentAvailability::from_wire(&text)));
        entry.limited_metadata = a.object.is_marked(scheme::LIMITED_METADATA);
        entry.extra = a.object.slots;
        Some(entry)
    }

    /// The ExtrinsicObject.
    pub fn to_item(&self) -> Item {
        let mut object = RegistryObject::new(self.id.clone(), self.kind.as_str());
        object.home = self.home.as_ref().map(|home| home.to_string().into());
        object.lid = self.logical_id.clone().map(SmolStr::from);
        object.status = self.availability.map(|availability| availability.as_str().into());
        object.version = self.version.map(|version| smol_str::format_smolstr!("{version}"));
        object.name = self.title.clone();
        object.description = self.comments.clone();
        self.write_slots(&mut object);
        self.write_classifications(&mut object);
        let patient = self.patient_id.as_ref().map(PatientId::to_cx);
        write_identifier(&mut object, scheme::PATIENT_ID, "XDSDocumentEntry.patientId", patient);
        let unique_id = Some(self.unique_id.to_string());
        write_identifier(&mut object, scheme::UNIQUE_ID, "XDSDocumentEntry.uniqueId", unique_id);
        Item::ExtrinsicObject { object, mime_type: self.mime_type.clone() }
    }

    fn write_slots(&self, object: &mut RegistryObject) {
        object.slot_if("creationTime", self.creation_time.clone());
        object.slot_if("hash", self.hash.clone());
        object.slot_if("languageCode", self.language.clone());
        object.slot_if("legalAuthenticator", self.legal_authenticator.as_ref().map(Xcn::as_str));
        object.slot_if("repositoryUniqueId", self.repository.as_ref().map(RepositoryId::as_str));
        object.slot_if("serviceStartTime", self.service_start.clone());
        object.slot_if("serviceStopTime", self.service_stop.clone());
        object.slot_if("size", self.size.map(|size| size.to_string()));
        object.slot_if("sourcePatientId", self.source_patient_id.as_ref().map(Cx::as_str));
        object.slot_list("sourcePatientInfo", self.source_patient_info.values().to_vec());
        object.slot_if("URI", self.uri.clone());
        object.slot_if("documentAvailability", self.document_availability.map(DocumentAvailability::as_str));
        let references = self.reference_ids.iter().map(|reference| reference.as_str().into()).collect();
        object.slot_list(REFERENCE_ID_LIST, references);
        object.slots.extend(self.extra.iter().cloned());
    }

    fn write_classifications(&self, object: &mut RegistryObject) {
        let to = &mut object.classifications;
        to.extend(self.authors.iter().map(|author| write_author(scheme::AUTHOR, author)));
        for (scheme, code) in [
            (scheme::CLASS_CODE, &self.class_code),
            (scheme::FORMAT_CODE, &self.format_code),
            (scheme::FACILITY_TYPE_CODE, &self.facility_type),
            (scheme::PRACTICE_SETTING_CODE, &self.practice_setting),
            (scheme::TYPE_CODE, &self.type_code),
        ] {
            to.extend(code.iter().map(|code| Classification::of_code(scheme, code)));
        }
        let confidentiality = self.confidentiality.iter();
        to.extend(confidentiality.map(|code| Classification::of_code(scheme::CONFIDENTIALITY_CODE, code)));
        to.extend(self.event_codes.iter().map(|code| Classification::of_code(scheme::EVENT_CODE, code)));
        if self.limited_metadata {
            to.push(Classification::of_node(scheme::LIMITED_METADATA));
        }
    }

    /// Holds the entry to the rules of its transaction.
    pub fn check(&self, problems: &mut Problems) {
        let id = self.id.to_string();
        check(NEEDS, self, &id, problems);
        if self.kind == DocumentKind::OnDemand {
            check(ON_DEMAND_NEEDS, self, &id, problems);
        }
        if let (Some(start), Some(stop)) = (&self.service_start, &self.service_stop)
            && start.earliest() > stop.latest()
        {
            problems.metadata(&id, "serviceStartTime is after serviceStopTime");
        }
        if self.unique_id.as_str().chars().count() > 128 {
            problems.metadata(&id, "uniqueId is longer than 128 characters");
        }
        if [7, 8].into_iter().any(|field| self.source_patient_info.field(field).count() > 1) {
            problems.metadata(&id, "PID-7 and PID-8 of sourcePatientInfo have one value at most");
        }
    }
}

use Need::{O, R, X};

const NEEDS: &[Row<DocumentEntry>] = &[
    Row { attribute: "classCode", present: |e| e.class_code.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "confidentialityCode", present: |e| !e.confidentiality.is_empty(), needs: [R, R, R, O, R, O] },
    Row {
        attribute: "creationTime",
        present: |e| e.creation_time.is_some() || e.kind == DocumentKind::OnDemand,
        needs: [R, R, R, O, O, O],
    },
    Row { attribute: "formatCode", present: |e| e.format_code.is_some(), needs: [R, R, R, O, R, O] },
    Row {
        attribute: "hash",
        present: |e| e.hash.is_some() || e.kind == DocumentKind::OnDemand,
        needs: [O, R, O, O, O, O],
    },
    Row { attribute: "healthcareFacilityTypeCode", present: |e| e.facility_type.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "languageCode", present: |e| e.language.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "limitedMetadata", present: |e| e.limited_metadata, needs: [X, X, X, R, X, O] },
    Row { attribute: "patientId", present: |e| e.patient_id.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "practiceSettingCode", present: |e| e.practice_setting.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "repositoryUniqueId", present: |e| e.repository.is_some(), needs: [O, R, O, O, R, O] },
    Row {
        attribute: "size",
        present: |e| e.size.is_some() || e.kind == DocumentKind::OnDemand,
        needs: [O, R, O, O, O, O],
    },
    Row { attribute: "sourcePatientId", present: |e| e.source_patient_id.is_some(), needs: [R, R, R, O, R, O] },
    Row { attribute: "typeCode", present: |e| e.type_code.is_some(), needs: [R, R, R, O, R, O] },
];

/// There are no bytes yet that could have a date, a hash or a size.
const ON_DEMAND_NEEDS: &[Row<DocumentEntry>] = &[
    Row { attribute: "creationTime", present: |e| e.creation_time.is_some(), needs: [X; 6] },
    Row { attribute: "hash", present: |e| e.hash.is_some(), needs: [X; 6] },
    Row { attribute: "size", present: |e| e.size.is_some(), needs: [X; 6] },
];

/// Upper case digits occur and mean the same.
fn sha1_digits(text: &str) -> Option<SmolStr> {
    (text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_ascii_lowercase().into())
}

/// `1`, and `1.1` as the schema's default writes it.
pub(super) fn version_number(text: &str) -> Option<u32> {
    text.split('.').next()?.trim().parse().ok()
}

/// One value, or the old form of several: `1|http://ho`, `2|st/rest`, to be put together in the order of the numbers.
fn joined_uri(values: Vec<SmolStr>) -> Option<SmolStr> {
    let numbered: Option<Vec<(u32, &str)>> = values
        .iter()
        .map(|value| {
            let (number, part) = value.split_once('|')?;
            Some((number.trim().parse().ok()?, part))
        })
        .collect();
    match numbered {
        Some(mut parts) if !parts.is_empty() => {
            parts.sort_by_key(|(number, _)| *number);
            Some(parts.into_iter().map(|(_, part)| part).collect::<String>().into())
        }
        _ => values.into_iter().next(),
    }
}

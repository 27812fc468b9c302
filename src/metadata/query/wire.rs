//! Query ids and parameter names (ITI TF-2: 3.18.4.1.2.3.7, 3.18.4.1.2.4, 3.51).

use super::syntax::{Builder, Parameters};
use super::{
    ContentFilter, FindDocuments, FindFolders, FindSubmissionSets, GetAll, Query, QueryError, Selector, TimeRange,
};
use crate::ebxml::Slot;
use crate::id::DocumentUniqueId;
use crate::metadata::association::AssociationKind;
use crate::metadata::coding::{Availability, DocumentAvailability, DocumentKind, ObjectId};

const FIND_DOCUMENTS: &str = "urn:uuid:14d4debf-8f97-4251-9a74-a90016b0af0d";
const FIND_SUBMISSION_SETS: &str = "urn:uuid:f26abbcb-ac74-4422-8a30-edb644bbc1a9";
const FIND_FOLDERS: &str = "urn:uuid:958f3006-baad-4929-a4de-ff1114824431";
const GET_ALL: &str = "urn:uuid:10b545ea-725c-446d-9b95-8aeb444eddf3";
const FIND_BY_REFERENCE: &str = "urn:uuid:12941a89-e02e-4be5-967c-ce4bfc8fe492";
const GET_DOCUMENTS: &str = "urn:uuid:5c4f972b-d56b-40ac-a5fc-c8ca9b40b9d4";
const GET_FOLDERS: &str = "urn:uuid:5737b14c-8a1a-4539-b659-e03a34a5e1e4";
const GET_ASSOCIATIONS: &str = "urn:uuid:a7ae438b-4bc2-4642-93e9-be891f7bb155";
const GET_DOCUMENTS_AND_ASSOCIATIONS: &str = "urn:uuid:bab9529a-4a10-40b3-a01f-f68a615d247a";
const GET_SUBMISSION_SETS: &str = "urn:uuid:51224314-5390-4169-9b91-b1980040715a";
const GET_SUBMISSION_SET_AND_CONTENTS: &str = "urn:uuid:e8e3cb2c-e39c-46b9-99e4-c12f57260b83";
const GET_FOLDER_AND_CONTENTS: &str = "urn:uuid:b909a503-523d-4517-8acf-8e5834dfc4c7";
const GET_FOLDERS_FOR_DOCUMENT: &str = "urn:uuid:10cae35a-c7f9-4cf5-b61e-fc3278ffb578";
const GET_RELATED_DOCUMENTS: &str = "urn:uuid:d90e5407-b356-4d91-a89f-873917b4b0e6";
const FIND_DOCUMENTS_MULTIPLE: &str = "urn:uuid:3d1bdb10-39a2-11de-89c2-2f44d94eaa9f";
const FIND_FOLDERS_MULTIPLE: &str = "urn:uuid:50d3f5ac-39a2-11de-a1ca-b366239e58df";

const DOCUMENT_PATIENT: &str = "$XDSDocumentEntryPatientId";
const DOCUMENT_STATUS: &str = "$XDSDocumentEntryStatus";
const DOCUMENT_TYPE: &str = "$XDSDocumentEntryType";
const CLASS_CODE: &str = "$XDSDocumentEntryClassCode";
const TYPE_CODE: &str = "$XDSDocumentEntryTypeCode";
const PRACTICE_SETTING: &str = "$XDSDocumentEntryPracticeSettingCode";
const FACILITY_TYPE: &str = "$XDSDocumentEntryHealthcareFacilityTypeCode";
const EVENT_CODE: &str = "$XDSDocumentEntryEventCodeList";
const FORMAT_CODE: &str = "$XDSDocumentEntryFormatCode";
const CONFIDENTIALITY: &str = "$XDSDocumentEntryConfidentialityCode";
const DOCUMENT_AUTHOR: &str = "$XDSDocumentEntryAuthorPerson";
const CREATION_FROM: &str = "$XDSDocumentEntryCreationTimeFrom";
const CREATION_TO: &str = "$XDSDocumentEntryCreationTimeTo";
const START_FROM: &str = "$XDSDocumentEntryServiceStartTimeFrom";
const START_TO: &str = "$XDSDocumentEntryServiceStartTimeTo";
const STOP_FROM: &str = "$XDSDocumentEntryServiceStopTimeFrom";
const STOP_TO: &str = "$XDSDocumentEntryServiceStopTimeTo";
const AVAILABILITY: &str = "$XDSDocumentEntryDocumentAvailability";
const REFERENCES: &str = "$XDSDocumentEntryReferenceIdList";
const SET_STATUS: &str = "$XDSSubmissionSetStatus";
const FOLDER_STATUS: &str = "$XDSFolderStatus";
const FOLDER_PATIENT: &str = "$XDSFolderPatientId";
const FOLDER_CODE: &str = "$XDSFolderCodeList";

/// The three names under which objects of one kind are selected.
struct Names {
    id: &'static str,
    unique_id: &'static str,
    logical_id: &'static str,
    all: &'static str,
}

const DOCUMENT: Names = Names {
    id: "$XDSDocumentEntryEntryUUID",
    unique_id: "$XDSDocumentEntryUniqueId",
    logical_id: "$XDSDocumentEntryLogicalID",
    all: "$XDSDocumentEntryEntryUUID and $XDSDocumentEntryUniqueId",
};
const FOLDER: Names = Names {
    id: "$XDSFolderEntryUUID",
    unique_id: "$XDSFolderUniqueId",
    logical_id: "$XDSFolderLogicalID",
    all: "$XDSFolderEntryUUID and $XDSFolderUniqueId",
};
const SET: Names = Names {
    id: "$XDSSubmissionSetEntryUUID",
    unique_id: "$XDSSubmissionSetUniqueId",
    logical_id: "$XDSSubmissionSetLogicalID",
    all: "$XDSSubmissionSetEntryUUID and $XDSSubmissionSetUniqueId",
};

impl Query {
    /// The query's id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::FindDocuments(_) => FIND_DOCUMENTS,
            Self::FindDocumentsByReferenceId(..) => FIND_BY_REFERENCE,
            Self::FindDocumentsForMultiplePatients(_) => FIND_DOCUMENTS_MULTIPLE,
            Self::FindSubmissionSets(_) => FIND_SUBMISSION_SETS,
            Self::FindFolders(_) => FIND_FOLDERS,
            Self::FindFoldersForMultiplePatients(_) => FIND_FOLDERS_MULTIPLE,
            Self::GetAll(_) => GET_ALL,
            Self::GetDocuments(_) => GET_DOCUMENTS,
            Self::GetFolders(_) => GET_FOLDERS,
            Self::GetAssociations(_) => GET_ASSOCIATIONS,
            Self::GetDocumentsAndAssociations(_) => GET_DOCUMENTS_AND_ASSOCIATIONS,
            Self::GetSubmissionSets(_) => GET_SUBMISSION_SETS,
            Self::GetSubmissionSetAndContents(..) => GET_SUBMISSION_SET_AND_CONTENTS,
            Self::GetFolderAndContents(..) => GET_FOLDER_AND_CONTENTS,
            Self::GetFoldersForDocument(_) => GET_FOLDERS_FOR_DOCUMENT,
            Self::GetRelatedDocuments { .. } => GET_RELATED_DOCUMENTS,
        }
    }

    /// Reads a query. Parameters that mean nothing here are ignored.
    pub fn from_slots(id: &str, slots: &[Slot]) -> Result<Self, QueryError> {
        let p = Parameters(slots);
        Ok(match id.trim().to_ascii_lowercase().as_str() {
            FIND_DOCUMENTS => Self::FindDocuments(find_documents(&p)?.for_one_patient(&p)?),
            FIND_BY_REFERENCE => {
                let references = p.groups(REFERENCES);
                let find = find_documents(&p)?.for_one_patient(&p)?;
                if references.is_empty() {
                    return Err(QueryError::Missing(REFERENCES));
                }
                Self::FindDocumentsByReferenceId(find, references)
            }
            FIND_DOCUMENTS_MULTIPLE => {
                let find = find_documents(&p)?;
                if find.patients.is_empty()
                    && find.class_codes.is_empty()
                    && find.event_codes.is_empty()
                    && find.facility_types.is_empty()
                {
                    return Err(QueryError::MissingOneOf(
                        "patient id, class code, event code and healthcare facility type code",
                    ));
                }
                Self::FindDocumentsForMultiplePatients(find)
            }
            FIND_SUBMISSION_SETS => Self::FindSubmissionSets(FindSubmissionSets {
                patient: p.patient("$XDSSubmissionSetPatientId")?,
                statuses: p.required(SET_STATUS, Availability::from_wire)?,
                sources: p.list("$XDSSubmissionSetSourceId"),
                submission_time: TimeRange {
                    from: p.time("$XDSSubmissionSetSubmissionTimeFrom", "")?,
                    to: p.time("$XDSSubmissionSetSubmissionTimeTo", "")?,
                },
                author: p.single("$XDSSubmissionSetAuthorPerson")?,
                content_types: p.codes("$XDSSubmissionSetContentType"),
            }),
            FIND_FOLDERS => {
                p.patient(FOLDER_PATIENT)?;
                Self::FindFolders(find_folders(&p)?)
            }
            FIND_FOLDERS_MULTIPLE => {
                let find = find_folders(&p)?;
                if find.patients.is_empty() && find.codes.is_empty() {
                    return Err(QueryError::MissingOneOf("patient id and folder code"));
                }
                Self::FindFoldersForMultiplePatients(find)
            }
            GET_ALL => Self::GetAll(GetAll {
                patient: p.patient("$patientId")?,
                document_statuses: p.required(DOCUMENT_STATUS, Availability::from_wire)?,
                set_statuses: p.required(SET_STATUS, Availability::from_wire)?,
                folder_statuses: p.required(FOLDER_STATUS, Availability::from_wire)?,
                contents: contents(&p),
            }),
            GET_DOCUMENTS => Self::GetDocuments(selector(&p, &DOCUMENT)?),
            GET_FOLDERS => Self::GetFolders(selector(&p, &FOLDER)?),
            GET_ASSOCIATIONS => Self::GetAssociations(uuids(&p)?),
            GET_DOCUMENTS_AND_ASSOCIATIONS => Self::GetDocumentsAndAssociations(selector(&p, &DOCUMENT)?),
            GET_SUBMISSION_SETS => Self::GetSubmissionSets(uuids(&p)?),
            GET_SUBMISSION_SET_AND_CONTENTS => {
                Self::GetSubmissionSetAndContents(only(selector(&p, &SET)?, &SET)?, contents(&p))
            }
            GET_FOLDER_AND_CONTENTS => Self::GetFolderAndContents(only(selector(&p, &FOLDER)?, &FOLDER)?, contents(&p)),
            GET_FOLDERS_FOR_DOCUMENT => Self::GetFoldersForDocument(only(selector(&p, &DOCUMENT)?, &DOCUMENT)?),
            GET_RELATED_DOCUMENTS => Self::GetRelatedDocuments {
                document: only(selector(&p, &DOCUMENT)?, &DOCUMENT)?,
                associations: p.required("$AssociationTypes", |text| Some(AssociationKind::from_wire(text)))?,
                kinds: p.known(DOCUMENT_TYPE, DocumentKind::from_wire),
            },
            _ => return Err(QueryError::UnknownQuery),
        })
    }

    /// The parameters.
    pub fn to_slots(&self) -> Vec<Slot> {
        let mut b = Builder::default();
        match self {
            Self::FindDocuments(find) => {
                b.patient(DOCUMENT_PATIENT, &find.patients);
                b.find_documents(find);
            }
            Self::FindDocumentsByReferenceId(find, references) => {
                b.patient(DOCUMENT_PATIENT, &find.patients);
                b.find_documents(find);
                b.groups(REFERENCES, references);
            }
            Self::FindDocumentsForMultiplePatients(find) => {
                b.list(DOCUMENT_PATIENT, find.patients.iter().map(|patient| patient.to_cx()));
                b.find_documents(find);
            }
            Self::FindSubmissionSets(find) => {
                b.text("$XDSSubmissionSetPatientId", &find.patient.to_cx());
                b.statuses(SET_STATUS, &find.statuses);
                b.list("$XDSSubmissionSetSourceId", &find.sources);
                b.number("$XDSSubmissionSetSubmissionTimeFrom", find.submission_time.from.as_ref());
                b.number("$XDSSubmissionSetSubmissionTimeTo", find.submission_time.to.as_ref());
                if let Some(author) = &find.author {
                    b.text("$XDSSubmissionSetAuthorPerson", author);
                }
                b.codes("$XDSSubmissionSetContentType", &find.content_types);
            }
            Self::FindFolders(find) => {
                b.patient(FOLDER_PATIENT, &find.patients);
                b.find_folders(find);
            }
            Self::FindFoldersForMultiplePatients(find) => {
                b.list(FOLDER_PATIENT, find.patients.iter().map(|patient| patient.to_cx()));
                b.find_folders(find);
            }
            Self::GetAll(all) => {
                b.text("$patientId", &all.patient.to_cx());
                b.statuses(DOCUMENT_STATUS, &all.document_statuses);
                b.statuses(SET_STATUS, &all.set_statuses);
                b.statuses(FOLDER_STATUS, &all.folder_statuses);
                b.contents(&all.contents);
            }
            Self::GetDocuments(selector) | Self::GetDocumentsAndAssociations(selector) => {
                b.selector(&DOCUMENT, selector, false);
            }
            Self::GetFolders(selector) => b.selector(&FOLDER, selector, false),
            Self::GetAssociations(ids) | Self::GetSubmissionSets(ids) => {
                b.list("$uuid", ids.iter().map(ObjectId::to_string));
            }
            Self::GetSubmissionSetAndContents(selector, filter) => {
                b.selector(&SET, selector, true);
                b.contents(filter);
            }
            Self::GetFolderAndContents(selector, filter) => {
                b.selector(&FOLDER, selector, true);
                b.contents(filter);
            }
            Self::GetFoldersForDocument(selector) => b.selector(&DOCUMENT, selector, true),
            Self::GetRelatedDocuments { document, associations, kinds } => {
                b.selector(&DOCUMENT, document, true);
                b.list("$AssociationTypes", associations.iter().map(AssociationKind::as_str));
                b.list(DOCUMENT_TYPE, kinds.iter().map(|kind| kind.as_str()));
            }
        }
        b.0
    }
}

impl FindDocuments {
    fn for_one_patient(self, p: &Parameters<'_>) -> Result<Self, QueryError> {
        Ok(Self { patients: vec![p.patient(DOCUMENT_PATIENT)?], ..self })
    }
}

fn find_documents(p: &Parameters<'_>) -> Result<FindDocuments, QueryError> {
    Ok(FindDocuments {
        patients: p.patients(DOCUMENT_PATIENT)?,
        statuses: p.required(DOCUMENT_STATUS, Availability::from_wire)?,
        class_codes: p.codes(CLASS_CODE),
        type_codes: p.codes(TYPE_CODE),
        practice_settings: p.codes(PRACTICE_SETTING),
        facility_types: p.codes(FACILITY_TYPE),
        event_codes: p.codes(EVENT_CODE),
        contents: contents(p),
        authors: p.list(DOCUMENT_AUTHOR),
        creation_time: TimeRange { from: p.time(CREATION_FROM, "")?, to: p.time(CREATION_TO, "")? },
        service_start: TimeRange {
            from: p.time(START_FROM, "$XDSDocumentEntryServiceStartFrom")?,
            to: p.time(START_TO, "$XDSDocumentEntryServiceStartTo")?,
        },
        service_stop: TimeRange {
            from: p.time(STOP_FROM, "$XDSDocumentEntryServiceEndFrom")?,
            to: p.time(STOP_TO, "$XDSDocumentEntryServiceEndTo")?,
        },
        availability: p.known(AVAILABILITY, DocumentAvailability::from_wire),
    })
}

fn find_folders(p: &Parameters<'_>) -> Result<FindFolders, QueryError> {
    Ok(FindFolders {
        patients: p.patients(FOLDER_PATIENT)?,
        statuses: p.required(FOLDER_STATUS, Availability::from_wire)?,
        last_update: TimeRange {
            from: p.time("$XDSFolderLastUpdateTimeFrom", "")?,
            to: p.time("$XDSFolderLastUpdateTimeTo", "")?,
        },
        codes: p.codes(FOLDER_CODE),
    })
}

fn contents(p: &Parameters<'_>) -> ContentFilter {
    ContentFilter {
        format_codes: p.codes(FORMAT_CODE),
        confidentiality: p.codes(CONFIDENTIALITY),
        kinds: p.known(DOCUMENT_TYPE, DocumentKind::from_wire),
    }
}

fn uuids(p: &Parameters<'_>) -> Result<Vec<ObjectId>, QueryError> {
    p.required("$uuid", |text| Some(ObjectId::from(text)))
}

fn selector(p: &Parameters<'_>, names: &Names) -> Result<Selector, QueryError> {
    let ids = |name| p.list(name).into_iter().map(ObjectId::from).collect::<Vec<_>>();
    let by_id = ids(names.id);
    let by_logical_id = ids(names.logical_id);
    let by_unique_id = p.list(names.unique_id);
    match (by_id.is_empty(), by_unique_id.is_empty(), by_logical_id.is_empty()) {
        (false, true, true) => Ok(Selector::Ids(by_id)),
        // A text that cannot be a unique id matches nothing, which is what leaving it out does.
        (true, false, true) => {
            Ok(Selector::UniqueIds(by_unique_id.iter().filter_map(|text| DocumentUniqueId::new(text).ok()).collect()))
        }
        (true, true, false) => Ok(Selector::LogicalIds(by_logical_id)),
        (true, true, true) => Err(QueryError::MissingOneOf(names.all)),
        _ => Err(QueryError::Exclusive(names.all)),
    }
}

/// For queries about one object.
fn only(selector: Selector, names: &Names) -> Result<Selector, QueryError> {
    match &selector {
        Selector::Ids(ids) if ids.len() > 1 => Err(QueryError::NotSingle(names.id)),
        Selector::UniqueIds(ids) if ids.len() > 1 => Err(QueryError::NotSingle(names.unique_id)),
        Selector::Ids(_) | Selector::UniqueIds(_) | Selector::LogicalIds(_) => Ok(selector),
    }
}

impl Builder {
    fn patient(&mut self, name: &'static str, patients: &[crate::id::PatientId]) {
        for patient in patients.iter().take(1) {
            self.text(name, &patient.to_cx());
        }
    }

    fn statuses(&mut self, name: &'static str, statuses: &[Availability]) {
        self.list(name, statuses.iter().map(|status| status.as_str()));
    }

    fn contents(&mut self, filter: &ContentFilter) {
        self.codes(FORMAT_CODE, &filter.format_codes);
        self.codes(CONFIDENTIALITY, &filter.confidentiality);
        self.list(DOCUMENT_TYPE, filter.kinds.iter().map(|kind| kind.as_str()));
    }

    fn find_documents(&mut self, find: &FindDocuments) {
        self.statuses(DOCUMENT_STATUS, &find.statuses);
        self.codes(CLASS_CODE, &find.class_codes);
        self.codes(TYPE_CODE, &find.type_codes);
        self.codes(PRACTICE_SETTING, &find.practice_settings);
        self.codes(FACILITY_TYPE, &find.facility_types);
        self.codes(EVENT_CODE, &find.event_codes);
        self.contents(&find.contents);
        self.list(DOCUMENT_AUTHOR, &find.authors);
        self.number(CREATION_FROM, find.creation_time.from.as_ref());
        self.number(CREATION_TO, find.creation_time.to.as_ref());
        self.number(START_FROM, find.service_start.from.as_ref());
        self.number(START_TO, find.service_start.to.as_ref());
        self.number(STOP_FROM, find.service_stop.from.as_ref());
        self.number(STOP_TO, find.service_stop.to.as_ref());
        self.list(AVAILABILITY, find.availability.iter().map(|availability| availability.as_str()));
    }

    fn find_folders(&mut self, find: &FindFolders) {
        self.statuses(FOLDER_STATUS, &find.statuses);
        self.number("$XDSFolderLastUpdateTimeFrom", find.last_update.from.as_ref());
        self.number("$XDSFolderLastUpdateTimeTo", find.last_update.to.as_ref());
        self.codes(FOLDER_CODE, &find.codes);
    }

    fn selector(&mut self, names: &Names, selector: &Selector, single: bool) {
        let (name, values): (_, Vec<String>) = match selector {
            Selector::Ids(ids) => (names.id, ids.iter().map(ObjectId::to_string).collect()),
            Selector::UniqueIds(ids) => (names.unique_id, ids.iter().map(|id| id.to_string()).collect()),
            Selector::LogicalIds(ids) => (names.logical_id, ids.iter().map(ObjectId::to_string).collect()),
        };
        match (single, values.first()) {
            (true, Some(value)) => self.text(name, value),
            _ => self.list(name, values),
        }
    }
}

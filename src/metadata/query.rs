//! Stored queries: what they ask, in types, and whether an object is an answer (ITI TF-2: 3.18.4.1.2).
//!
//! The form of the parameters on the wire is in `wire` and `syntax`. The matching here is pure; which objects are
//! looked at is for the store to decide.

mod syntax;
mod wire;

use std::fmt;

use smol_str::SmolStr;

use super::association::AssociationKind;
use super::coding::{Availability, DocumentAvailability, DocumentKind, ObjectId, ReferenceId};
use super::document_entry::DocumentEntry;
use super::folder::Folder;
use super::submission_set::SubmissionSet;
use crate::ebxml::{ErrorCode, Slot};
use crate::id::{Code, DocumentUniqueId, Dtm, PatientId};

/// A stored query with its parameters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Query {
    /// Documents of a patient.
    FindDocuments(FindDocuments),
    /// Documents of a patient that carry references. Each inner list is an OR with SQL patterns, all must match.
    FindDocumentsByReferenceId(FindDocuments, AllOf<SmolStr>),
    /// Documents of patients, or of everybody with certain codes (ITI-51).
    FindDocumentsForMultiplePatients(FindDocuments),
    /// Submissions of a patient.
    FindSubmissionSets(FindSubmissionSets),
    /// Folders of a patient.
    FindFolders(FindFolders),
    /// Folders of patients (ITI-51).
    FindFoldersForMultiplePatients(FindFolders),
    /// Everything of a patient.
    GetAll(GetAll),
    /// These documents.
    GetDocuments(Selector),
    /// These folders.
    GetFolders(Selector),
    /// Associations of these objects.
    GetAssociations(Vec<ObjectId>),
    /// These documents and their associations.
    GetDocumentsAndAssociations(Selector),
    /// The submissions that hold these documents or folders.
    GetSubmissionSets(Vec<ObjectId>),
    /// A submission with all it holds.
    GetSubmissionSetAndContents(Selector, ContentFilter),
    /// A folder with its documents.
    GetFolderAndContents(Selector, ContentFilter),
    /// The folders that hold a document.
    GetFoldersForDocument(Selector),
    /// The documents associated with a document, and the associations.
    GetRelatedDocuments {
        /// The document.
        document: Selector,
        /// The types of association to follow.
        associations: Vec<AssociationKind>,
        /// `$XDSDocumentEntryType`
        kinds: Vec<DocumentKind>,
    },
}

/// Which objects: by one kind of id. Nothing matches an empty list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Selector {
    /// entryUUID
    Ids(Vec<ObjectId>),
    /// uniqueId
    UniqueIds(Vec<DocumentUniqueId>),
    /// logicalID (metadata update)
    LogicalIds(Vec<ObjectId>),
}

/// Lists of which each must have a match. Empty: no condition.
pub type AllOf<T> = Vec<Vec<T>>;

/// FindDocuments and its relatives.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FindDocuments {
    /// `$XDSDocumentEntryPatientId`: one, or any number for multiple patients.
    pub patients: Vec<PatientId>,
    /// `$XDSDocumentEntryStatus`
    pub statuses: Vec<Availability>,
    /// `$XDSDocumentEntryClassCode`
    pub class_codes: AllOf<WantedCode>,
    /// `$XDSDocumentEntryTypeCode`
    pub type_codes: AllOf<WantedCode>,
    /// `$XDSDocumentEntryPracticeSettingCode`
    pub practice_settings: AllOf<WantedCode>,
    /// `$XDSDocumentEntryHealthcareFacilityTypeCode`
    pub facility_types: AllOf<WantedCode>,
    /// `$XDSDocumentEntryEventCodeList`
    pub event_codes: AllOf<WantedCode>,
    /// `$XDSDocumentEntryFormatCode`, `$XDSDocumentEntryConfidentialityCode`, `$XDSDocumentEntryType`
    pub contents: ContentFilter,
    /// `$XDSDocumentEntryAuthorPerson`, SQL patterns.
    pub authors: Vec<SmolStr>,
    /// `$XDSDocumentEntryCreationTimeFrom` and `To`
    pub creation_time: TimeRange,
    /// `$XDSDocumentEntryServiceStartTimeFrom` and `To`
    pub service_start: TimeRange,
    /// `$XDSDocumentEntryServiceStopTimeFrom` and `To`
    pub service_stop: TimeRange,
    /// `$XDSDocumentEntryDocumentAvailability`
    pub availability: Vec<DocumentAvailability>,
}

/// The conditions that contents of submissions and folders can have too.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ContentFilter {
    /// `$XDSDocumentEntryFormatCode`
    pub format_codes: AllOf<WantedCode>,
    /// `$XDSDocumentEntryConfidentialityCode`
    pub confidentiality: AllOf<WantedCode>,
    /// `$XDSDocumentEntryType`. Empty: stable documents only, by rule.
    pub kinds: Vec<DocumentKind>,
}

/// FindSubmissionSets.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FindSubmissionSets {
    /// `$XDSSubmissionSetPatientId`
    pub patient: PatientId,
    /// `$XDSSubmissionSetStatus`
    pub statuses: Vec<Availability>,
    /// `$XDSSubmissionSetSourceId`
    pub sources: Vec<SmolStr>,
    /// `$XDSSubmissionSetSubmissionTimeFrom` and `To`
    pub submission_time: TimeRange,
    /// `$XDSSubmissionSetAuthorPerson`, an SQL pattern.
    pub author: Option<SmolStr>,
    /// `$XDSSubmissionSetContentType`
    pub content_types: AllOf<WantedCode>,
}

/// FindFolders and its relative.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FindFolders {
    /// `$XDSFolderPatientId`
    pub patients: Vec<PatientId>,
    /// `$XDSFolderStatus`
    pub statuses: Vec<Availability>,
    /// `$XDSFolderLastUpdateTimeFrom` and `To`
    pub last_update: TimeRange,
    /// `$XDSFolderCodeList`
    pub codes: AllOf<WantedCode>,
}

/// GetAll.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GetAll {
    /// `$patientId`
    pub patient: PatientId,
    /// `$XDSDocumentEntryStatus`
    pub document_statuses: Vec<Availability>,
    /// `$XDSSubmissionSetStatus`
    pub set_statuses: Vec<Availability>,
    /// `$XDSFolderStatus`
    pub folder_statuses: Vec<Availability>,
    /// Conditions for the documents.
    pub contents: ContentFilter,
}

/// A code in a query, `code^^scheme`. Without a scheme it matches that code of any scheme.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WantedCode {
    /// The code.
    pub code: SmolStr,
    /// Its scheme, if told.
    pub scheme: Option<SmolStr>,
}

/// From and to, both inclusive, each as precise as it was told.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct TimeRange {
    /// Not before.
    pub from: Option<Dtm>,
    /// Not after.
    pub to: Option<Dtm>,
}

impl fmt::Debug for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bound: &Option<Dtm>| bound.as_ref().map_or("", |dtm| dtm.as_str()).to_owned();
        write!(f, "{}..={}", text(&self.from), text(&self.to))
    }
}

/// Why a stored query was refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// Not one of the queries.
    #[error("the stored query is not known here")]
    UnknownQuery,
    /// Neither ObjectRef nor LeafClass.
    #[error("the return type is neither ObjectRef nor LeafClass")]
    ReturnType,
    /// A required parameter is absent.
    #[error("the parameter {0} is missing")]
    Missing(&'static str),
    /// None of several parameters of which one is required.
    #[error("one of {0} is required")]
    MissingOneOf(&'static str),
    /// Two parameters of which only one may be there.
    #[error("only one of {0} may be given")]
    Exclusive(&'static str),
    /// More than one value.
    #[error("the parameter {0} has more than one value")]
    NotSingle(&'static str),
    /// Only values that mean nothing here.
    #[error("the parameter {0} has no usable value")]
    NoUsableValue(&'static str),
    /// Not a date, not a number.
    #[error("the parameter {0} cannot be read")]
    Unreadable(&'static str),
    /// Not an identifier of any domain.
    #[error("the patient id cannot be read")]
    UnreadablePatientId,
}

impl QueryError {
    /// `errorCode` (ITI TF-2: 3.18.4.1.3).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownQuery => ErrorCode::XdsUnknownStoredQuery,
            Self::Missing(_) | Self::MissingOneOf(_) => ErrorCode::XdsStoredQueryMissingParam,
            Self::Exclusive(_) | Self::NotSingle(_) | Self::NoUsableValue(_) => ErrorCode::XdsStoredQueryParamNumber,
            Self::UnreadablePatientId => ErrorCode::XdsUnknownPatientId,
            Self::ReturnType | Self::Unreadable(_) => ErrorCode::XdsRegistryError,
        }
    }
}

impl Query {
    /// The patients that the query names. A query without one needs a home community in XCA.
    pub fn patients(&self) -> &[PatientId] {
        match self {
            Self::FindDocuments(find)
            | Self::FindDocumentsByReferenceId(find, _)
            | Self::FindDocumentsForMultiplePatients(find) => &find.patients,
            Self::FindFolders(find) | Self::FindFoldersForMultiplePatients(find) => &find.patients,
            Self::FindSubmissionSets(find) => std::slice::from_ref(&find.patient),
            Self::GetAll(all) => std::slice::from_ref(&all.patient),
            Self::GetDocuments(_)
            | Self::GetFolders(_)
            | Self::GetAssociations(_)
            | Self::GetDocumentsAndAssociations(_)
            | Self::GetSubmissionSets(_)
            | Self::GetSubmissionSetAndContents(..)
            | Self::GetFolderAndContents(..)
            | Self::GetFoldersForDocument(_)
            | Self::GetRelatedDocuments { .. } => &[],
        }
    }

    /// Whether this is a query of ITI-51, which may be about everybody.
    pub fn is_multi_patient(&self) -> bool {
        matches!(self, Self::FindDocumentsForMultiplePatients(_) | Self::FindFoldersForMultiplePatients(_))
    }

    /// A query of ITI-51 for these patients; others stay as they are.
    pub fn for_patients(mut self, patients: Vec<PatientId>) -> Self {
        match &mut self {
            Self::FindDocumentsForMultiplePatients(find) => find.patients = patients,
            Self::FindFoldersForMultiplePatients(find) => find.patients = patients,
            _ => {}
        }
        self
    }

    /// The same query for another id of the patient: each community is asked with the id that is valid there.
    /// Queries without a patient and queries for several stay as they are.
    pub fn for_patient(mut self, patient: &PatientId) -> Self {
        match &mut self {
            Self::FindDocuments(find) | Self::FindDocumentsByReferenceId(find, _) => {
                find.patients = vec![patient.clone()];
            }
            Self::FindFolders(find) => find.patients = vec![patient.clone()],
            Self::FindSubmissionSets(find) => find.patient = patient.clone(),
            Self::GetAll(all) => all.patient = patient.clone(),
            Self::FindDocumentsForMultiplePatients(_)
            | Self::FindFoldersForMultiplePatients(_)
            | Self::GetDocuments(_)
            | Self::GetFolders(_)
            | Self::GetAssociations(_)
            | Self::GetDocumentsAndAssociations(_)
            | Self::GetSubmissionSets(_)
            | Self::GetSubmissionSetAndContents(..)
            | Self::GetFolderAndContents(..)
            | Self::GetFoldersForDocument(_)
            | Self::GetRelatedDocuments { .. } => {}
        }
        self
    }
}

impl FindDocuments {
    /// Whether an entry meets all conditions.
    pub fn matches(&self, entry: &DocumentEntry) -> bool {
        let on_demand = entry.kind == DocumentKind::OnDemand;
        (self.patients.is_empty() || entry.patient_id.as_ref().is_some_and(|patient| self.patients.contains(patient)))
            && has_status(&self.statuses, entry.availability)
            && one(&self.class_codes, &entry.class_code)
            && one(&self.type_codes, &entry.type_code)
            && one(&self.practice_settings, &entry.practice_setting)
            && one(&self.facility_types, &entry.facility_type)
            && any(&self.event_codes, &entry.event_codes)
            && self.contents.matches(entry)
            && self.matches_author(entry)
            // An on-demand entry has no creation time, so the condition does not apply to it.
            && (on_demand || self.creation_time.contains(entry.creation_time.as_ref()))
            && self.service_start.contains(entry.service_start.as_ref())
            && self.service_stop.contains(entry.service_stop.as_ref())
            && (self.availability.is_empty()
                || self.availability.contains(&entry.document_availability.unwrap_or(DocumentAvailability::Online)))
    }

    fn matches_author(&self, entry: &DocumentEntry) -> bool {
        let people = || entry.authors.iter().filter_map(|author| author.person.as_ref());
        self.authors.is_empty()
            || self.authors.iter().any(|pattern| people().any(|person| like(pattern, person.as_str())))
    }
}

impl ContentFilter {
    /// Whether an entry meets the conditions.
    pub fn matches(&self, entry: &DocumentEntry) -> bool {
        wants_kind(&self.kinds, entry.kind)
            && one(&self.format_codes, &entry.format_code)
            && any(&self.confidentiality, &entry.confidentiality)
    }
}

impl FindSubmissionSets {
    /// Whether a set meets all conditions.
    pub fn matches(&self, set: &SubmissionSet) -> bool {
        let source = set.source_id.as_deref().unwrap_or_default();
        let people = || set.authors.iter().filter_map(|author| author.person.as_ref());
        set.patient_id.as_ref() == Some(&self.patient)
            && has_status(&self.statuses, set.availability)
            && (self.sources.is_empty() || self.sources.iter().any(|wanted| wanted == source))
            && self.submission_time.contains(set.submission_time.as_ref())
            && self.author.as_ref().is_none_or(|pattern| people().any(|person| like(pattern, person.as_str())))
            && one(&self.content_types, &set.content_type)
    }
}

impl FindFolders {
    /// Whether a folder meets all conditions.
    pub fn matches(&self, folder: &Folder) -> bool {
        (self.patients.is_empty() || folder.patient_id.as_ref().is_some_and(|patient| self.patients.contains(patient)))
            && has_status(&self.statuses, folder.availability)
            && self.last_update.contains(folder.last_update.as_ref())
            && any(&self.codes, &folder.codes)
    }
}

impl WantedCode {
    /// A code of a scheme.
    pub fn new(code: &str, scheme: &str) -> Self {
        Self { code: code.into(), scheme: Some(scheme.into()).filter(|scheme: &SmolStr| !scheme.is_empty()) }
    }

    fn is(&self, code: &Code) -> bool {
        self.code == code.code && self.scheme.as_ref().is_none_or(|scheme| *scheme == code.scheme)
    }
}

impl TimeRange {
    /// No condition.
    pub fn is_empty(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// Whether a time can be in the range. A value of less precision than the bounds is in it if a part of its span
    /// is, so nothing that may be relevant is missed. No value is in no range.
    pub fn contains(&self, value: Option<&Dtm>) -> bool {
        match value {
            None => self.is_empty(),
            Some(value) => {
                self.from.as_ref().is_none_or(|from| value.latest() >= from.earliest())
                    && self.to.as_ref().is_none_or(|to| value.earliest() <= to.latest())
            }
        }
    }
}

/// Whether references meet the condition of FindDocumentsByReferenceId.
pub fn has_references(wanted: &AllOf<SmolStr>, references: &[ReferenceId]) -> bool {
    let found = |pattern: &SmolStr| references.iter().any(|reference| like(pattern, reference.as_str()));
    wanted.iter().all(|patterns| patterns.iter().any(found))
}

/// Whether `$XDSDocumentEntryType` asks for this kind of document.
pub fn wants_kind(kinds: &[DocumentKind], kind: DocumentKind) -> bool {
    if kinds.is_empty() { kind == DocumentKind::Stable } else { kinds.contains(&kind) }
}

/// Whether a status is asked for. What was never given a status is approved.
pub fn has_status(statuses: &[Availability], status: Option<Availability>) -> bool {
    statuses.contains(&status.unwrap_or(Availability::Approved))
}

/// The values of a parameter that is no part of the query itself.
pub fn texts(slots: &[Slot], name: &str) -> Vec<SmolStr> {
    syntax::Parameters(slots).list(name)
}

/// A parameter that is no part of the query itself, if it has values.
pub fn list_slot(name: &'static str, values: impl IntoIterator<Item = impl AsRef<str>>) -> Vec<Slot> {
    let mut builder = syntax::Builder::default();
    builder.list(name, values);
    builder.0
}

fn any(wanted: &AllOf<WantedCode>, codes: &[Code]) -> bool {
    wanted.iter().all(|group| group.iter().any(|wanted| codes.iter().any(|code| wanted.is(code))))
}

fn one(wanted: &AllOf<WantedCode>, code: &Option<Code>) -> bool {
    any(wanted, code.as_slice())
}

/// SQL LIKE: `%` stands for any text, `_` for a character; letters match in either case.
fn like(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.to_lowercase().chars().collect();
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                retry = Some((p + 1, t));
                p += 1;
            }
            Some(&c) if c == '_' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match retry {
                Some((after, from)) => {
                    retry = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == '%')
}

#[cfg(test)]
mod tests;

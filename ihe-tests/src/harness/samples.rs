//! Requests of the tests: documents to provide, documents to ask for, patients to look for.

use causeway::hl7v3::datatype::Ii;
use causeway::hl7v3::wrapper::{Device, Wrapper};
use causeway::id::{
    Clock, Code, Demographics, DocumentUniqueId, HomeCommunityId, Oid, PatientId, RepositoryId, Timestamp, TraceId,
};
use causeway::metadata::coding::Availability;
use causeway::metadata::query::{FindDocuments, Query};
use causeway::metadata::{
    Association, AssociationKind, Cx, DocumentEntry, DocumentKind, Membership, Submission, SubmissionSet,
};
use causeway::xcpd::discovery;
use causeway::xds::provide::{Content, ProvidedDocument, Request};
use causeway::xds::{register, retrieve};
use causeway::{xca, xds};

/// A patient identifier from CX.
pub fn patient(cx: &str) -> PatientId {
    PatientId::from_cx(cx).unwrap()
}

/// An OID that nobody else uses.
pub fn fresh_oid() -> String {
    // A trace is a UUID, and each UUID is an OID under 2.25.
    let hexadecimal: String = TraceId::new().to_string().chars().filter(char::is_ascii_hexdigit).collect();
    format!("2.25.{}", u128::from_str_radix(&hexadecimal, 16).unwrap())
}

/// A document to provide.
#[derive(Clone)]
pub struct Document {
    /// Its unique id.
    pub unique_id: String,
    /// Its media type.
    pub media_type: &'static str,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Document {
    /// A document with an id of its own.
    pub fn new(media_type: &'static str, content: &[u8]) -> Self {
        Self { unique_id: fresh_oid(), media_type, content: content.to_vec() }
    }
}

/// A submission of documents for a patient: entries `document0`, `document1`, …
pub fn submission(patient: &PatientId, documents: &[Document]) -> Submission {
    let now = Clock::system().now();
    let code = Code::new("34133-9", "2.16.840.1.113883.6.1", "Summary of episode note");
    let id: Oid = fresh_oid().parse().unwrap();
    let mut set = SubmissionSet::new("set", id.into());
    set.patient_id = Some(patient.clone());
    set.source_id = Some("2.999.77".into());
    set.submission_time = now.to_dtm().parse().ok();
    set.content_type = Some(code.clone());
    let entries: Vec<_> = documents.iter().enumerate().map(|(at, one)| entry(at, one, patient, &code, now)).collect();
    let associations = entries.iter().enumerate().map(|(at, entry)| {
        let name = format!("member{at}");
        let kind = AssociationKind::HasMember;
        let mut member = Association::new(name.as_str(), kind, set.id.clone(), entry.id.clone());
        member.membership = Some(Membership::Original);
        member
    });
    let associations = associations.collect();
    Submission { set, entries, folders: Vec::new(), associations }
}

fn entry(at: usize, document: &Document, patient: &PatientId, code: &Code, now: Timestamp) -> DocumentEntry {
    let unique_id = DocumentUniqueId::new(&document.unique_id).unwrap();
    let mut entry =
        DocumentEntry::new(format!("document{at}").as_str(), DocumentKind::Stable, unique_id, document.media_type);
    entry.patient_id = Some(patient.clone());
    entry.source_patient_id = Cx::from_wire(&patient.to_cx());
    entry.title = Some(format!("Document {at}").into());
    entry.type_code = Some(code.clone());
    entry.class_code = Some(code.clone());
    entry.format_code = Some(Code::new("urn:ihe:iti:xds-sd:text:2008", "1.3.6.1.4.1.19376.1.2.3", "Text"));
    entry.confidentiality = vec![Code::new("N", "2.16.840.1.113883.5.25", "Normal")];
    entry.facility_type = Some(Code::new("394777002", "2.16.840.1.113883.6.96", "Health encounter site"));
    entry.practice_setting = Some(Code::new("394802001", "2.16.840.1.113883.6.96", "General medicine"));
    entry.language = Some("en-US".into());
    entry.creation_time = now.to_dtm().parse().ok();
    entry
}

/// The body of ITI-41, each document attached under the id of its entry.
pub fn provide(submission: Submission) -> String {
    let documents = submission
        .entries
        .iter()
        .map(|entry| ProvidedDocument { id: entry.id.clone(), content: Content::Attached(entry.id.to_string()) })
        .collect();
    Request { registration: register::Request { submission, home: None }, documents }.encode().xml
}

/// The attachments of documents, in the order of their entries.
pub fn attachments(documents: &[Document]) -> Vec<super::client::Attachment> {
    let attachment = |(at, one): (usize, &Document)| (format!("document{at}"), one.media_type, one.content.clone());
    documents.iter().enumerate().map(attachment).collect()
}

/// The body of ITI-38 for the approved documents of a patient.
pub fn find_documents(patient: PatientId, home: Option<&str>) -> xca::query::Request {
    let find =
        FindDocuments { patients: vec![patient], statuses: vec![Availability::Approved], ..FindDocuments::default() };
    let home = home.map(|home| home.parse().unwrap());
    xca::query::Request { home, ..xds::stored_query::Request::new(Query::FindDocuments(find)) }
}

/// The body of ITI-39 for documents: home, repository, unique id.
pub fn retrieve(documents: &[(Option<&str>, &str, &str)]) -> retrieve::Request {
    let document = |&(home, repository, document): &(Option<&str>, &str, &str)| retrieve::DocumentId {
        home: home.map(|home| home.parse().unwrap()),
        repository: RepositoryId::new(repository).unwrap(),
        document: DocumentUniqueId::new(document).unwrap(),
    };
    retrieve::Request { documents: documents.iter().map(document).collect() }
}

/// A discovery request of the hospital for a community.
pub fn discovery(receiver: &str, demographics: Demographics, ids: Vec<PatientId>) -> discovery::Request {
    let device = |home: &str| Device::gateway(&home.parse::<HomeCommunityId>().unwrap());
    let id = || Ii::new("2.999.1.1", &TraceId::new().to_string());
    let wrapper = Wrapper::new(id(), Clock::system().now(), device("urn:oid:2.999.1.1"), device(receiver));
    let parameters = discovery::Parameters { demographics, ids, tells_birth: true, ..discovery::Parameters::default() };
    discovery::Request::new(wrapper, id(), parameters)
}

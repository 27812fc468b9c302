//! Document Recipient (MHD 1:33.1.1.2): takes documents with their metadata into the repository here, as an XDS repository
//! takes them by ITI-41 (the XDS on FHIR option). Everything in a Bundle is kept, or nothing.
//!
//! Whose the documents are is decided by who is known here: by the reference to a Patient of this server, the identifier of
//! a logical reference, or the Patient in the Bundle. All that is told has to mean the same person.

use std::sync::Arc;

use serde_json::Value;
use smol_str::{SmolStr, format_smolstr};

use super::provide::{Document, Provide};
use super::responder;
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::ebxml::ErrorCode;
use crate::fhir::outcome::Refusal;
use crate::fhir::person;
use crate::fhir::resource::Reference;
use crate::gateway::Gateway;
use crate::id::{PatientId, TraceId, Transaction as Iti};
use crate::metadata::{ObjectId, Submission};
use crate::pipeline::fhir::{self, Fhir, Message};
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::storage::engine::StoreError;
use crate::storage::files::{FileError, Stored};
use crate::storage::identities::{Person, Resolution};
use crate::xds::repository::{keep, submission_objects};

/// ITI-65, or ITI-105 if it is simplified.
pub struct Recipient<const SIMPLIFIED: bool>;

/// ITI-65 Provide Document Bundle.
pub type ProvideBundle = Recipient<false>;
/// ITI-105 Simplified Publish.
pub type SimplifiedPublish = Recipient<true>;

/// What was kept, and the answer.
pub struct Kept {
    submission: Submission,
    answer: Value,
    /// The URL of the only document of a simplified publication.
    location: Option<String>,
}

impl<const SIMPLIFIED: bool> Transaction for Recipient<SIMPLIFIED> {
    type Wire = Fhir;
    const ID: Iti = if SIMPLIFIED { Iti::Iti105 } else { Iti::Iti65 };
    type Request = Provide;
    type Response = Kept;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Provide, Failure<Refusal>> {
        let read = || {
            let resource = message.resource().ok_or(Refusal::UnsupportedMediaType)?;
            let documents = message.documents.clone();
            if SIMPLIFIED {
                let source = gateway.community.home.oid().as_str();
                Provide::simplified(resource, documents, gateway.clock.now(), source)
            } else {
                Provide::read(resource, documents)
            }
        };
        read().map_err(Failure::Refused)
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Provide>>, _extras: ()) -> Result<Kept, Refusal> {
        let provide = call.permitted.request();
        let (person, patient) = whose(&gateway, provide)?;
        let (submission, documents) = provide.submission(Some(&patient))?;
        let stored = store(&gateway, &documents).await?;
        let submission = keep(&gateway, submission, stored).await.map_err(|refused| Refusal::registry(refused.0))?;
        if !SIMPLIFIED {
            let answer = provide.response(|kind, object| location(&gateway, &person, &submission, kind, object));
            return Ok(Kept { submission, answer: answer.encode(), location: None });
        }
        let id = submission.entries.first().map(|entry| entry.id.clone()).ok_or(Refusal::Internal)?;
        let (url, answer) = responder::reference(&gateway, &id)?.ok_or(Refusal::Internal)?;
        Ok(Kept { submission, answer, location: Some(url.into()) })
    }

    fn audit(provide: &Provide, outcome: &Result<Kept, Refusal>) -> Vec<Part> {
        vec![match outcome {
            Ok(kept) => Part::success(submission_objects(&kept.submission)),
            Err(refusal) => {
                let patients = provide.subject_ids().iter().take(1).map(Object::patient).collect::<Vec<_>>();
                let set = provide.set_unique_id().map(|id| Object::submission_set(id.as_str(), None));
                Part::failure(patients.into_iter().chain(set).collect(), refusal)
            }
        }]
    }

    fn encode((): (), outcome: Result<Kept, Refusal>, trace: TraceId) -> fhir::Answer {
        match outcome {
            Ok(Kept { answer, location: Some(location), .. }) => {
                fhir::Answer::resource(201, answer).with("Location", location)
            }
            Ok(kept) => fhir::Answer::resource(200, kept.answer),
            Err(refusal) => fhir::Answer::refused(&refusal, trace),
        }
    }
}

/// Where something is now that was in a Bundle.
fn location(
    gateway: &Gateway,
    person: &Person,
    submission: &Submission,
    kind: &str,
    object: Option<ObjectId>,
) -> SmolStr {
    let entry = object.as_ref().and_then(|id| submission.entries.iter().find(|entry| entry.id == *id));
    match (kind, entry, object) {
        ("Patient", ..) => format_smolstr!("Patient/{}", gateway.names.name(person.key)),
        ("Binary", Some(entry), _) => {
            let url = responder::document_url(gateway, entry, None);
            url.strip_prefix(&format!("{}/", person::base(gateway))).map_or(url.clone(), SmolStr::from)
        }
        (kind, _, Some(id)) => format_smolstr!("{kind}/{}", responder::logical_id(&id)),
        (kind, _, None) => kind.into(),
    }
}

/// The person whose documents these are, and the identifier under which they are registered.
fn whose(gateway: &Gateway, provide: &Provide) -> Result<(Person, PatientId), Refusal> {
    let unreadable = |error: StoreError| {
        tracing::error!(%error, "the patient cross-reference could not be read");
        Refusal::Unavailable
    };
    let unknown = |text: &str| Refusal::Xds { code: ErrorCode::XdsUnknownPatientId, text: text.to_owned() };
    let subject = provide.subject.as_ref().ok_or_else(|| unknown("the Bundle names no patient"))?;
    let mut found: Vec<Person> = Vec::new();
    let mut told = Vec::new();
    if let Some(url) = &subject.reference {
        found.extend(person::by_reference(gateway, &Reference::to(url.clone())).map_err(unreadable)?);
    }
    let at_source = provide.source_patient_ids();
    // What a document says of the patient at its source is as telling as what the Bundle says.
    let described = at_source.iter().cloned().map(|id| (id, false));
    for (id, is_subject) in provide.subject_ids().into_iter().map(|id| (id, true)).chain(described) {
        match gateway.identities.resolve(&gateway.tenant, &id).map_err(unreadable)? {
            Resolution::Active(person) => {
                if is_subject {
                    told.push(id);
                } else if found.is_empty() {
                    // It does not stand in for a subject that nobody knows.
                    continue;
                }
                found.push(person);
            }
            // An identifier that was merged away is not in use (ITI TF-2: 3.8.4.2.3); one of a domain that is none of
            // ours says nothing here.
            Resolution::Replaced { .. } | Resolution::Unknown => {}
        }
    }
    let mut found = found.into_iter();
    let person = found.next().ok_or_else(|| unknown("the patient of the Bundle is not known here"))?;
    if found.any(|other| other.key != person.key) {
        let text = "the reference and the identifiers of the patient are those of different people".to_owned();
        return Err(Refusal::Xds { code: ErrorCode::XdsPatientIdDoesNotMatch, text });
    }
    let at_source = at_source.into_iter().find(|id| person.ids().any(|own| own == id));
    let first = || person.ids().next().cloned();
    let patient = told.into_iter().next().or(at_source).or_else(first);
    let patient = patient.ok_or_else(|| unknown("the patient of the Bundle has no identifier in use"))?;
    Ok((person, patient))
}

/// Brings the documents onto the disk, out of sight.
async fn store(gateway: &Gateway, documents: &[Document]) -> Result<Vec<(ObjectId, Stored)>, Refusal> {
    let failed = |error: FileError| {
        tracing::error!(%error, "a document could not be kept");
        let code = match error {
            FileError::DiskFull => ErrorCode::XdsRepositoryOutOfResources,
            FileError::NotFound | FileError::Damaged | FileError::Sealed(_) | FileError::Io(_) => {
                ErrorCode::XdsRepositoryError
            }
        };
        Refusal::Xds { code, text: "the document could not be kept".into() }
    };
    let mut stored = Vec::new();
    for document in documents {
        if document.bytes.len() as u64 > gateway.limits.document {
            return Err(Refusal::TooLarge(usize::try_from(gateway.limits.document).unwrap_or(usize::MAX)));
        }
        let mut upload = gateway.files.upload(&gateway.tenant).await.map_err(failed)?;
        upload.write(&document.bytes).await.map_err(failed)?;
        stored.push((document.entry.clone(), upload.finish().await.map_err(failed)?));
    }
    Ok(stored)
}

//! Document Repository and Registry in one: takes in documents with their metadata (ITI TF-2: 3.41.4.1.3).

use std::sync::Arc;

use super::content::Content;
use super::external;
use super::provide::{Refusal, Request};
use super::registration::{check_codes, register};
use super::retrieve::DocumentId;
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError, RegistryResponse, codes};
use crate::gateway::Gateway;
use crate::id::{TraceId, Transaction as Iti};
use crate::metadata::{DocumentEntry, DocumentKind, ObjectId, Rules, Submission};
use crate::pipeline::soap::{self, Soap};
use crate::pipeline::{Call, Denied, Failure, Part, Received, Transaction};
use crate::policy::PolicyRefusal;
use crate::routing::package::Attachments;
use crate::soap::mtom::content_id;
use crate::storage::files::{FileError, Stored};

/// `wsa:Action` of ITI-41.
pub const PROVIDE_ACTION: &str = "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-b";

/// ITI-41, as a Document Repository answers it.
pub struct ProvideAndRegister;

impl Transaction for ProvideAndRegister {
    type Wire = Soap;
    const ID: Iti = Iti::Iti41;
    type Request = Request;
    type Response = Submission;
    type Refusal = Refused;
    type Echo = ();

    fn echo(_: &Gateway, _: &Received, _: &soap::Message<'_>) {}

    fn decode(_: &Gateway, caller: &Caller, message: &soap::Message<'_>) -> Result<Request, Failure<Refused>> {
        // A partner that may push documents (XDR) may not decide what is on record here.
        if !caller.is_ours() {
            return Err(Denied::NotPermitted(PolicyRefusal::NotOurs).into());
        }
        if !message.multipart {
            // ITI TF-2: V.3.6: the transaction is spoken in MTOM, and a plain message may hold half a document.
            return Err(Denied::Malformed("this transaction requires an MTOM/XOP package".into()).into());
        }
        Request::decode(message.envelope.body, Rules::Provide).map_err(|refusal| Failure::Refused(refusal.into()))
    }

    async fn handle(
        gateway: Arc<Gateway>,
        call: Arc<Call<Request>>,
        attachments: Attachments,
    ) -> Result<Submission, Refused> {
        let request = call.permitted.request();
        let documents = receive(&gateway, request, attachments).await?;
        if external::passes_documents_on(&gateway) {
            return external::provide(&gateway, &call, request, documents).await;
        }
        keep(&gateway, request.registration.submission.clone(), documents).await
    }

    fn audit(request: &Request, outcome: &Result<Submission, Refused>) -> Vec<Part> {
        let objects = submission_objects(&request.registration.submission);
        match outcome {
            Ok(_) => vec![Part::success(objects)],
            Err(refused) => vec![Part::failure(objects, refused)],
        }
    }

    fn encode((): (), outcome: Result<Submission, Refused>, trace: TraceId) -> soap::Answer {
        let mut errors = outcome.err().map(|refused| refused.0).unwrap_or_default();
        super::registry::name_trace(&mut errors, trace);
        soap::Answer {
            action: "urn:ihe:iti:2007:ProvideAndRegisterDocumentSet-bResponse",
            headers: String::new(),
            body: RegistryResponse { errors }.encode(),
            mtom: true,
            documents: Vec::new(),
        }
    }
}

/// Why a submission was refused: every problem, as the answer tells it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", codes(.0))]
pub struct Refused(pub Vec<RegistryError>);

impl Refused {
    fn one(code: ErrorCode, text: impl Into<String>, about: &ObjectId) -> Self {
        Self(vec![RegistryError::new(code, text).at(about.to_string())])
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.errors())
    }
}

/// What the audit record tells of a submission (ITI TF-2: 3.41.5).
pub fn submission_objects(submission: &Submission) -> Vec<Object> {
    let patient = submission.set.patient_id.as_ref().map(Object::patient);
    patient.into_iter().chain([Object::submission_set(submission.set.unique_id.as_str(), None)]).collect()
}

/// Brings the documents of a submission onto the disk, out of sight: from the message or from its attachments.
pub async fn receive(
    gateway: &Gateway,
    request: &Request,
    mut attachments: Attachments,
) -> Result<Vec<(ObjectId, Stored)>, Refused> {
    let mut received = Vec::new();
    for document in &request.documents {
        if let Content::Inline(bytes) = &document.content {
            let mut upload = gateway.files.upload(&gateway.tenant).await.map_err(|e| failed(&e, &document.id))?;
            upload.write(bytes).await.map_err(|e| failed(&e, &document.id))?;
            received.push((document.id.clone(), upload.finish().await.map_err(|e| failed(&e, &document.id))?));
        }
    }
    let broken = |error: &dyn std::fmt::Display| {
        Refused(vec![RegistryError::new(ErrorCode::XdsRepositoryError, format!("the documents broke off: {error}"))])
    };
    while let Some(part) = attachments.next_part().await.map_err(|error| broken(&error))? {
        let id = request.documents.iter().find(|document| match &document.content {
            Content::Attached(cid) => content_id(cid) == part.content_id,
            Content::Inline(_) => false,
        });
        // An attachment that nothing refers to is nobody's document.
        let Some(document) = id else { continue };
        let mut upload = gateway.files.upload(&gateway.tenant).await.map_err(|e| failed(&e, &document.id))?;
        while let Some(piece) = attachments.next_piece().await.map_err(|error| broken(&error))? {
            if upload.size() + piece.len() as u64 > gateway.limits.document {
                let text = format!("the document is larger than {} bytes", gateway.limits.document);
                return Err(Refused::one(ErrorCode::XdsRepositoryOutOfResources, text, &document.id));
            }
            upload.write(&piece).await.map_err(|e| failed(&e, &document.id))?;
        }
        received.push((document.id.clone(), upload.finish().await.map_err(|e| failed(&e, &document.id))?));
    }
    let missing = request.documents.iter().filter(|document| !received.iter().any(|(id, _)| *id == document.id));
    let missing: Vec<RegistryError> = missing
        .map(|document| {
            let text = "the attachment that the document refers to is not in the message";
            RegistryError::new(ErrorCode::XdsMissingDocument, text).at(document.id.to_string())
        })
        .collect();
    if missing.is_empty() { Ok(received) } else { Err(Refused(missing)) }
}

/// Keeps documents and registers their metadata, whose codes must be those of the affinity domain: all of it or nothing.
pub async fn keep(
    gateway: &Gateway,
    submission: Submission,
    documents: Vec<(ObjectId, Stored)>,
) -> Result<Submission, Refused> {
    check_codes(gateway, &submission, Rules::Provide)?;
    keep_as_it_is(gateway, submission, documents).await
}

/// As [`keep`], whatever the codes are.
pub(super) async fn keep_as_it_is(
    gateway: &Gateway,
    mut submission: Submission,
    documents: Vec<(ObjectId, Stored)>,
) -> Result<Submission, Refused> {
    for entry in &mut submission.entries {
        if let Some((_, stored)) = documents.iter().find(|(id, _)| *id == entry.id) {
            complete(gateway, entry, stored)?;
        }
    }
    let settling = gateway.files.settling().await;
    let mut contents = Vec::new();
    let mut broken = None;
    for (id, stored) in documents {
        match stored.publish().await {
            Ok(digests) => contents.push((id, digests.sha256.to_string())),
            Err(error) => broken = broken.or(Some(failed(&error, &id))),
        }
    }
    let published: Vec<String> = contents.iter().map(|(_, sha256)| sha256.clone()).collect();
    let kept = match broken {
        Some(refused) => Err(refused),
        None => register(gateway, submission, contents).await,
    };
    drop(settling);
    if kept.is_err() {
        forget(gateway, &published).await;
    }
    kept
}

/// Removes a document that is kept here, for good: its bytes go, its metadata is for the registry to remove (ITI-86).
///
/// First nothing names the bytes any more, then they go: whatever happens in between, the next start removes them.
pub async fn discard(gateway: &Gateway, wanted: &DocumentId) -> Result<(), (ErrorCode, &'static str)> {
    let repository = super::registry::own_repository(gateway, wanted, None)?;
    let unreadable = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "a document could not be removed");
        (ErrorCode::XdsRemoveDocumentsError, "the document could not be removed")
    };
    let forgotten = gateway.documents.forget_content(&gateway.tenant, &wanted.document, &repository).await;
    let keys = forgotten.map_err(|error| unreadable(&error))?;
    if keys.is_empty() {
        return Err((ErrorCode::XdsDocumentUniqueIdError, "there is no such document"));
    }
    // Another document may have the same bytes.
    let is_kept = |sha256: &str| gateway.documents.keeps(&gateway.tenant, sha256).unwrap_or(true);
    gateway.files.remove_orphans(&gateway.tenant, &keys, is_kept).await.map(drop).map_err(|error| unreadable(&error))
}

/// The bytes of a submission that was refused go, unless an earlier one brought the same. What cannot be looked up or
/// removed stays until the next start.
async fn forget(gateway: &Gateway, published: &[String]) {
    let is_kept = |sha256: &str| gateway.documents.keeps(&gateway.tenant, sha256).unwrap_or(true);
    if let Err(error) = gateway.files.remove_orphans(&gateway.tenant, published, is_kept).await {
        tracing::warn!(%error, "documents of a refused submission could not be removed");
    }
}

/// Adds what the repository knows of a document, and refuses metadata that says otherwise (3.41.4.1.3.1).
fn complete(gateway: &Gateway, entry: &mut DocumentEntry, stored: &Stored) -> Result<(), Refused> {
    let digests = stored.digests();
    let contradiction = |text: &str| Refused::one(ErrorCode::XdsRepositoryMetadataError, text, &entry.id);
    if entry.hash.as_deref().is_some_and(|hash| !hash.eq_ignore_ascii_case(&digests.sha1)) {
        return Err(contradiction("the hash in the metadata is not that of the document"));
    }
    if entry.size.is_some_and(|size| size != digests.size) {
        return Err(contradiction("the size in the metadata is not that of the document"));
    }
    if entry.kind == DocumentKind::Stable {
        entry.hash = Some(digests.sha1.clone());
        entry.size = Some(digests.size);
    }
    let authority = entry.patient_id.as_ref().map(|patient| patient.authority());
    let repository = authority.map_or(&gateway.community.repository, |it| gateway.community.repository_of(it));
    entry.repository = Some(repository.clone());
    Ok(())
}

fn failed(error: &FileError, about: &ObjectId) -> Refused {
    tracing::error!(%error, "a document could not be kept");
    let code = match error {
        FileError::DiskFull => ErrorCode::XdsRepositoryOutOfResources,
        _ => ErrorCode::XdsRepositoryError,
    };
    Refused::one(code, "the document could not be kept", about)
}

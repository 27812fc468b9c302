//! ITI-68 Retrieve Document: the bytes themselves, streamed from the disk (MHD 2:3.68).
//!
//! The address says where the document is and is sealed by this gateway. A document that was damaged on the disk ends
//! with an error instead of its last piece. One of another community is brought by XCA (ITI-39) and passed on once it is
//! here as a whole; no copy of it stays.

use std::sync::Arc;

use futures_util::StreamExt;

use super::super::retrieve::{Handle, accepts};
use super::unreadable;
use crate::atna::Object;
use crate::authenticate::Caller;
use crate::ebxml::{ErrorCode, RegistryError};
use crate::fhir::outcome::Refusal;
use crate::gateway::Gateway;
use crate::id::{HomeCommunityId, PatientId, TraceId, Transaction as Iti};
use crate::metadata::Availability;
use crate::pipeline::fhir::{self, AnswerBody, Fhir, Message};
use crate::pipeline::outgoing::Errands;
use crate::pipeline::{Call, Failure, Part, Received, Transaction};
use crate::routing::exchange::CallBody;
use crate::routing::fan_out::State;
use crate::xca::initiating_gateway::{batches, contradiction, retrieve};
use crate::xds::registry;
use crate::xds::retrieve::DocumentId;

/// ITI-68.
pub struct RetrieveDocument;

/// Which document, and what the caller takes.
pub struct Wanted {
    /// None if the address is none of ours.
    handle: Option<Handle>,
    accept: Option<String>,
}

/// A document on its way out.
pub struct Document {
    patient: Option<PatientId>,
    media_type: String,
    /// Of its bytes.
    tag: Option<String>,
    content: CallBody,
}

impl Transaction for RetrieveDocument {
    type Wire = Fhir;
    const ID: Iti = Iti::Iti68;
    type Request = Wanted;
    type Response = Document;
    type Refusal = Refusal;
    type Echo = ();

    fn echo(_gateway: &Gateway, _received: &Received, _message: &Message) {}

    fn decode(gateway: &Gateway, _caller: &Caller, message: &Message) -> Result<Wanted, Failure<Refusal>> {
        let segment = message.path.rsplit('/').next().unwrap_or_default();
        let handle = gateway.names.unsealed(segment).and_then(Handle::from_segment);
        Ok(Wanted { handle, accept: message.headers.accept.clone() })
    }

    async fn handle(gateway: Arc<Gateway>, call: Arc<Call<Wanted>>, _extras: ()) -> Result<Document, Refusal> {
        let wanted = call.permitted.request();
        let handle = wanted.handle.as_ref().ok_or(Refusal::NotFound("document"))?;
        let document = match &handle.home {
            None => kept_here(&gateway, handle).await?,
            Some(home) => kept_elsewhere(&gateway, &call, handle, home).await?,
        };
        // MHD 2:3.68.4.1.3
        if accepts(wanted.accept.as_deref(), &document.media_type) { Ok(document) } else { Err(Refusal::NotAcceptable) }
    }

    fn audit(wanted: &Wanted, outcome: &Result<Document, Refusal>) -> Vec<Part> {
        let handle = wanted.handle.iter();
        let object =
            handle.map(|handle| Object::document(&handle.unique_id, Some(&handle.repository), handle.home.as_ref()));
        vec![match outcome {
            Ok(document) => Part::success(document.patient.iter().map(Object::patient).chain(object).collect()),
            Err(refusal) => Part::failure(object.collect(), refusal),
        }]
    }

    fn encode((): (), outcome: Result<Document, Refusal>, trace: TraceId) -> fhir::Answer {
        let document = match outcome {
            Ok(document) => document,
            Err(refusal) => return fhir::Answer::refused(&refusal, trace),
        };
        let Document { media_type, tag, content, .. } = document;
        let body = AnswerBody::Bytes { content_type: media_type, content };
        // Whoever opens the address in a browser gets a file, and nothing in it runs.
        let headers = vec![
            ("Content-Disposition", "attachment".to_owned()),
            ("Content-Security-Policy", "sandbox; default-src 'none'".to_owned()),
        ];
        let answer = fhir::Answer { status: 200, headers, body };
        match tag {
            Some(tag) => answer.with("ETag", format!("\"{tag}\"")),
            None => answer,
        }
    }
}

async fn kept_here(gateway: &Gateway, handle: &Handle) -> Result<Document, Refusal> {
    let stored = gateway.documents.document(&gateway.tenant, &handle.unique_id).map_err(|error| unreadable(&error))?;
    let stored = stored.ok_or(Refusal::NotFound("document"))?;
    // MHD 2:3.68.4.1.3: what is deprecated is gone for those who retrieve it here.
    if stored.entry.availability == Some(Availability::Deprecated) {
        return Err(Refusal::Gone("document"));
    }
    let id = DocumentId { home: None, repository: handle.repository.clone(), document: handle.unique_id.clone() };
    let opened = registry::open(gateway, &id, None).await.map_err(|(code, text)| match code {
        ErrorCode::XdsDocumentUniqueIdError => Refusal::NotFound("document"),
        ErrorCode::XdsUnknownRepositoryId => Refusal::Gone("document"),
        code => Refusal::Xds { code, text: text.to_owned() },
    })?;
    Ok(Document {
        patient: stored.entry.patient_id,
        media_type: opened.media_type,
        tag: stored.entry.hash.map(Into::into),
        content: CallBody::Stream(opened.content.boxed()),
    })
}

/// Brings a document of another community, for a client that may ask others.
async fn kept_elsewhere(
    gateway: &Arc<Gateway>,
    call: &Call<Wanted>,
    handle: &Handle,
    home: &HomeCommunityId,
) -> Result<Document, Refusal> {
    if !call.permitted.caller().client().is_some_and(|client| client.asks_communities) {
        return Err(Refusal::Forbidden("the client is not allowed to ask other communities".into()));
    }
    let errands = Errands::on_behalf_of(gateway, call);
    let errands = errands.ok_or(Refusal::Forbidden("the client has no user to ask other communities for".into()))?;
    let named = handle.via.as_deref().and_then(|key| gateway.directory.snapshot().named(key).cloned());
    let partner = match (gateway.directory.resolve(home, Iti::Iti39), named) {
        (Ok(route), _) => route.partner,
        // The community is reached through whoever told of it.
        (Err(_), Some(partner)) => partner,
        (Err(error), None) => return Err(Refusal::Partner(error.to_string())),
    };
    let wanted = DocumentId {
        home: Some(home.clone()),
        repository: handle.repository.clone(),
        document: handle.unique_id.clone(),
    };
    let legs = retrieve(gateway, &errands, batches(vec![(wanted, partner)])).await;
    let legs = legs.map_err(|_| Refusal::Unavailable)?;
    let leg = legs.into_iter().next().ok_or(Refusal::Internal)?;
    let mut brought = match leg.state {
        State::Answered(brought) => brought,
        State::TimedOut => return Err(Refusal::TimedOut),
        State::Unreachable(_) => return Err(Refusal::Unavailable),
        State::Refused(reason) | State::Skipped(reason) => return Err(Refusal::Partner(reason)),
        State::Empty => return Err(Refusal::NotFound("document")),
    };
    let Some((document, stored)) = brought.documents.pop() else {
        let is_unknown = |error: &RegistryError| error.code == ErrorCode::XdsDocumentUniqueIdError;
        return Err(match brought.errors.iter().any(is_unknown) {
            true => Refusal::NotFound("document"),
            false => Refusal::Partner(format!("the community did not give the document: {}", brought.notes.join("; "))),
        });
    };
    if let Some(contradiction) = contradiction(handle.hash.as_deref(), handle.size, &stored) {
        let text = format!("the community gave another document than it told of: {contradiction}; search again");
        return Err(Refusal::Partner(text));
    }
    let content = stored.read().await.map_err(|error| {
        tracing::error!(%error, "a document that was fetched could not be read");
        Refusal::Internal
    })?;
    Ok(Document {
        patient: None,
        media_type: document.mime_type,
        tag: Some(stored.digests().sha1.to_string()),
        content: CallBody::Stream(content.map(|piece| piece.map_err(std::io::Error::other)).boxed()),
    })
}
